//! Links that this end opens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use countersign_driver::core::{Config, Role};
use countersign_driver::endpoint::SetupError;
use countersign_driver::{Connecting, Dial, Driver, Link, LinkError, Setup, prepare_socket};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::runtime::{Alarm, Stream};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// A connection that can't be had, or is lost later, is tried again as
/// [`Reconnect`](countersign_driver::core::Reconnect) says: for ever by default, so this waits for
/// a peer that is not there yet. What another attempt can't heal, a pin that does not match or
/// declarations that don't fit, ends it at once. The log tells of every attempt.
///
/// Of a name with several addresses, each is tried in turn, and the name is looked up again for
/// each attempt. Looking the name up, the TCP connection to each address and the handshake may
/// each take [`Patience::handshake`](countersign_driver::core::Patience::handshake).
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub async fn connect(
    address: impl ToSocketAddrs + Clone + Send + Sync + 'static,
    setup: &Setup,
) -> Result<Link, LinkError> {
    let config = setup.config().clone();
    let dial = move || open(address.clone(), config.clone());
    connect_with(dial, setup).await
}

/// Connects over streams that `dial` opens: one now, and another whenever the link is to connect
/// again. `dial` has to give up by itself when it takes too long.
///
/// # Errors
///
/// As for [`connect`].
pub async fn connect_with<S, F>(
    mut dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let open = move || {
        let dialing = dial();
        async move { dialing.await.map(Stream) }
    };
    let (connecting, _driver) = run(Connecting::dial(setup, open))?;
    connecting.connected().await
}

async fn open(address: impl ToSocketAddrs, config: Config) -> io::Result<TcpStream> {
    let patience = config.waits().handshake;
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in within(patience, lookup_host(address)).await? {
        match within(patience, TcpStream::connect(address)).await {
            Ok(stream) => {
                prepare_socket(&SockRef::from(&stream), &config)?;
                return Ok(stream);
            }
            Err(error) => refused = at(address, &error),
        }
    }
    Err(refused)
}

/// Names the address in an error: of several, or in a log, it is not known otherwise.
fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Makes a link over a stream that is already open, and waits until the peer has accepted this
/// end. Of the two ends one must be the opener and one the acceptor. The link ends with the stream.
///
/// # Errors
///
/// As for [`connect`].
pub async fn link_over<S>(stream: S, role: Role, setup: &Setup) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connecting, _driver) = run(Connecting::over(setup, role, Stream(stream)))?;
    connecting.connected().await
}

/// Starts the task that drives a link.
pub(crate) fn run<D: Dial<Transport: Send> + Send + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<(Connecting, JoinHandle<()>), LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    Ok((connecting, tokio::spawn(driver.run(Alarm::default()))))
}
