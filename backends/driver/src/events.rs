//! The events of a link as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::{Loss, SessionLoss};
use futures_core::{FusedStream, Stream};

use crate::shared::Shared;
use crate::wakers::{Awaited, Waiting};

/// Something that happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// Nothing has come on this channel for the time that its declaration names.
    Silent {
        /// The channel's name.
        channel: String,
    },
    /// The peer has begun to close the link. [`Link::peer_closes`](crate::Link::peer_closes) has what
    /// it says.
    PeerClosing,
    /// The connection was lost. The link waits for the next one, and keeps everything.
    Lost {
        /// How, in the core's terms.
        loss: Loss,
        /// The same with what the layers below say, for people.
        why: String,
    },
    /// The link has a connection again: nothing was lost, nothing comes twice.
    Resumed,
    /// The session could not be resumed. Every message of it has its verdict;
    /// [`LinkEvent::NewSession`] follows. In the tlsstream dialect, which can't resume, this comes
    /// with each loss of a connection.
    SessionLost(SessionLoss),
    /// The link has a connection again, and a new session in place of one that was lost.
    NewSession,
}

impl LinkEvent {
    /// Whether a later event makes an earlier one, that was not heard, worthless.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Silent { channel }, Self::Silent { channel: other }) => channel == other,
            (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
        }
    }
}

/// What happens to a link, as [`Link::events`](crate::Link::events) gives it. Ends when the link has
/// ended.
///
/// Dropping it loses no event: one is taken only when it is given.
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
