//! The status of a link.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use countersign_core::{Instant, LinkStatus, PeerId};
use countersign_endpoint::{Buffer, Peer};
use socket2::{SockAddr, SockRef};

use crate::clock::Clock;
use crate::driver::Transport;
use crate::error::LinkError;
use crate::runtime::StreamSocket;
use crate::shared::Shared;

/// A snapshot of a link, returned by [`Link::status`](crate::Link::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The core's status: role and state, counts, queues and windows. Its times are the core's.
    pub link: LinkStatus,
    /// When the link was connected, or, if it is not, when it was last; `None` before its first
    /// connection.
    pub since: Option<StdInstant>,
    /// This end's address on the latest transport connection, if that has one.
    pub local: Option<TransportAddress>,
    /// The peer's address on the latest transport connection, if that has one.
    pub remote: Option<TransportAddress>,
    /// The identity that the peer has proved on the latest connection, with its name if it has one;
    /// `None` on a plain one.
    pub peer: Option<Peer>,
    /// The identity of the peer, whichever of its pinned keys it uses; `None` on a plain
    /// connection.
    pub peer_id: Option<PeerId>,
    /// Why there is no connection, while there is none.
    pub failure: Option<FailedAttempt>,
}

impl Status {
    /// Whether the link is connected, so that messages flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.state.is_up()
    }

    pub(crate) fn of(shared: &Shared) -> Self {
        let clock = &shared.clock;
        shared.with(|state| {
            let link = state.link.status();
            Self {
                since: link.since.and_then(|since| clock.to_timers(since)),
                local: state.addresses.local.clone(),
                remote: state.addresses.remote.clone(),
                peer: state.current_peer(),
                peer_id: state.link.peer(),
                failure: state
                    .failure
                    .as_ref()
                    .map(|failure| failure.to_attempt(clock)),
                link,
            }
        })
    }
}

/// Why there is no connection: a failed attempt, or the loss before the first attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// How many failed attempts the link has had, including this one. A number is skipped if the
    /// next attempt failed before it was reported.
    pub number: u64,
    /// Why the attempt failed.
    pub error: LinkError,
    /// When the next attempt begins; `None` if this end does not connect.
    pub next: Option<StdInstant>,
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// A [`FailedAttempt`] by the core's clock.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) number: u64,
    pub(crate) error: LinkError,
    pub(crate) next: Option<Instant>,
}

impl Failure {
    pub(crate) fn to_attempt(&self, clock: &Clock) -> FailedAttempt {
        FailedAttempt {
            number: self.number,
            error: self.error.clone(),
            next: self.next.and_then(|next| clock.to_timers(next)),
        }
    }
}

/// The address of one end of a transport connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportAddress {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The file of a Unix socket; `None` for a socket without a file.
    Unix(Option<PathBuf>),
}

impl TransportAddress {
    fn of(address: &SockAddr) -> Option<Self> {
        if let Some(address) = address.as_socket() {
            return Some(Self::Ip(address));
        }
        address.is_unix().then(|| {
            #[cfg(unix)]
            let path = address.as_pathname().map(PathBuf::from);
            #[cfg(not(unix))]
            let path = None;
            Self::Unix(path)
        })
    }

    /// Returns the IP address and port, if it is such an address.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            // A path may contain any bytes, and this may be shown on a terminal.
            Self::Unix(Some(path)) => path.display().to_string().escape_debug().fmt(f),
            Self::Unix(None) => f.write_str("a Unix socket without a name"),
        }
    }
}

/// The addresses of both ends of a transport connection, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// This end's.
    pub local: Option<TransportAddress>,
    /// The peer's.
    pub remote: Option<TransportAddress>,
}

impl Addresses {
    /// Returns the addresses of a connected socket.
    #[must_use]
    pub fn of<'s>(socket: impl Into<SockRef<'s>>) -> Self {
        let socket = socket.into();
        let of = |address: io::Result<SockAddr>| TransportAddress::of(&address.ok()?);
        Self {
            local: of(socket.local_addr()),
            remote: of(socket.peer_addr()),
        }
    }
}

/// A socket that remembers its addresses after it is disconnected.
#[derive(Debug)]
pub(crate) struct Addressed<T> {
    transport: T,
    addresses: Addresses,
}

impl<T: StreamSocket> Addressed<T> {
    /// Queries the addresses of a connected socket.
    pub(crate) fn new(transport: T) -> Self {
        Self {
            addresses: Addresses::of(transport.socket()),
            transport,
        }
    }
}

impl<T: Transport> Transport for Addressed<T> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_read(context, buffer)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_write(context, buffer)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(context)
    }

    fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }
}
