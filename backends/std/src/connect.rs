//! Links that this end opens.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};

use countersign_driver::core::Role;
use countersign_driver::{Connecting, Driver, LinkError, Setup, prepare_socket};
use socket2::SockRef;

use crate::link::Link;
use crate::runtime::{Stream, Waiting};
use crate::{block, runtime};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// Of a name with several addresses, each is tried in turn. The TCP connection to each and the
/// handshake may each take [`Patience::handshake`](countersign_driver::core::Patience::handshake).
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub fn connect(address: impl ToSocketAddrs, setup: &Setup) -> Result<Link, LinkError> {
    let stream = open(address, setup).map_err(LinkError::transport)?;
    link_over(stream, Role::Opener, setup)
}

fn open(address: impl ToSocketAddrs, setup: &Setup) -> io::Result<TcpStream> {
    let patience = setup.config().waits().handshake;
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Makes a link over a TCP connection that is already open, and waits until the peer has accepted
/// this end. Of the two ends one must be the opener and one the acceptor.
///
/// # Errors
///
/// As for [`connect`].
pub fn link_over(stream: TcpStream, role: Role, setup: &Setup) -> Result<Link, LinkError> {
    let (connecting, driver, waiting) = prepare(stream, role, setup)?;
    runtime::spawn(driver, waiting, std::future::ready(())).map_err(LinkError::transport)?;
    block::on(connecting.connected()).map(Link::new)
}

/// Makes everything of a link but its thread.
pub(crate) fn prepare(
    stream: TcpStream,
    role: Role,
    setup: &Setup,
) -> Result<(Connecting, Driver<Stream>, Waiting), LinkError> {
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    let (stream, waiting) = runtime::register(stream).map_err(LinkError::transport)?;
    let (connecting, driver) = Connecting::start(setup, role, stream)
        .map_err(|error| LinkError::transport(io::Error::other(error)))?;
    Ok((connecting, driver, waiting))
}
