//! Opens links.

use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::PathBuf;

use countersign_core::Role;
use countersign_driver::{
    Address, AddressError, LinkError, Setup, StreamSocket, entry, prepare_socket, shared_doc,
};

use crate::block;
use crate::connecting::Connecting;
use crate::link::Link;
use crate::runtime::{Stream, Threads};

#[doc = shared_doc!(connect)]
/// The name is looked up in a separate thread; a look-up that outlasts its attempt goes on, and the
/// next attempt uses its result.
///
#[doc = shared_doc!(connect_errors)]
#[doc = shared_doc!(connect_example, "countersign_std", "", "", "", "")]
pub fn connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Link, LinkError> {
    start_connect(address, setup)?.wait()
}

#[doc = shared_doc!(start_connect)]
#[doc = shared_doc!(start_connect_errors)]
pub fn start_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    entry::start_connect(&Threads::default(), address, setup).map(Connecting)
}

#[doc = shared_doc!(connect_unix)]
#[doc = shared_doc!(as_connect_errors)]
#[cfg(unix)]
pub fn connect_unix(path: impl Into<PathBuf>, setup: &Setup) -> Result<Link, LinkError> {
    start_connect_unix(path, setup)?.wait()
}

#[doc = shared_doc!(start_connect_unix)]
#[doc = shared_doc!(start_errors)]
#[cfg(unix)]
pub fn start_connect_unix(
    path: impl Into<PathBuf>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    entry::start_connect_unix(&Threads::default(), path, setup).map(Connecting)
}

/// A connected socket of one of the types that a link can be made over.
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self(Kind::Tcp(socket))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self(Kind::Unix(socket))
    }
}

#[doc = shared_doc!(link_over)]
/// Bytes that the peer has sent since must not have been read yet. For streams other than sockets,
/// use [`link_over_halves`](crate::link_over_halves).
///
#[doc = shared_doc!(as_connect_errors)]
pub fn link_over(socket: impl Into<Socket>, role: Role, setup: &Setup) -> Result<Link, LinkError> {
    let runtime = Threads::default();
    let connecting = match socket.into().0 {
        Kind::Tcp(socket) => {
            let usable = socket.set_nonblocking(true);
            usable.map_err(LinkError::transport)?;
            let stream = Stream::new(mio::net::TcpStream::from_std(socket));
            let prepared = prepare_socket(&stream.socket(), setup.config());
            prepared.map_err(LinkError::transport)?;
            entry::start_over(&runtime, stream, role, setup)?
        }
        #[cfg(unix)]
        Kind::Unix(socket) => {
            let usable = socket.set_nonblocking(true);
            usable.map_err(LinkError::transport)?;
            let stream = Stream::new(mio::net::UnixStream::from_std(socket));
            entry::start_over(&runtime, stream, role, setup)?
        }
    };
    block::on(connecting).map(Link::new)
}

#[doc = shared_doc!(pair)]
#[doc = shared_doc!(as_connect_errors)]
pub fn pair(opener: &Setup, acceptor: &Setup) -> Result<(Link, Link), LinkError> {
    let (opened, accepted) = block::on(entry::pair(&Threads::default(), opener, acceptor))?;
    Ok((Link::new(opened), Link::new(accepted)))
}
