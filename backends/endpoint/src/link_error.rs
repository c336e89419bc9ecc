//! Why a link ended, with the errors of the layers below the core.

use std::fmt;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use countersign_core::{CloseReason, EndReason, Escaped, Link, LinkState, Loss, Protocol, Refusal};

use crate::error::{Reason, SecurityError};
use crate::event::{Cause, EndpointEvent};

/// Why a link ended, or was never established.
///
/// `Display` is one line that says what to change; [`source`](std::error::Error::source) returns
/// the error of the layer below. It is made by an [`ErrorContext`].
///
/// It may be known before this end's last frames, such as an abort, have been sent to the peer. The
/// driver of the link sends them afterwards, so a program should wait for that before it exits,
/// with the handles' `ended` and `close`.
#[derive(Clone)]
pub struct LinkError {
    /// Boxed to keep results that contain this error small.
    reason: Box<EndReason>,
    detail: Option<Detail>,
    /// The peer's close reason, if the link was lost after the peer had begun to close.
    peer_reason: Option<Box<CloseReason>>,
}

/// The error of the layer below.
#[derive(Clone, Debug)]
enum Detail {
    Security(SecurityError),
    Transport(Cause),
    /// No connection could be opened.
    Unopened(Cause),
    /// This end was used in a way that cannot work.
    Usage(Arc<dyn std::error::Error + Send + Sync>),
    /// The peer refused for now.
    Refused(Refusal),
}

/// The kind of a failure, returned by [`LinkError::kind`], for comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailureKind {
    reason: Discriminant<EndReason>,
    loss: Option<Loss>,
    detail: Option<DetailKind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DetailKind {
    Security(Discriminant<Reason>),
    Transport(io::ErrorKind),
    Unopened(io::ErrorKind),
    Usage,
    Refused(u16),
}

impl LinkError {
    /// Makes an error with the core's reason, and without details of the layers below.
    #[must_use]
    pub fn new(reason: EndReason) -> Self {
        Self {
            reason: Box::new(reason),
            detail: None,
            peer_reason: None,
        }
    }

    /// Makes an error of the transport before there was a link.
    #[must_use]
    pub fn transport(error: io::Error) -> Self {
        let detail = Some(Detail::Transport(error.into()));
        Self {
            detail,
            ..Self::new(EndReason::Lost(Loss::Transport))
        }
    }

    /// Makes an error for a request that cannot work, such as an invalid address. No attempt was
    /// made to connect.
    #[must_use]
    pub fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            detail: Some(Detail::Usage(Arc::new(error))),
            ..Self::new(EndReason::Lost(Loss::Abandoned))
        }
    }

    /// Returns what is wrong with the request for the link, if that is why there is none.
    #[must_use]
    pub fn usage(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.detail {
            Some(Detail::Usage(error)) => Some(error.as_ref()),
            _ => None,
        }
    }

    /// Returns why the link ended, in the core's terms.
    #[must_use]
    pub fn reason(&self) -> &EndReason {
        &self.reason
    }

    /// Returns the peer's close reason, if that has arrived, even if the link was lost before the
    /// close was complete. It may be 'all is well'.
    #[must_use]
    pub fn peer_closes(&self) -> Option<&CloseReason> {
        match &*self.reason {
            EndReason::Closed { theirs, .. } => Some(theirs),
            _ => self.peer_reason.as_deref(),
        }
    }

    /// Returns why the connection could not be secured, if that is why the link ended.
    #[must_use]
    pub fn security(&self) -> Option<&SecurityError> {
        match &self.detail {
            Some(Detail::Security(error)) => Some(error),
            _ => None,
        }
    }

    /// Returns the transport's error, if that is why the link ended.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match &self.detail {
            Some(Detail::Transport(cause) | Detail::Unopened(cause)) => Some(cause.error()),
            _ => None,
        }
    }

    /// Returns the kind of this failure. Two failures that differ only in their text, in an address
    /// or a time, are of the same kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        let loss = match *self.reason {
            EndReason::Lost(loss) => Some(loss),
            _ => None,
        };
        let detail = self.detail.as_ref().map(|detail| match detail {
            Detail::Security(error) => DetailKind::Security(discriminant(error.reason())),
            Detail::Transport(cause) => DetailKind::Transport(cause.error().kind()),
            Detail::Unopened(cause) => DetailKind::Unopened(cause.error().kind()),
            Detail::Usage(_) => DetailKind::Usage,
            Detail::Refused(refusal) => DetailKind::Refused(refusal.code),
        });
        FailureKind {
            reason: discriminant(&self.reason),
            loss,
            detail,
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

    /// Whether the link was closed with the reason 'all is well' by both ends.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        self.reason.is_orderly()
    }

    /// Whether everything that the peer sent was received ([`EndReason::ends_stream`]).
    #[must_use]
    pub fn ends_stream(&self) -> bool {
        self.reason.ends_stream()
    }
}

countersign_core::debug_as_display!(LinkError);

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_end(f)?;
        match self.peer_reason.as_deref() {
            Some(reason) if !reason.is_all_well() => {
                write!(f, "; the peer had closed it: {reason}")
            }
            _ => Ok(()),
        }
    }
}

impl LinkError {
    /// Formats how the link ended, without the peer's close reason.
    fn fmt_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.reason, &self.detail) {
            (
                EndReason::Lost(
                    Loss::Security
                    | Loss::NotTrusted
                    | Loss::Unproven
                    | Loss::OutOfDate
                    | Loss::PeerLeft
                    | Loss::PeerLeftEarly,
                ),
                Some(Detail::Security(error)),
            ) => fmt::Display::fmt(error, f),
            (EndReason::Revoked { by_us: true }, Some(Detail::Security(error))) => {
                fmt::Display::fmt(error, f)
            }
            (EndReason::Lost(Loss::Transport), Some(Detail::Transport(error))) => {
                write!(f, "the connection was lost: {}", Escaped::new(error))
            }
            (EndReason::Lost(Loss::Transport), Some(Detail::Unopened(error))) => {
                write!(f, "no connection: {}", Escaped::new(error))
            }
            (EndReason::Lost(loss), Some(Detail::Refused(refusal))) => {
                write!(f, "{loss}: {refusal}")
            }
            (_, Some(Detail::Usage(error))) => fmt::Display::fmt(error, f),
            (reason, _) => fmt::Display::fmt(reason, f),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.detail {
            Some(Detail::Security(error)) => error.source(),
            Some(Detail::Transport(cause) | Detail::Unopened(cause)) => Some(cause.error()),
            Some(Detail::Usage(error)) => error.source(),
            Some(Detail::Refused(_)) | None => None,
        }
    }
}

/// The errors of the layers below the core, about a link's latest connection or the lack of one.
/// The driver of a link keeps one beside it, and makes [`LinkError`]s of it.
///
/// An error that occurs once the link has ended is not the reason for that, and is ignored.
///
/// ```
/// use std::io;
/// use countersign_core::{Config, Disconnect, Instant, Link, Role, SendChannel};
/// use countersign_endpoint::ErrorContext;
///
/// let config = Config::new().channel(SendChannel::new("data")).single_connection();
/// let mut link = Link::new(&config, Role::Opener, [1; 16])?;
/// let mut error_context = ErrorContext::default();
///
/// error_context.unopened(&link, io::Error::from(io::ErrorKind::ConnectionRefused));
/// link.handle_timeout(Instant::ZERO);
/// link.handle_lost(Instant::ZERO, Disconnect::Transport);
/// let error = error_context.of_end(&link).expect("the link has ended");
/// assert_eq!(error.to_string(), "no connection: connection refused");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ErrorContext(Option<Detail>);

impl ErrorContext {
    /// Records an event of the link's connection, from its [`Endpoint`](crate::Endpoint).
    pub fn on_event(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::Secured => {}
            // An error of security says more than an earlier one of the transport.
            EndpointEvent::Failed(error) => self.0 = Some(Detail::Security(error)),
            EndpointEvent::Lost(cause) => _ = self.0.get_or_insert(Detail::Transport(cause)),
        }
    }

    /// Records that no transport connection could be opened.
    pub fn unopened(&mut self, link: &impl Protocol, error: impl Into<Cause>) {
        if link.state() != LinkState::Ended {
            self.0.get_or_insert(Detail::Unopened(error.into()));
        }
    }

    /// Discards all errors, which do not explain what happens to the next connection.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Makes the error of a link that has lost a connection.
    #[must_use]
    pub fn of_loss(&self, link: &Link, loss: Loss) -> LinkError {
        let refusal = link.refusal().filter(|_| loss == Loss::Refused);
        let refused = refusal.cloned().map(Detail::Refused);
        LinkError {
            detail: refused.or_else(|| self.0.clone()),
            ..LinkError::new(EndReason::Lost(loss))
        }
    }

    /// Makes the error of an incoming connection that has ended for this reason.
    #[must_use]
    pub fn of(&self, reason: &EndReason) -> LinkError {
        LinkError {
            detail: self.0.clone(),
            ..LinkError::new(reason.clone())
        }
    }

    /// Returns why the link ended, once it has.
    #[must_use]
    pub fn of_end(&self, link: &Link) -> Option<LinkError> {
        let reason = link.end_reason()?.clone();
        let peer_reason = match &reason {
            EndReason::Lost(_) => link.peer_closes().cloned().map(Box::new),
            _ => None,
        };
        Some(LinkError {
            detail: self.0.clone(),
            peer_reason,
            ..LinkError::new(reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{Config, Disconnect, Instant, Role, SendChannel};

    use super::*;

    #[test]
    fn what_is_said_after_the_end_is_not_why_it_ended() {
        let config = Config::new().channel(SendChannel::new("data"));
        let mut link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
        let mut error_context = ErrorContext::default();
        link.handle_lost(Instant::ZERO, Disconnect::Abandoned);
        error_context.unopened(&link, io::Error::from(io::ErrorKind::ConnectionReset));
        let error = error_context.of_end(&link).unwrap();
        assert!(error.io().is_none() && error.security().is_none());
    }
}
