//! The errors of handles.

use std::fmt;

use countersign_core::{ReceiveError, SessionLoss};
pub use countersign_endpoint::LinkError;

/// Why a link has no such sender or receiver.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// No channel of this name was declared.
    NoSuchChannel {
        /// The name that was requested.
        name: String,
    },
    /// The channel is in the other mode at this end.
    OtherMode {
        /// The channel.
        name: String,
        /// The mode that it has.
        mode: countersign_core::Mode,
    },
    /// The channel is `Auto`, and a receiver for `Manual` was requested, or the other way round.
    WrongReceiver {
        /// The channel.
        name: String,
    },
    /// The channel was declared without a lease.
    NoLease {
        /// The channel.
        name: String,
    },
    /// The receiver was handed out before; there is one for each channel.
    Taken {
        /// The channel.
        name: String,
    },
}

countersign_core::debug_as_display!(RecvError, SendError, ChannelError);

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchChannel { name } => {
                write!(f, "no channel '{name}' was declared at this end")
            }
            Self::OtherMode { name, mode } => {
                write!(f, "channel '{name}' is in {mode} at this end")
            }
            Self::WrongReceiver { name } => write!(
                f,
                "channel '{name}': ask for a receiver where it was declared without manual(), and \
                 for a manual_receiver where it was declared with it"
            ),
            Self::NoLease { name } => {
                write!(f, "channel '{name}' was declared without a lease()")
            }
            Self::Taken { name } => {
                write!(f, "the receiver of channel '{name}' was handed out before")
            }
        }
    }
}

impl std::error::Error for ChannelError {}

/// Why there is no message to receive.
///
/// ```
/// # use countersign_driver::{LinkError, Receiver, RecvError};
/// # async fn example(commands: &mut Receiver) -> Result<(), LinkError> {
/// loop {
///     match commands.recv().await {
///         Ok(Some(command)) => println!("{} bytes", command.len()),
///         Ok(None) => return Ok(()), // the peer has closed, and all is well
///         // The peer was restarted, say: what follows is of another session.
///         Err(RecvError::SessionBorder(why)) => println!("{why}"),
///         Err(error) => return Err(error.link().cloned().expect("the link has ended")),
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum RecvError {
    /// A session ended here ([`LinkEvent::SessionLost`](crate::LinkEvent::SessionLost)): the
    /// messages received so far belong to it, those that follow belong to the next one. Reported
    /// once, in its place in the stream. The link goes on, and the next call receives again.
    SessionBorder(SessionLoss),
    /// The link ended, and not in order. Nothing follows.
    Link(LinkError),
}

impl RecvError {
    /// Whether this is the border between two sessions, after which receiving can continue.
    #[must_use]
    pub fn is_border(&self) -> bool {
        matches!(self, Self::SessionBorder(_))
    }

    /// Returns why the link ended, if it has.
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

/// A message that was not sent, returned with the reason.
#[derive(Clone)]
pub struct SendError {
    message: countersign_core::Bytes,
    why: countersign_core::SendError,
    /// Boxed, since it is rare and large, and every send may return this.
    link: Option<Box<LinkError>>,
}

impl SendError {
    /// Makes the error of a message that the core has not accepted, with the reason why the link
    /// has ended, if it has.
    #[must_use]
    pub fn new(not_sent: countersign_core::NotSent, link: Option<LinkError>) -> Self {
        Self {
            message: not_sent.message,
            why: not_sent.why,
            link: link.map(Box::new),
        }
    }

    /// Returns why the message was not accepted.
    #[must_use]
    pub fn why(&self) -> countersign_core::SendError {
        self.why
    }

    /// Whether the channel had no room, so that the same message can be accepted later.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.why == countersign_core::SendError::Blocked
    }

    /// Returns why the link ended, if that is why the message was not accepted.
    #[must_use]
    pub fn link(&self) -> Option<&LinkError> {
        self.link.as_deref()
    }

    /// Returns the message, unchanged.
    #[must_use]
    pub fn into_message(self) -> countersign_core::Bytes {
        self.message
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
