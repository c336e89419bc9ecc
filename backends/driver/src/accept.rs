//! What the listeners of all backends have in common.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use countersign_core::DEFAULT_SESSIONS;
use countersign_endpoint::Fingerprint;

use crate::error::LinkError;

/// How many connections of a listener may be half open by default.
pub const DEFAULT_HALF_OPEN: usize = 256;

/// How many new links wait to be accepted by default.
pub const DEFAULT_BACKLOG: usize = 256;

/// How many links a listener has at a time by default.
pub const DEFAULT_LINKS: usize = 16_384;

/// How many connections a listener takes from one address by default.
pub const DEFAULT_PER_ADDRESS: usize = 1024;

/// How many connections from one address may be half open by default.
pub const DEFAULT_HALF_OPEN_PER_ADDRESS: usize = 128;

/// How many lines about strangers a listener logs in a minute by default.
pub const DEFAULT_LOG_LINES: usize = 20;

/// What a listener takes before it lets peers wait, or sends them away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections may be in their handshake, or refused and not yet gone;
    /// [`DEFAULT_HALF_OPEN`] by default, at least one. Further ones wait in the system's queue,
    /// also those of peers that return to their links, for
    /// [`Patience::handshake`](countersign_core::Patience::handshake) at most.
    pub half_open: usize,
    /// How many of them may come from one address, counted as in [`per_address`](Self::per_address);
    /// [`DEFAULT_HALF_OPEN_PER_ADDRESS`] by default, at least one. Further ones are closed at once,
    /// so as long as this is less than [`half_open`](Self::half_open), nobody can keep all others
    /// waiting from one address. Peers that come in greater numbers at once, through a NAT say, get
    /// in when they try again, as openers do by their
    /// [`Reconnect`](countersign_core::Reconnect).
    pub half_open_per_address: usize,
    /// How many new links may wait to be accepted by the application; [`DEFAULT_BACKLOG`] by
    /// default, at least one. Whoever wants another is refused for now, as with
    /// [`links`](Self::links).
    ///
    /// As many errors of connections that did not become links wait to be accepted; beyond that
    /// the oldest is dropped with a warning.
    pub backlog: usize,
    /// How many links there may be at a time, those without a connection included;
    /// [`DEFAULT_LINKS`] by default, at least one. Whoever wants another is refused for now, and
    /// told so: openers try again by their [`Reconnect`](countersign_core::Reconnect). Peers that
    /// return to their links come in all the same.
    pub links: usize,
    /// How many links may be without a connection, for their peers to come back;
    /// [`DEFAULT_SESSIONS`] by default. With one more, the one that has waited longest ends as
    /// [`Loss::Evicted`](countersign_core::Loss::Evicted).
    pub sessions: usize,
    /// How many connections there may be from one IPv4 address or one IPv6 network of 64 bits at a
    /// time, those of links and of handshakes together; [`DEFAULT_PER_ADDRESS`] by default, at
    /// least one. Further ones are closed at once, also those of peers that return to their links:
    /// who they are is not known yet, and their connections of before count until they are given
    /// up ([`Patience::give_up`](countersign_core::Patience::give_up)). So leave room for twice as
    /// many as come from one address, as through a NAT. Connections over other transports are not
    /// counted.
    pub per_address: usize,
    /// How many lines a listener logs as warnings in a minute, at most, about connections that came to
    /// nothing: those of all strangers together, and of each peer that has proved who it is;
    /// [`DEFAULT_LOG_LINES`] by default. How many were left out, one more line says, with the next one
    /// after that minute or when the listener goes. At the level `debug` there are all of them. What
    /// [`Listener::log`](crate::Listener::log) is given counts too.
    pub log_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: DEFAULT_HALF_OPEN,
            half_open_per_address: DEFAULT_HALF_OPEN_PER_ADDRESS,
            backlog: DEFAULT_BACKLOG,
            links: DEFAULT_LINKS,
            sessions: DEFAULT_SESSIONS,
            per_address: DEFAULT_PER_ADDRESS,
            log_lines: DEFAULT_LOG_LINES,
        }
    }
}

/// How the links of a listener have ended that was drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// How many were closed, with every message's verdict known.
    pub orderly: usize,
    /// How many ended otherwise: lost, or not closed in time.
    pub cut_short: usize,
}

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
    pub(crate) fn closed() -> Self {
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
