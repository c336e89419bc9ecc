//! Links that this end opens.

use std::io;

use countersign_driver::core::Role;
use countersign_driver::{Connecting, Link, LinkError, Setup, prepare_socket};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::runtime::{Alarm, Stream};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// Of a name with several addresses, each is tried in turn. The TCP connection and the handshake
/// may each take [`Patience::handshake`](countersign_driver::core::Patience::handshake).
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub async fn connect(address: impl ToSocketAddrs, setup: &Setup) -> Result<Link, LinkError> {
    let patience = setup.config().waits().handshake;
    let stream = tokio::time::timeout(patience, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(LinkError::transport)?;
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    link_over(stream, Role::Opener, setup).await
}

/// Makes a link over a stream that is already open, and waits until the peer has accepted this
/// end. Of the two ends one must be the opener and one the acceptor.
///
/// # Errors
///
/// As for [`connect`].
pub async fn link_over<S>(stream: S, role: Role, setup: &Setup) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connecting, driver) = Connecting::start(setup, role, Stream(stream))
        .map_err(|error| LinkError::transport(io::Error::other(error)))?;
    tokio::spawn(driver.run(Alarm::default()));
    connecting.connected().await
}
