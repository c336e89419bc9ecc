//! Violations of the protocol by a peer.

use core::fmt;

/// A violation of the protocol by the peer. Each is a violation in `docs/protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// The first bytes are not those of `countersign/1`.
    NotCountersign,
    /// A frame of an unknown type that may not be skipped.
    UnknownFrame(u8),
    /// Flags that the frame type does not have.
    UnknownFlags {
        /// The frame type.
        kind: u8,
        /// The flags.
        flags: u8,
    },
    /// A body shorter or longer than the frame type or the frame limit allows.
    FrameLength {
        /// The frame type.
        kind: u8,
        /// The body's length in bytes.
        length: usize,
    },
    /// A body that ends inside a field.
    Truncated,
    /// A text that is not UTF-8.
    NotText,
    /// A HELLO or WELCOME with invalid fields, or a WELCOME that does not answer the HELLO.
    Greeting,
    /// A frame that is not allowed at this point of the connection.
    Unexpected,
    /// A channel that the handshake did not agree on.
    UnknownChannel(u16),
    /// A frame that only the other end of the channel may send.
    WrongDirection(u16),
    /// A message number that does not follow the one before, or is out of range.
    SequenceGap,
    /// A fragment that continues no message, or a new message before the end of the last one.
    FragmentOrder,
    /// Fragments that are empty or don't add up to the announced length.
    FragmentLength,
    /// A message that exceeds the receiver's limit.
    MessageTooLarge {
        /// The announced length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// More messages or bytes than the receiver's window allows.
    WindowExceeded,
    /// A reply that is longer than the channel allows.
    ReplyTooLong {
        /// The length of the reply in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// An acknowledgement of a message that was never sent.
    AckedTooMuch,
    /// An acknowledgement of less than was acknowledged before.
    AckedBackwards,
    /// A rejection or a note for a message that does not await one.
    NothingToSettle,
    /// A SKIP of numbers that have arrived already.
    SkippedBackwards,
    /// A CLOSE that names a wrong channel, or a number below one already seen.
    CloseList,
    /// A CLOSE that contradicts an earlier one.
    CloseReason,
    /// A message, a CLOSE or a DONE after the sender had said that it would send no more.
    AfterClose,
    /// A DONE while messages or acknowledgements were outstanding.
    DoneTooEarly,
    /// A resume with numbers that contradict earlier ones.
    Resume,
    /// `tlsstream`: a length that is not one to twenty digits and `!`.
    StreamLength,
    /// `tlsstream`: a message of length zero.
    StreamEmpty,
    /// `tlsstream`: something other than `OK!`, or a confirmation of nothing.
    StreamConfirmation,
    /// `tlsstream`: a message before the one before it was confirmed.
    StreamTooSoon,
}

impl PeerMisbehaved {
    /// Returns the code of the ABORT frame that notifies the peer.
    #[must_use]
    pub const fn abort_code(self) -> u16 {
        match self {
            Self::NotCountersign
            | Self::UnknownFrame(_)
            | Self::UnknownFlags { .. }
            | Self::FrameLength { .. }
            | Self::Truncated
            | Self::NotText => crate::abort::FRAMING,
            Self::Greeting | Self::Unexpected | Self::Resume => crate::abort::HANDSHAKE,
            Self::MessageTooLarge { .. } | Self::ReplyTooLong { .. } | Self::WindowExceeded => {
                crate::abort::LIMIT
            }
            Self::CloseList | Self::CloseReason | Self::AfterClose | Self::DoneTooEarly => {
                crate::abort::CLOSE
            }
            _ => crate::abort::SEQUENCE,
        }
    }
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCountersign => f.write_str("its first bytes are not countersign's"),
            Self::UnknownFrame(kind) => {
                write!(f, "unknown frame type {kind:#04x}")?;
                match kind {
                    0x16 => f.write_str(", with which TLS begins; this end is set to plain text"),
                    b'3'..=b'9' => f.write_str(", with which the tlsstream dialect begins"),
                    _ => Ok(()),
                }
            }
            Self::UnknownFlags { kind, flags } => {
                write!(
                    f,
                    "unknown flags {flags:#04x} in a frame of type {kind:#04x}"
                )
            }
            Self::FrameLength { kind, length } => {
                write!(
                    f,
                    "a frame of type {kind:#04x} with a body of {length} bytes"
                )
            }
            Self::MessageTooLarge { length, limit } => {
                write!(f, "a message of {length} bytes where {limit} are allowed")
            }
            Self::ReplyTooLong { length, limit } => {
                write!(f, "a reply of {length} bytes where {limit} are allowed")
            }
            Self::UnknownChannel(channel) => write!(f, "a frame for unknown channel {channel}"),
            Self::WrongDirection(channel) => {
                write!(f, "a frame that goes the other way on channel {channel}")
            }
            other => f.write_str(other.plain()),
        }
    }
}

impl PeerMisbehaved {
    /// Returns the text of violations without parameters.
    const fn plain(self) -> &'static str {
        match self {
            Self::Truncated => "a frame that ends inside a field",
            Self::NotText => "a text that is not UTF-8",
            Self::Greeting => "a handshake frame with impossible fields",
            Self::Unexpected => "a frame that has no place at this point",
            Self::SequenceGap => "a gap in the message numbers",
            Self::FragmentOrder => "fragments out of order",
            Self::FragmentLength => "fragments that don't add up",
            Self::WindowExceeded => "more than the receive window holds",
            Self::AckedTooMuch => "an acknowledgement of what was never sent",
            Self::AckedBackwards => "an acknowledgement that goes backwards",
            Self::NothingToSettle => "a frame about a message that does not await it",
            Self::SkippedBackwards => "skipped numbers that had come already",
            Self::CloseList => "a close with impossible numbers",
            Self::CloseReason => "a close that takes back what it said before",
            Self::AfterClose => "something after it had closed",
            Self::DoneTooEarly => "an end while messages were outstanding",
            Self::Resume => "a resume that contradicts what was said before",
            Self::StreamLength => "a length that is not a number followed by '!'",
            Self::StreamEmpty => "a message of length zero",
            Self::StreamConfirmation => "a confirmation that is not 'OK!'",
            Self::StreamTooSoon => "a message before the last one was confirmed",
            _ => "a violation",
        }
    }
}

impl core::error::Error for PeerMisbehaved {}
