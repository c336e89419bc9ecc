//! What happens to a connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::SecurityError;

/// An event of a connection. Pass it to [`ErrorContext::on_event`](crate::ErrorContext::on_event):
/// if the link has ended or lost its connection, this may be the reason.
#[derive(Clone, Debug)]
pub enum EndpointEvent {
    /// The connection is secured, and the peer is authenticated
    /// ([`Endpoint::peer`](crate::Endpoint::peer)).
    Secured,
    /// The connection could not be secured, or is no longer.
    Failed(SecurityError),
    /// The transport has failed, and the link has lost this connection as a result. Not reported
    /// for a link that has another connection, or that had ended before.
    Lost(Cause),
}

/// An error of the transport, and its text.
///
/// Formatting or dropping an error may run code of the transport's author. So it is converted into
/// this before a lock is taken for an [`ErrorContext`](crate::ErrorContext), and a clone of it is
/// kept until the lock is released: an [`Endpoint`](crate::Endpoint) keeps one for its whole life.
#[derive(Clone, Debug)]
pub struct Cause(Arc<(io::Error, String)>);

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        Self(Arc::new((error, text)))
    }
}

impl Cause {
    /// Returns the error itself.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.0.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.1)
    }
}
