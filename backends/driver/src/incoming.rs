//! The links of a listener as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use event_listener::EventListener;
use futures_core::{FusedStream, Stream};

use crate::accept::AcceptError;
use crate::link::Link;
use crate::listener::Listener;

/// The peers that a listener accepts or refuses, as [`Listener::incoming`] gives them. Ends when
/// the listener is closed.
///
/// Dropping it loses no link: one is taken only when it is given.
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct Incoming<'l, A> {
    listener: &'l Listener<A>,
    waiting: Option<EventListener>,
    ended: bool,
}

impl<'l, A> Incoming<'l, A> {
    pub(crate) fn of(listener: &'l Listener<A>) -> Self {
        Self {
            listener,
            waiting: None,
            ended: false,
        }
    }
}

impl<A> Stream for Incoming<'_, A> {
    type Item = Result<Link, AcceptError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(Pin::new(waiting).poll(context));
            }
            match self.listener.hall().next_or_listen() {
                Ok(next) => {
                    self.waiting = None;
                    self.ended = next.is_none();
                    return Poll::Ready(next);
                }
                Err(waiting) => self.waiting = Some(waiting),
            }
        }
    }
}

impl<A> FusedStream for Incoming<'_, A> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
