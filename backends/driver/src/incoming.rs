//! The links of a listener as a stream.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};

use crate::accept::AcceptError;
use crate::accept_queue::AcceptQueue;
use crate::link::Link;
use crate::wakers::Waiting;

/// The stream of a listener's links and refused connections, returned by
/// [`Listener::incoming`](crate::Listener::incoming). Ends when the listener is closed.
///
/// Dropping it loses no link: a link is taken only when the stream yields it.
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct Incoming<'l, A> {
    waiting: Waiting<&'l AcceptQueue>,
    ended: bool,
    address: PhantomData<&'l A>,
}

impl<'l, A> Incoming<'l, A> {
    pub(crate) fn of(queue: &'l AcceptQueue) -> Self {
        Self {
            waiting: queue.waiting(),
            ended: false,
            address: PhantomData,
        }
    }
}

impl<A> Stream for Incoming<'_, A> {
    type Item = Result<Link, AcceptError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(AcceptQueue::poll_next(&mut self.waiting, context));
        self.ended = next.is_none();
        Poll::Ready(next)
    }
}

impl<A> FusedStream for Incoming<'_, A> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
