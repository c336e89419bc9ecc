//! Links that this end opens.

use std::io;
use std::time::Duration;

use countersign_driver::core::Role;
use countersign_driver::{Connecting, Link, LinkError, Setup, prepare_socket};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::runtime::{Alarm, Stream};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// Of a name with several addresses, each is tried in turn. Looking the name up, the TCP
/// connection to each and the handshake may each take
/// [`Patience::handshake`](countersign_driver::core::Patience::handshake).
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub async fn connect(address: impl ToSocketAddrs, setup: &Setup) -> Result<Link, LinkError> {
    let stream = open(address, setup).await.map_err(LinkError::transport)?;
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    link_over(stream, Role::Opener, setup).await
}

async fn open(address: impl ToSocketAddrs, setup: &Setup) -> io::Result<TcpStream> {
    let patience = setup.config().waits().handshake;
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in within(patience, lookup_host(address)).await? {
        match within(patience, TcpStream::connect(address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
    let (connecting, _driver) = start(stream, role, setup)?;
    connecting.connected().await
}

/// Makes a link over a stream, with the task that drives it.
pub(crate) fn start<S>(
    stream: S,
    role: Role,
    setup: &Setup,
) -> Result<(Connecting, JoinHandle<()>), LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connecting, driver) = Connecting::start(setup, role, Stream(stream))
        .map_err(|error| LinkError::transport(io::Error::other(error)))?;
    Ok((connecting, tokio::spawn(driver.run(Alarm::default()))))
}
