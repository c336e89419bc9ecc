//! What a link tells its caller.

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

/// The sequence number of a message on its channel at one end: the first of a link is 1, and the
/// next is one more. On the wire numbers begin again with each session; here they go on, so that
/// none stands for two messages.
pub type Sequence = u64;

/// What [`Link::poll_event`](crate::Link::poll_event) gives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session begins: the peer is known, accepts this end, and messages flow.
    Connected,
    /// The connection was lost; the session waits for the next one. Nothing needs to be done:
    /// what has no verdict keeps its place, and more can be sent.
    Lost(Loss),
    /// A new connection goes on with the session: nothing was lost, nothing comes twice.
    Resumed,
    /// The session could not be resumed. Every message of it has its verdict, told before this;
    /// [`Event::Connected`] follows when a new one begins.
    SessionLost(SessionLoss),
    /// At least one message waits on a channel in receive mode, or the border between two
    /// sessions.
    Readable(ChannelId),
    /// A channel that was `Blocked` has room again.
    Room(ChannelId),
    /// These messages were handled, but for those among them whose verdict came before in
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
    /// Nothing has come on a channel for the time that its declaration names.
    Silent(ChannelId),
    /// The peer has begun to close the link: it takes no more messages, and what was not yet on
    /// the wire is withdrawn. [`Link::peer_closes`](crate::Link::peer_closes) has what it says.
    PeerClosing,
    /// The link has ended; [`Link::end_reason`](crate::Link::end_reason) tells why. All verdicts
    /// have been given before.
    Ended,
}
