//! The errors and the backlog of listeners, for all backends.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use countersign_endpoint::Fingerprint;

use crate::error::LinkError;

/// How many lines per minute a listener logs about strangers by default.
pub const DEFAULT_LOG_LINES: usize = 20;

/// A connection that did not become a link, or a listener that has ended.
#[derive(Clone)]
pub struct AcceptError {
    peer: Option<SocketAddr>,
    error: Box<LinkError>,
    known: Option<Fingerprint>,
    closed: bool,
}

impl AcceptError {
    /// Makes the error of a connection from `peer`, if its address is known.
    #[must_use]
    pub fn new(peer: Option<SocketAddr>, error: LinkError) -> Self {
        Self {
            peer,
            error: Box::new(error),
            known: None,
            closed: false,
        }
    }

    /// Sets the key of a peer that has authenticated and that this end accepts.
    pub(crate) fn of_known_peer(mut self, known: Option<Fingerprint>) -> Self {
        self.known = known;
        self
    }

    /// Whether the peer has authenticated as one that this end accepts, and there is no link for
    /// another reason, such as declarations that do not fit. On a plain connection no peer
    /// authenticates.
    #[must_use]
    pub fn is_of_known_peer(&self) -> bool {
        self.known.is_some()
    }

    /// Returns the key of a peer that has authenticated and that this end accepts.
    pub(crate) fn known_peer(&self) -> Option<Fingerprint> {
        self.known
    }

    /// Makes the error of a closed listener, which accepts nothing more.
    #[must_use]
    pub fn closed() -> Self {
        let error = io::Error::new(io::ErrorKind::NotConnected, "the listener is closed");
        Self {
            peer: None,
            error: Box::new(LinkError::transport(error)),
            known: None,
            closed: true,
        }
    }

    /// Whether the error is not about a connection: the listener was closed, and accepts nothing
    /// more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the address that the connection came from, if it is known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns why the connection did not become a link.
    #[must_use]
    pub fn error(&self) -> &LinkError {
        &self.error
    }
}

countersign_core::debug_as_display!(AcceptError);

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.closed {
            return f.write_str("the listener is closed");
        }
        match self.peer {
            Some(peer) => write!(f, "{peer}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}

/// The results of handshakes that wait to be accepted. Links are bounded by the listener's limits;
/// when there are too many errors, the oldest is discarded.
#[derive(Debug)]
pub(crate) struct Backlog<L> {
    results: VecDeque<Result<L, AcceptError>>,
    /// How many errors are in `results`.
    errors: usize,
    limit: usize,
}

impl<L> Backlog<L> {
    /// Makes a backlog with room for `limit` errors, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            results: VecDeque::new(),
            errors: 0,
            limit: limit.max(1),
        }
    }

    /// Adds a result. Returns the oldest error if there was no room for another.
    pub(crate) fn push(&mut self, result: Result<L, AcceptError>) -> Option<AcceptError> {
        let mut discarded = None;
        if result.is_err() {
            discarded = self.discard_oldest_error();
            self.errors += 1;
        }
        self.results.push_back(result);
        discarded
    }

    /// Takes the result that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Result<L, AcceptError>> {
        let result = self.results.pop_front()?;
        self.errors -= usize::from(result.is_err());
        Some(result)
    }

    /// Takes everything. Dropping it closes the links: do so outside of the locks that they need.
    pub(crate) fn take_all(&mut self) -> impl Sized + Send + use<L>
    where
        L: Send,
    {
        self.errors = 0;
        std::mem::take(&mut self.results)
    }

    /// Makes room for one more error, and returns the one discarded, if any.
    fn discard_oldest_error(&mut self) -> Option<AcceptError> {
        if self.errors < self.limit {
            return None;
        }
        let at = self.results.iter().position(Result::is_err)?;
        self.errors -= 1;
        self.results.remove(at)?.err()
    }
}
