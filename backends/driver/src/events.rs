//! The events of a link as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::{Escaped, Loss, SessionLoss};
use futures_core::{FusedStream, Stream};

use crate::shared::Shared;
use crate::wakers::{Awaited, Waiting};

/// An event of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// No message has arrived on this channel for the time that its declaration sets.
    Silent {
        /// The channel's name.
        channel: String,
    },
    /// The peer has begun to close the link. [`Link::peer_closes`](crate::Link::peer_closes)
    /// returns its reason.
    PeerClosing,
    /// The connection was lost. The link waits for the next one, and keeps everything.
    Lost {
        /// How, in the core's terms.
        loss: Loss,
        /// The same with the errors of the layers below, for display.
        why: String,
    },
    /// The link is connected again: no message was lost, none arrives twice.
    Resumed,
    /// The session could not be resumed. Every message of it has its verdict;
    /// [`LinkEvent::NewSession`] follows. In the tlsstream dialect, which cannot resume, this
    /// follows each loss of a connection.
    SessionLost(SessionLoss),
    /// The link is connected again, with a new session in place of the lost one.
    NewSession,
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { channel } => write!(f, "channel '{}' is silent", Escaped::new(channel)),
            Self::PeerClosing => f.write_str("the peer is closing the link"),
            Self::Lost { why, .. } => f.write_str(why),
            Self::Resumed => f.write_str("connected again, with the same session"),
            Self::SessionLost(why) => write!(f, "the session was lost: {why}"),
            Self::NewSession => f.write_str("connected again, with a new session"),
        }
    }
}

impl LinkEvent {
    /// Whether this event makes an earlier pending one obsolete.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Silent { channel }, Self::Silent { channel: other }) => channel == other,
            (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
        }
    }
}

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
