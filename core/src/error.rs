//! Errors, split by blame: this end's caller, the peer, both ends' declarations, or the transport.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::channel::{Mode, Policy};
use crate::close::CloseReason;
use crate::escaped::Escaped;
pub use crate::misbehaved::PeerMisbehaved;
use crate::redact::Redacted;
use crate::refuse::Refusal;

/// The output slice does not hold the next thing to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferTooSmall {
    /// How many bytes are needed at least.
    pub needed: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer must hold {} bytes at least", self.needed)
    }
}

impl core::error::Error for BufferTooSmall {}

/// A message that was not accepted, returned with the reason.
#[derive(Clone, PartialEq, Eq)]
pub struct NotSent {
    /// The message, untouched.
    pub message: Bytes,
    /// Why it was not accepted.
    pub why: SendError,
}

impl fmt::Debug for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotSent")
            .field("message", &Redacted(self.message.len()))
            .field("why", &self.why)
            .finish()
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl core::error::Error for NotSent {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.why)
    }
}

/// Why a message was not accepted for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The queue is full. [`Event::Room`](crate::Event::Room) reports when to try again.
    Blocked,
    /// The link has no such channel.
    NoSuchChannel,
    /// The channel is in receive mode here.
    ReceiveMode,
    /// The message exceeds the channel's limit.
    TooLarge {
        /// The message's length in bytes.
        length: usize,
        /// The limit in bytes: once the link is up, the smaller one of both ends.
        limit: usize,
    },
    /// The `tlsstream` dialect can't carry a message of length zero.
    Empty,
    /// The link is being closed, by this end or by the peer.
    Closing,
    /// The link has ended.
    Ended,
}

impl SendError {
    /// Whether this link may accept the same message later.
    #[must_use]
    pub const fn can_retry(self) -> bool {
        matches!(self, Self::Blocked)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("the channel's queue is full; wait for room"),
            Self::NoSuchChannel => f.write_str("the link has no such channel"),
            Self::ReceiveMode => f.write_str("the channel is in receive mode at this end"),
            Self::TooLarge { length, limit } => write!(
                f,
                "the message has {length} bytes, the channel takes {limit} at most; raise \
                 max_message at both ends or send less at once"
            ),
            Self::Empty => f.write_str("the tlsstream dialect can't carry an empty message"),
            Self::Closing => f.write_str("the link is being closed"),
            Self::Ended => f.write_str("the link has ended"),
        }
    }
}

impl core::error::Error for SendError {}

/// Why no message can be taken, or why a command about a received message fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The border between two sessions: the messages taken so far came in a session that is over,
    /// and those that follow belong to the next one. It is returned once, in its place in the
    /// stream, and is not an error of either end; later calls take what follows.
    SessionBorder(SessionLoss),
    /// The link has no such channel.
    NoSuchChannel,
    /// The channel is in send mode here.
    SendMode,
    /// The messages of the channel are settled one by one, so they are not taken in a batch.
    Manual,
    /// No message with that number waits to be handled: it never arrived, was never taken, or was
    /// settled before.
    NotWaiting,
    /// A reply is longer than the channel's limit. The message still waits to be handled.
    ReplyTooLong {
        /// The smaller limit of both ends, in bytes.
        limit: usize,
    },
    /// The message arrived in a session that is over: its sender has its verdict, and nobody waits
    /// for an answer.
    SessionLost,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionBorder(why) => {
                return write!(
                    f,
                    "a session ended here; receive again for what follows, which is of another: \
                     {why}"
                );
            }
            Self::ReplyTooLong { limit } => {
                return write!(f, "replies on this channel have {limit} bytes at most");
            }
            Self::NoSuchChannel => "the link has no such channel",
            Self::SendMode => "the channel is in send mode at this end",
            Self::Manual => "messages of this channel are taken and settled one by one",
            Self::NotWaiting => "no message of that number waits to be handled",
            Self::SessionLost => "the session in which the message came is over",
        })
    }
}

impl core::error::Error for ReceiveError {}

/// A `handle_*` method was called in a state in which it is not allowed, for example
/// `handle_secured` without an open connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfOrder {
    /// What was reported to the link.
    pub input: crate::Input,
    /// The link's state, which is unchanged.
    pub state: crate::LinkState,
}

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' makes no sense while the link is '{}'",
            self.input, self.state
        )
    }
}

impl core::error::Error for OutOfOrder {}

/// Why a link ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EndReason {
    /// Both ends agreed: everything that was sent has its verdict. Or this end is certain of that,
    /// and the peer did not come back to confirm it (`docs/protocol.md`, Closing and resuming).
    Closed {
        /// Whether this end asked first.
        by_us: bool,
        /// This end's reason.
        ours: CloseReason,
        /// The peer's reason.
        theirs: CloseReason,
    },
    /// This end closed the link before it was up.
    ClosedBeforeConnected,
    /// The peer broke the protocol.
    Peer(PeerMisbehaved),
    /// The peer says that this end broke the protocol.
    AccusedByPeer {
        /// The peer's code (`docs/protocol.md`, Violations).
        code: u16,
        /// The peer's text.
        text: String,
    },
    /// One end no longer accepts the other's identity: it has removed its pin, say. With the
    /// present settings, the two will not connect again.
    Revoked {
        /// Whether this end no longer accepts the peer, and not the other way round.
        by_us: bool,
    },
    /// The two ends' declarations don't fit together.
    Incompatible(Incompatible),
    /// The peer refused the link.
    Refused(Refusal),
    /// This end has refused the peer of an incoming connection
    /// ([`Incoming::refuse`](crate::Incoming::refuse)).
    TurnedAway(Refusal),
    /// The connection was lost, and the link does not wait for another.
    Lost(Loss),
    /// The session is lost, and the link was declared to end with it
    /// ([`Config::single_session`](crate::Config::single_session)).
    SessionLost(SessionLoss),
    /// The incoming connection was handed to the link whose session its peer names.
    TakenOver,
    /// The HELLO of the incoming connection named a session, but arrived so late that its opener
    /// has come back on another connection since.
    Stale,
}

impl EndReason {
    /// Returns the reason of a close in which both ends say that all is well.
    #[must_use]
    pub const fn closed(by_us: bool) -> Self {
        Self::Closed {
            by_us,
            ours: CloseReason::ALL_WELL,
            theirs: CloseReason::ALL_WELL,
        }
    }

    /// Whether the link ended as both ends wanted: it was closed, and both say that all is well.
    #[must_use]
    pub const fn is_orderly(&self) -> bool {
        match self {
            Self::Closed { ours, theirs, .. } => ours.is_all_well() && theirs.is_all_well(),
            Self::ClosedBeforeConnected => true,
            _ => false,
        }
    }

    /// Whether the link was closed, whatever the reasons: everything that was sent has its verdict.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::ClosedBeforeConnected)
    }

    /// Whether this is the proper end of the received messages: the link was closed, and the peer
    /// says that all is well. After any other reason, the receiver must not take what it got for
    /// the whole.
    #[must_use]
    pub const fn ends_stream(&self) -> bool {
        match self {
            Self::Closed { theirs, .. } => theirs.is_all_well(),
            Self::ClosedBeforeConnected => true,
            _ => false,
        }
    }

    /// Whether connecting again with the same declarations can help.
    #[must_use]
    pub const fn can_retry(&self) -> bool {
        match self {
            Self::Lost(loss) => loss.can_heal(),
            Self::Refused(refusal) => refusal.again,
            Self::Closed { theirs, .. } => theirs.again,
            Self::SessionLost(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed {
                by_us,
                ours,
                theirs,
            } => closed(f, *by_us, ours, theirs),
            Self::ClosedBeforeConnected => f.write_str("closed before the link was up"),
            Self::Peer(what) => write!(f, "the peer broke the protocol: {what}"),
            Self::AccusedByPeer { code, text } => {
                write!(
                    f,
                    "the peer says that this end broke the protocol: {} (code {code})",
                    Escaped::new(text)
                )
            }
            Self::Revoked { by_us: true } => {
                f.write_str("this end no longer accepts the peer's identity: its pin was removed")
            }
            Self::Revoked { by_us: false } => f.write_str(
                "the peer no longer accepts this end's identity: it has removed our pin",
            ),
            Self::Incompatible(what) => what.fmt(f),
            Self::Refused(refusal) => write!(f, "the peer refused: {refusal}"),
            Self::TurnedAway(refusal) => write!(f, "the peer was turned away: {refusal}"),
            Self::Lost(what) => write!(f, "the connection was lost: {what}"),
            Self::SessionLost(why) => write!(f, "the session is lost: {why}"),
            Self::Stale => f.write_str("the peer has come back on another connection since"),
            Self::TakenOver => f.write_str("the connection went over to the link that it names"),
        }
    }
}

impl core::error::Error for EndReason {}

fn closed(
    f: &mut fmt::Formatter<'_>,
    by_us: bool,
    ours: &CloseReason,
    theirs: &CloseReason,
) -> fmt::Result {
    let (end, reason, other, answer) = if by_us {
        ("this end", ours, "the peer", theirs)
    } else {
        ("the peer", theirs, "this end", ours)
    };
    write!(f, "closed by {end}")?;
    if !reason.is_all_well() {
        write!(f, ": {reason}")?;
    }
    if !answer.is_all_well() {
        write!(f, "; {other} says: {answer}")?;
    }
    Ok(())
}

/// How a connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// The transport failed or was reset. The caller knows the details.
    Transport,
    /// The peer ended the connection without closing the link, or it broke off.
    PeerLeft,
    /// The peer ended the connection before the handshake was complete, without a reason.
    PeerLeftEarly,
    /// The connection could not be secured, or what arrived is not what was sent. The caller knows
    /// the details.
    Security,
    /// The peer has proved to be the pinned one and does not accept this end's identity, or this
    /// end's own security can't be set up. Neither changes with the present settings. The caller
    /// knows the details.
    NotTrusted,
    /// The other end has not proved to be the peer, and with the present settings never will: it
    /// has another identity, is another service, or breaks the rules of TLS. For a link that was up
    /// before, this is only a lost connection; another link ends. The caller knows the details.
    Unproven,
    /// One end's certificate is not valid now, by its own or by the other end's clock: it has
    /// expired or is not valid yet. Time or a new certificate fixes that: a link that was up before
    /// waits for it, another link ends. The caller knows the details.
    OutOfDate,
    /// Nothing arrived from the peer for [`Timeouts::give_up`](crate::Timeouts::give_up).
    Silence,
    /// The handshake took longer than [`Timeouts::handshake`](crate::Timeouts::handshake).
    HandshakeTooSlow,
    /// An orderly close made no progress for [`Timeouts::close`](crate::Timeouts::close).
    CloseTooSlow,
    /// This end gave up the connection.
    Abandoned,
    /// The peer came back on another connection.
    Replaced,
    /// The peer refused for now: it has no room, say. [`Link::refusal`](crate::Link::refusal)
    /// returns its reason.
    Refused,
    /// The peer did not come back within [`Timeouts::retain`](crate::Timeouts::retain).
    StayedAway,
    /// More links waited for their peers than the acceptor has room for.
    Evicted,
}

impl Loss {
    /// Whether another connection may succeed.
    #[must_use]
    pub const fn can_heal(self) -> bool {
        !matches!(
            self,
            Self::NotTrusted | Self::Unproven | Self::OutOfDate | Self::Abandoned
        )
    }

    /// Whether only the connection is over, so that the session can be resumed.
    pub(crate) const fn keeps_session(self) -> bool {
        !matches!(
            self,
            Self::NotTrusted
                | Self::Abandoned
                | Self::CloseTooSlow
                | Self::StayedAway
                | Self::Evicted
        )
    }
}

/// Why a session could not be resumed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SessionLoss {
    /// The acceptor does not know it: it was restarted, say.
    NotKnown,
    /// The acceptor kept it for a time, and has given it up.
    TooOld,
    /// The new connection leads to another identity than the one that it was held with.
    OtherPeer,
    /// The opener named none, or another: it was restarted, say.
    StartedAnew,
    /// The `tlsstream` dialect has no sessions that outlive a connection.
    Dialect,
}

impl fmt::Display for SessionLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotKnown => "the peer does not know the session any more; it may have restarted",
            Self::TooOld => "the peer kept the session for a time and has given it up",
            Self::OtherPeer => "another peer answered than the one that holds the session",
            Self::StartedAnew => "the peer began anew; it may have restarted",
            Self::Dialect => "the tlsstream dialect can't resume",
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transport => "the transport failed",
            Self::PeerLeft => "the peer ended the connection without closing the link",
            Self::PeerLeftEarly => {
                "the peer ended the connection during the handshake; its log may tell why, and \
                 both ends must agree on TLS or plain text and on the dialect"
            }
            Self::Security => "the connection could not be secured",
            Self::NotTrusted => "one end does not accept the other",
            Self::Unproven => "whoever is there has not proven to be the peer",
            Self::OutOfDate => "a certificate is not valid at this time",
            Self::Silence => "nothing came from the peer for too long",
            Self::HandshakeTooSlow => {
                "the handshake took too long; one end must open the connection and the other accept \
                 it, and both must agree on TLS or plain text and on the dialect"
            }
            Self::CloseTooSlow => "the close came to a standstill",
            Self::Abandoned => "this end let go of it",
            Self::Replaced => "the peer came back on another one",
            Self::Refused => "the peer refused for now",
            Self::StayedAway => "the peer did not come back in time",
            Self::Evicted => "too many peers were away at once",
        })
    }
}

/// How two ends' declarations don't fit together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Incompatible {
    /// Both ends declared the channel in the same mode.
    ModeConflict {
        /// The channel's name.
        channel: String,
        /// The mode that both have.
        both: Mode,
    },
    /// Only one end declared the channel.
    ChannelMissing {
        /// The channel's name.
        channel: String,
        /// Whether it is missing at this end.
        here: bool,
    },
    /// The sender's policy is not the one that the receiver requires.
    PolicyConflict {
        /// The channel's name.
        channel: String,
        /// The policy that the receiving end requires.
        required: Policy,
    },
    /// The ends have no protocol version in common.
    Version {
        /// The lowest that the peer speaks.
        peer_min: u16,
        /// The highest that the peer speaks.
        peer_max: u16,
    },
}

impl Incompatible {
    /// Returns the code of the REFUSE frame that notifies the peer.
    #[must_use]
    pub const fn refuse_code(&self) -> u16 {
        match self {
            Self::Version { .. } => crate::refuse::VERSION,
            Self::ModeConflict { .. } => crate::refuse::MODE_CONFLICT,
            Self::ChannelMissing { .. } => crate::refuse::CHANNEL_MISSING,
            Self::PolicyConflict { .. } => crate::refuse::POLICY_CONFLICT,
        }
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModeConflict { channel, both } => write!(
                f,
                "channel '{}' is in {both} at both ends; declare it in {} at one of them",
                Escaped::new(channel),
                both.opposite()
            ),
            Self::ChannelMissing { channel, here } => write!(
                f,
                "channel '{}' is declared at {} end only; declare it at both or at neither",
                Escaped::new(channel),
                if *here { "the peer's" } else { "this" }
            ),
            Self::PolicyConflict { channel, required } => write!(
                f,
                "channel '{}': the receiving end requires the policy '{required}', the sending end \
                 has another",
                Escaped::new(channel)
            ),
            Self::Version { peer_min, peer_max } => write!(
                f,
                "the peer speaks protocol versions {peer_min} to {peer_max}, this end version {}",
                crate::wire::VERSION
            ),
        }
    }
}
