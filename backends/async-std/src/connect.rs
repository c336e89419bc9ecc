//! Links that this end opens.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;

use async_std::io::{Read, Write};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use countersign_core::Role;
use countersign_driver::{Address, AddressError, Connecting, Link, LinkError, Setup};
#[cfg(unix)]
use countersign_driver::{at, lasting};
use countersign_futures_io::{self as shared, Socket};

use crate::runtime::{AsyncStd, look_up, socket};

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
/// Cancel-safe: dropping the future gives the connection up.
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
    shared::start_connect(&AsyncStd, lookup, socket, setup)
}

/// Connects to a listening peer over a Unix socket, as [`connect`] does over TCP.
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
            connected
                .map(Socket)
                .map_err(|error| at(path.display(), &error))
        }
    };
    start_connect_with(dial, setup)
}

/// Connects over streams that `dial` opens: one now, and another whenever the link is to connect
/// again. `dial` has to give up by itself when it takes too long.
///
/// Closing such a stream must end this end's direction, and leave the other to be read.
/// async-std's own sockets
/// only flush when they are closed: put a [`Socket`] around them.
///
/// # Errors
///
/// As for [`connect`].
pub async fn connect_with<S, F>(
    dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: Read + Write + Unpin + Send + 'static,
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
    dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Connecting, LinkError>
where
    S: Read + Write + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    shared::start_connect_with(&AsyncStd, dial, setup)
}

/// Makes a link between two declarations in one process, over a connection in memory: for tests, and
/// for parts that may move apart some day.
///
/// # Errors
///
/// As for [`connect`].
pub async fn pair(opener: &Setup, acceptor: &Setup) -> Result<(Link, Link), LinkError> {
    shared::pair(&AsyncStd, opener, acceptor).await
}

/// Makes a link over a stream that is already open, and waits until the peer has accepted this
/// end. Of the two ends one must be the opener and one the acceptor. The link ends with the stream.
///
/// The stream may have carried other bytes before, of a protocol that the two ends spoke until now.
/// Where some of what the peer has sent since is already in a buffer, hand in the stream with that
/// buffer: a buffered reader which passes writing on is a stream too.
///
/// Closing the stream must end this end's direction, and leave the other to be read.
/// async-std's own sockets
/// only flush when they are closed: put a [`Socket`] around them.
///
/// # Errors
///
/// As for [`connect`].
pub async fn link_over<S>(stream: S, role: Role, setup: &Setup) -> Result<Link, LinkError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    shared::link_over(&AsyncStd, stream, role, setup).await
}
