//! Links that this end opens.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

use countersign_core::Role;
use countersign_driver::{Address, AddressError, Connecting, Link, LinkError, Setup, memory};
#[cfg(unix)]
use countersign_driver::{Addressed, Addresses, at, lasting};
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};

use crate::runtime::{Stream, alarm, drive, timed};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// A connection that can't be had, or is lost later, is tried again as
/// [`Reconnect`](countersign_core::Reconnect) says: for ever by default, so this waits for
/// a peer that is not there yet. What another attempt can't heal, a pin that does not match or
/// declarations that don't fit, ends it at once. The log tells of each kind of failure, and once a
/// minute of what is still waited for.
///
/// A name is looked up again for each attempt. Of several addresses the first that answers is
/// taken, as by [`open`](countersign_driver::open) (RFC 8305); where that does not lead to the peer,
/// the others have their turn ([`Connecting::reach`](countersign_driver::Connecting::reach)). Looking
/// the name up, the TCP connection and the handshake may each take
/// [`Patience::handshake`](countersign_core::Patience::handshake).
///
/// Cancel-safe: dropping the future gives the attempt and its connection up; the peer sees an
/// error, or a link that ends without a message.
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help. What is no address
/// ([`AddressError`]) is its [`usage`](LinkError::usage).
pub async fn connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Link, LinkError> {
    start_connect(address, setup)?.await
}

/// Begins to connect as [`connect`] does, and gives what can be waited for, asked for its failures,
/// hastened and given up.
///
/// # Errors
///
/// What is no address, as for [`connect`]. The system has no randomness to give.
pub fn start_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let address = Address::of_peer(address).map_err(LinkError::unusable)?;
    let lookup = move || look_up(address.clone());
    let made = Connecting::reach(
        timed(setup.clone()),
        lookup,
        TcpStream::connect,
        alarm,
        Stream,
    );
    drive(made)
}

/// The addresses of a name.
pub(crate) async fn look_up(address: Address) -> io::Result<Vec<SocketAddr>> {
    address
        .resolve(|host, port| async move { lookup_host((host, port)).await })
        .await
}

/// Connects to a listening peer over a Unix socket, as [`connect`] does over TCP.
///
/// Cancel-safe as [`connect`].
///
/// # Errors
///
/// As for [`connect`].
#[cfg(unix)]
pub async fn connect_unix(path: impl Into<PathBuf>, setup: &Setup) -> Result<Link, LinkError> {
    start_connect_unix(path, setup)?.await
}

/// Begins to connect as [`connect_unix`] does, and gives what can be waited for, asked for its failures,
/// hastened and given up.
///
/// # Errors
///
/// The system has no randomness to give.
#[cfg(unix)]
pub fn start_connect_unix(
    path: impl Into<PathBuf>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let path = lasting(&path.into());
    let dial = move || {
        let path = path.clone();
        async move {
            let connected = UnixStream::connect(&path).await;
            let stream = connected.map_err(|error| at(path.display(), &error))?;
            let addresses = Addresses::of(&stream);
            Ok(Addressed::new(Stream(stream), addresses))
        }
    };
    drive(Connecting::dial(&timed(setup.clone()), dial))
}

/// Connects over streams that `dial` opens: one now, and another whenever the link is to connect
/// again. `dial` has to give up by itself when it takes too long.
///
/// Cancel-safe as [`connect`]; what `dial` is about is dropped.
///
/// # Errors
///
/// As for [`connect`].
pub async fn connect_with<S, F>(
    dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    start_connect_with(dial, setup)?.await
}

/// Begins to connect as [`connect_with`] does, and gives what can be waited for, asked for its failures,
/// hastened and given up.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn start_connect_with<S, F>(
    mut dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Connecting, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let open = move || {
        let dialing = dial();
        async move { dialing.await.map(Stream) }
    };
    drive(Connecting::dial(&timed(setup.clone()), open))
}

/// Makes a link between two declarations in one process, over a connection in memory: for tests, and
/// for parts that may move apart some day.
///
/// Cancel-safe as [`connect`].
///
/// # Errors
///
/// As for [`connect`].
pub async fn pair(opener: &Setup, acceptor: &Setup) -> Result<(Link, Link), LinkError> {
    let (near, far) = memory();
    let opening = drive(Connecting::over(&timed(opener.clone()), Role::Opener, near))?;
    let accepting = drive(Connecting::over(
        &timed(acceptor.clone()),
        Role::Acceptor,
        far,
    ))?;
    Ok((opening.await?, accepting.await?))
}

/// Makes a link over a stream that is already open, and waits until the peer has accepted this
/// end. Of the two ends one must be the opener and one the acceptor. The link ends with the stream.
///
/// The stream may have carried other bytes before, of a protocol that the two ends spoke until now.
/// Where some of what the peer has sent since is already in a buffer, hand in the stream with that
/// buffer: tokio's `BufReader` is a stream too.
///
/// Cancel-safe as [`connect`]; the stream goes with the future.
///
/// # Errors
///
/// As for [`connect`].
pub async fn link_over<S>(stream: S, role: Role, setup: &Setup) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    drive(Connecting::over(
        &timed(setup.clone()),
        role,
        Stream(stream),
    ))?
    .await
}
