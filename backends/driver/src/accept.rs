//! What the listeners of all backends have in common.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use countersign_endpoint::Fingerprint;

use crate::error::LinkError;

/// How many lines about strangers a listener logs in a minute by default.
pub const DEFAULT_LOG_LINES: usize = 20;

/// A connection that did not become a link, or a listener that has ended.
#[derive(Clone, Debug)]
pub struct AcceptError {
    peer: Option<SocketAddr>,
    error: Box<LinkError>,
    known: Option<Fingerprint>,
    closed: bool,
}

impl AcceptError {
    /// For a connection from `peer`, if it got that far.
    #[must_use]
    pub fn new(peer: Option<SocketAddr>, error: LinkError) -> Self {
        Self {
            peer,
            error: Box::new(error),
            known: None,
            closed: false,
        }
    }

    /// The peer has proved to be one that this end accepts.
    pub(crate) fn of_known_peer(mut self, known: Option<Fingerprint>) -> Self {
        self.known = known;
        self
    }

    /// Whether the peer has proved to be one that this end accepts, and the link did not come to be for
    /// another reason: declarations that do not fit, say. On a plain connection nobody proves anything.
    #[must_use]
    pub fn is_of_known_peer(&self) -> bool {
        self.known.is_some()
    }

    /// The key of such a peer.
    pub(crate) fn known_peer(&self) -> Option<Fingerprint> {
        self.known
    }

    /// Nothing will be accepted any more.
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

    /// Whether this is not about a connection: the listener was closed, and accepts nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Where the connection came from, if it got that far.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Why it did not become a link.
    #[must_use]
    pub fn error(&self) -> &LinkError {
        &self.error
    }
}

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

/// Handshakes that are over and wait to be accepted, for listeners. Links are bounded by the limits for
/// them; of errors the oldest is forgotten when there are too many.
#[derive(Debug)]
pub(crate) struct Backlog<L> {
    results: VecDeque<Result<L, AcceptError>>,
    /// How many errors are in `results`.
    errors: usize,
    limit: usize,
}

impl<L> Backlog<L> {
    /// With room for `limit` errors, one at least.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            results: VecDeque::new(),
            errors: 0,
            limit: limit.max(1),
        }
    }

    /// Adds what waits from now on. Gives the oldest error back where there was no room for another.
    pub(crate) fn push(&mut self, result: Result<L, AcceptError>) -> Option<AcceptError> {
        let mut forgotten = None;
        if result.is_err() {
            forgotten = self.forget_oldest_error();
            self.errors += 1;
        }
        self.results.push_back(result);
        forgotten
    }

    /// Takes what has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Result<L, AcceptError>> {
        let result = self.results.pop_front()?;
        self.errors -= usize::from(result.is_err());
        Some(result)
    }

    /// Takes everything. Dropping it closes the links: not under a lock that they need.
    pub(crate) fn take_all(&mut self) -> impl Sized + Send + use<L>
    where
        L: Send,
    {
        self.errors = 0;
        std::mem::take(&mut self.results)
    }

    /// Makes room for one more error.
    fn forget_oldest_error(&mut self) -> Option<AcceptError> {
        if self.errors < self.limit {
            return None;
        }
        let at = self.results.iter().position(Result::is_err)?;
        self.errors -= 1;
        self.results.remove(at)?.err()
    }
}
