//! The errors of waits with a time limit.

use std::error::Error;
use std::fmt;

use countersign_driver::{AcceptError, RecvError};

/// A wait has reached its time limit. Nothing is lost: the caller can wait again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaitTimeoutError;

countersign_core::debug_as_display!(WaitTimeoutError, RecvTimeoutError, AcceptTimeoutError);

impl fmt::Display for WaitTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over first")
    }
}

impl Error for WaitTimeoutError {}

/// Why no message was received in time.
#[derive(Clone)]
pub enum RecvTimeoutError {
    /// No message arrived within the limit.
    Timeout,
    /// The error of a wait without a limit.
    Recv(RecvError),
}

/// Why no link was accepted in time.
#[derive(Clone)]
pub enum AcceptTimeoutError {
    /// No peer connected within the limit.
    Timeout,
    /// The error of a wait without a limit.
    Accept(AcceptError),
}

impl From<WaitTimeoutError> for RecvTimeoutError {
    fn from(_: WaitTimeoutError) -> Self {
        Self::Timeout
    }
}

impl From<WaitTimeoutError> for AcceptTimeoutError {
    fn from(_: WaitTimeoutError) -> Self {
        Self::Timeout
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => WaitTimeoutError.fmt(f),
            Self::Recv(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AcceptTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => WaitTimeoutError.fmt(f),
            Self::Accept(error) => error.fmt(f),
        }
    }
}

impl Error for RecvTimeoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout => None,
            Self::Recv(error) => error.source(),
        }
    }
}

impl Error for AcceptTimeoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout => None,
            Self::Accept(error) => error.source(),
        }
    }
}
