//! The events of a link as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};

use crate::link_event::LinkEvent;
use crate::shared::Shared;
use crate::wakers::{Awaited, Waiting};

/// The stream of a link's events, returned by [`Link::events`](crate::Link::events). Ends when the
/// link has ended.
///
/// Dropping it loses no event: an event is taken only when the stream yields it.
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct Events {
    waiting: Waiting<Arc<Shared>>,
    ended: bool,
}

impl Events {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        let waiting = Waiting::new(shared, Awaited::Link);
        let ended = false;
        Self { waiting, ended }
    }
}

impl Stream for Events {
    type Item = LinkEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LinkEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(
            self.waiting
                .poll(context, |state| match state.events.pop_front() {
                    None if !state.ended => Poll::Pending,
                    event => Poll::Ready(event),
                })
        );
        self.ended = next.is_none();
        Poll::Ready(next)
    }
}

impl FusedStream for Events {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
