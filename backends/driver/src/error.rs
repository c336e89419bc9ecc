//! Why a link ended, with what the layers below the core know about it.

use std::fmt;
use std::io;
use std::sync::Arc;

use countersign_core::{EndReason, Loss};
use countersign_endpoint::SecurityError;

/// Why a link ended, or never came to be.
///
/// `Display` is one line that says what to change; [`source`](std::error::Error::source) gives
/// the layer below its word.
///
/// It is known before this end's last words, a refusal or an abort perhaps, have gone out to the
/// peer. The driver sends them in the background, so a program that exits at once, or drops the
/// runtime that runs the driver, may take them with it.
#[derive(Clone, Debug)]
pub struct LinkError {
    reason: EndReason,
    detail: Option<Detail>,
}

/// What the layer below says.
#[derive(Clone, Debug)]
pub(crate) enum Detail {
    Security(SecurityError),
    Transport(Arc<io::Error>),
    /// No connection could be opened.
    Unopened(Arc<io::Error>),
}

impl LinkError {
    pub(crate) fn new(reason: EndReason, detail: Option<Detail>) -> Self {
        Self { reason, detail }
    }

    /// An error of the transport before there was a link.
    #[must_use]
    pub fn transport(error: io::Error) -> Self {
        let detail = Some(Detail::Transport(Arc::new(error)));
        Self {
            reason: EndReason::Lost(Loss::Transport),
            detail,
        }
    }

    /// Why the link ended, in the core's terms.
    #[must_use]
    pub fn reason(&self) -> &EndReason {
        &self.reason
    }

    /// Why the connection could not be secured, if that is why the link ended.
    #[must_use]
    pub fn security(&self) -> Option<&SecurityError> {
        match &self.detail {
            Some(Detail::Security(error)) => Some(error),
            _ => None,
        }
    }

    /// What the transport said, if that is why the link ended.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match &self.detail {
            Some(Detail::Transport(error) | Detail::Unopened(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether connecting again with the same settings can help.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match &self.detail {
            Some(Detail::Security(error)) => error.can_retry(),
            _ => self.reason.can_retry(),
        }
    }

    /// Whether the link ended as both ends wanted.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        self.reason.is_orderly()
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, &self.detail) {
            (
                EndReason::Lost(Loss::Security | Loss::NotTrusted | Loss::Unproven),
                Some(Detail::Security(error)),
            ) => error.fmt(f),
            (EndReason::Lost(Loss::Transport), Some(Detail::Transport(error))) => {
                write!(f, "the connection was lost: {error}")
            }
            (EndReason::Lost(Loss::Transport), Some(Detail::Unopened(error))) => {
                write!(f, "no connection: {error}")
            }
            (reason, _) => reason.fmt(f),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.detail {
            Some(Detail::Security(error)) => error.source(),
            Some(Detail::Transport(error) | Detail::Unopened(error)) => Some(error.as_ref()),
            None => None,
        }
    }
}

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

/// A message that was not sent, given back with the reason.
#[derive(Clone)]
pub struct SendError {
    message: countersign_core::Bytes,
    why: countersign_core::SendError,
    link: Option<LinkError>,
}

impl SendError {
    pub(crate) fn new(not_sent: countersign_core::NotSent, link: Option<LinkError>) -> Self {
        Self {
            message: not_sent.message,
            why: not_sent.why,
            link,
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
        self.link.as_ref()
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
