//! The addresses of both ends of a connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{SockAddr, SockRef};

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
