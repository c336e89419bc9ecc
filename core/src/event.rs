//! Events of a link.

use core::fmt;

use crate::error::{Loss, SessionLoss};
use crate::verdict::Verdict;

/// A channel of this end: its position among the channels that this end declared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelId(pub u16);

impl ChannelId {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sequence number of a message on its channel at one end: the first of a link is 1, and each
/// further one is one more. On the wire numbers restart with each session; here they continue, so
/// that each stands for one message only.
pub type Sequence = u64;

/// An event, returned by [`Link::poll_event`](crate::Link::poll_event).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session begins: the peer is known, has accepted this end, and messages flow.
    Connected,
    /// The connection was lost, and the session waits for the next one. Nothing needs to be done:
    /// messages without a verdict keep their place, and more can be sent.
    Lost(Loss),
    /// The session was resumed on a new connection: no message is lost or delivered twice.
    Resumed,
    /// The session could not be resumed. Every message of it has its verdict, reported before this;
    /// [`Event::Connected`] follows when a new session begins.
    SessionLost(SessionLoss),
    /// At least one message, or the border between two sessions, waits on a channel in receive
    /// mode.
    Readable(ChannelId),
    /// A channel that was `Blocked` has room again.
    Room(ChannelId),
    /// These messages were handled, except those whose verdict was reported before in
    /// [`Event::Verdict`].
    Handled {
        /// The channel.
        channel: ChannelId,
        /// The first number of the range.
        first: Sequence,
        /// The last number of the range.
        last: Sequence,
        /// How many of the range were handled: all but those exceptions.
        count: u64,
    },
    /// The verdict of one message, other than [`Verdict::Handled`].
    Verdict {
        /// The channel.
        channel: ChannelId,
        /// The message.
        sequence: Sequence,
        /// What became of it.
        verdict: Verdict,
    },
    /// The lease of a channel is held: a message that was taken is young enough. It was not held
    /// before, or had lapsed.
    LeaseHeld(ChannelId),
    /// The lease of a channel has lapsed: the newest message that was taken may be older than the
    /// [lease](crate::ReceiveChannel::lease), or the link has ended.
    LeaseLapsed(ChannelId),
    /// The peer has begun to close the link: it accepts no more messages, and what was not yet on
    /// the wire is withdrawn. [`Link::peer_closes`](crate::Link::peer_closes) returns its reason.
    PeerClosing,
    /// The link has ended; [`Link::end_reason`](crate::Link::end_reason) returns why. All verdicts
    /// were reported before.
    Ended,
}

impl Event {
    /// Whether this begins, interrupts, continues or ends a session, so that the acceptor has to
    /// [follow](crate::Acceptor::follow) it.
    #[must_use]
    pub fn changes_session(&self) -> bool {
        matches!(
            self,
            Self::Connected | Self::Lost(_) | Self::Resumed | Self::Ended
        )
    }
}
