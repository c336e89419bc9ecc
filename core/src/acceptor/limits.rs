//! The limits of an acceptor, beyond which peers wait or are refused.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

/// How many connections of an acceptor may be half open by default.
pub const DEFAULT_HALF_OPEN: usize = 256;

/// How many connections from one address may be half open by default.
pub const DEFAULT_HALF_OPEN_PER_ADDRESS: usize = 128;

/// How many connections an acceptor accepts from one address by default.
pub const DEFAULT_PER_ADDRESS: usize = 1024;

/// How many links an acceptor may have at a time by default.
pub const DEFAULT_LINKS: usize = 16_384;

/// How many new links may wait for the application by default.
pub const DEFAULT_BACKLOG: usize = 256;

/// How many links may wait for their peers at a time by default.
pub const DEFAULT_SESSIONS: usize = 1024;

/// The limits of an acceptor, beyond which peers wait or are refused.
///
/// ```
/// use countersign_core::Limits;
///
/// // For a device that serves a few peers on a network of its own.
/// let limits = Limits { links: 8, half_open: 8, ..Limits::default() };
/// assert!(limits.backlog > limits.links);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How many connections may be half open: in their handshake, or refused and not yet gone;
    /// [`DEFAULT_HALF_OPEN`] by default, at least one. Further ones wait in the system's queue,
    /// also those of peers that return to their links, for
    /// [`Timeouts::handshake`](crate::Timeouts::handshake) at most.
    pub half_open: usize,
    /// How many of them may come from one address, counted as in
    /// [`per_address`](Self::per_address); [`DEFAULT_HALF_OPEN_PER_ADDRESS`] by default, at least
    /// one. Further ones are closed at once. So as long as this is less than
    /// [`half_open`](Self::half_open), no single address can keep all others waiting. Peers that
    /// come in greater numbers at once, through a NAT say, get in when they try again, as openers
    /// do by their [`Reconnect`](crate::Reconnect).
    pub half_open_per_address: usize,
    /// How many new links may wait to be accepted by the application; [`DEFAULT_BACKLOG`] by
    /// default, at least one. Another peer is refused for now, as with [`links`](Self::links).
    ///
    /// The same number of errors of connections that did not become links may wait to be accepted;
    /// beyond that the oldest is dropped with a warning.
    pub backlog: usize,
    /// How many links there may be at a time, including those without a connection;
    /// [`DEFAULT_LINKS`] by default, at least one. Another peer is refused for now, so that openers
    /// try again by their [`Reconnect`](crate::Reconnect). Peers that return to their links are not
    /// affected.
    pub links: usize,
    /// How many links may be without a connection, waiting for their peers, and how many sessions
    /// that are over are remembered; [`DEFAULT_SESSIONS`] by default. With one more, the link that
    /// has waited longest ends as [`Loss::Evicted`](crate::Loss::Evicted).
    pub sessions: usize,
    /// How many connections there may be from one IPv4 address or one IPv6 network of 64 bits at a
    /// time, those of links and of handshakes together; [`DEFAULT_PER_ADDRESS`] by default, at
    /// least one. Further ones are closed at once, also those of peers that return to their links:
    /// their identity is not known yet, and their previous connections count until they are given
    /// up ([`Timeouts::give_up`](crate::Timeouts::give_up)). So leave room for twice as many as
    /// come from one address, as through a NAT. Connections over other transports are not counted.
    pub per_address: usize,
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
        }
    }
}

/// There are as many connections from one address as [`Limits`] allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How many there are.
    pub count: usize,
    /// Whether that is the limit of half-open connections ([`Limits::half_open_per_address`]), and
    /// not that of all ([`Limits::per_address`]).
    pub half_open: bool,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.half_open {
            "handshakes under way"
        } else {
            "connections"
        };
        write!(
            f,
            "there are {} {what} from this address, as many as the listener's limit allows",
            self.count
        )
    }
}

impl core::error::Error for TooMany {}

/// Returns why there is no room for another link, as a text for its peer, or `None` if there is.
pub(super) fn no_room(links: usize, backlog: usize, limits: &Limits) -> Option<String> {
    if links >= limits.links.max(1) {
        let links = limits.links;
        return Some(format!(
            "the listener has all the links that it takes, {links}"
        ));
    }
    (backlog >= limits.backlog.max(1)).then(|| {
        let backlog = limits.backlog;
        format!("as many links as may wait to be accepted do so, {backlog}")
    })
}

/// Returns the address under which a connection is counted: one IPv4 address, or one IPv6 network
/// of 64 bits, which is the least that a subscriber has.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}
