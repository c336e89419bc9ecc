//! Waits that have a limit, and what comes of them when it has passed.

use std::error::Error;
use std::fmt;

use countersign_driver::{AcceptError, LinkError, RecvError};

use crate::connecting::Connecting;

/// A wait with a limit was over before what it waited for has come. Nothing is lost: it can be waited
/// for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitTimeoutError;

impl fmt::Display for WaitTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over first")
    }
}

impl Error for WaitTimeoutError {}

/// Why no message was received in time.
#[derive(Clone, Debug)]
pub enum RecvTimeoutError {
    /// None came within the limit.
    Timeout,
    /// As without a limit.
    Recv(RecvError),
}

/// Why no link was accepted in time.
#[derive(Clone, Debug)]
pub enum AcceptTimeoutError {
    /// Nobody came within the limit.
    Timeout,
    /// As without a limit.
    Accept(AcceptError),
}

/// Why there is no link in time.
#[derive(Debug)]
pub enum ConnectTimeoutError {
    /// It takes longer than the limit. It goes on, and can be waited for again; dropping it gives it
    /// up.
    Timeout(Connecting),
    /// As without a limit.
    Connect(Box<LinkError>),
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

impl fmt::Display for ConnectTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => WaitTimeoutError.fmt(f),
            Self::Connect(error) => error.fmt(f),
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

impl Error for ConnectTimeoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout(_) => None,
            Self::Connect(error) => error.source(),
        }
    }
}
