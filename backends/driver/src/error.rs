//! What handles can't do for their callers.

use std::fmt;

use countersign_core::{ReceiveError, SessionLoss};
pub use countersign_endpoint::LinkError;

/// A sender or receiver that can't be had from this link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// No channel of this name was declared.
    NoSuchChannel {
        /// The name that was asked for.
        name: String,
    },
    /// The channel is in the other mode at this end.
    OtherMode {
        /// The channel.
        name: String,
        /// The mode that it has.
        mode: countersign_core::Mode,
    },
    /// The channel is `Auto`, and a receiver for `Manual` was asked for, or the other way round.
    OtherAcking {
        /// The channel.
        name: String,
    },
    /// The receiver was handed out before; there is one for each channel.
    Taken {
        /// The channel.
        name: String,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchChannel { name } => {
                write!(f, "no channel '{name}' was declared at this end")
            }
            Self::OtherMode { name, mode } => {
                write!(f, "channel '{name}' is in {mode} at this end")
            }
            Self::OtherAcking { name } => write!(
                f,
                "channel '{name}': ask for a receiver where it was declared without manual(), and \
                 for a manual_receiver where it was declared with it"
            ),
            Self::Taken { name } => {
                write!(f, "the receiver of channel '{name}' was handed out before")
            }
        }
    }
}

impl std::error::Error for ChannelError {}

/// Why there is no message to receive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// A session ended here ([`LinkEvent::SessionLost`](crate::LinkEvent::SessionLost)): the
    /// messages received so far belong to it, what follows belongs to the next one. FailureLog once, in
    /// its place in the stream. The link goes on, and so may receiving: with the next call.
    SessionBorder(SessionLoss),
    /// The link ended, and not in order. Nothing follows.
    Link(LinkError),
}

impl RecvError {
    /// Whether this is the border between two sessions, behind which receiving can go on.
    #[must_use]
    pub fn is_border(&self) -> bool {
        matches!(self, Self::SessionBorder(_))
    }

    /// Why the link ended, if it has.
    #[must_use]
    pub fn link(&self) -> Option<&LinkError> {
        match self {
            Self::SessionBorder(_) => None,
            Self::Link(error) => Some(error),
        }
    }
}

impl From<LinkError> for RecvError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionBorder(why) => ReceiveError::SessionBorder(*why).fmt(f),
            Self::Link(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::SessionBorder(_) => None,
            Self::Link(error) => error.source(),
        }
    }
}

/// A message that was not sent, given back with the reason.
#[derive(Clone)]
pub struct SendError {
    message: countersign_core::Bytes,
    why: countersign_core::SendError,
    /// Boxed, since it is rare and large, and every send may return this.
    link: Option<Box<LinkError>>,
}

impl SendError {
    /// What the core has not accepted, and why the link has ended if it has.
    #[must_use]
    pub fn new(not_sent: countersign_core::NotSent, link: Option<LinkError>) -> Self {
        Self {
            message: not_sent.message,
            why: not_sent.why,
            link: link.map(Box::new),
        }
    }

    /// Why it was not accepted.
    #[must_use]
    pub fn why(&self) -> countersign_core::SendError {
        self.why
    }

    /// Whether the channel had no room, so that the same message can be accepted later.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.why == countersign_core::SendError::Blocked
    }

    /// Why the link ended, if that is why the message was not accepted.
    #[must_use]
    pub fn link(&self) -> Option<&LinkError> {
        self.link.as_deref()
    }

    /// The message, untouched.
    #[must_use]
    pub fn into_message(self) -> countersign_core::Bytes {
        self.message
    }
}

impl fmt::Debug for SendError {
    /// Without the message, which may be long, and nobody else's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("length", &self.message.len())
            .field("why", &self.why)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Some(link) => write!(f, "{}: {link}", self.why),
            None => self.why.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}
