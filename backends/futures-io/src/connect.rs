//! Links that this end opens.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use countersign_core::Role;
use countersign_driver::{Connecting, Link, LinkError, Setup, memory};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use crate::runtime::{Runtime, Stream, alarm, start, timed};

/// Connects to a listening peer over TCP, and waits until it has accepted this end: for crates that
/// bring a runtime with TCP sockets of its own.
///
/// `lookup` makes a future of the peer's addresses, anew for each attempt; `connect` makes one of a
/// connection to one of them. Of several addresses the first that answers is taken, as by
/// [`open`](countersign_driver::open) (RFC 8305); where that does not lead to the peer, the others
/// have their turn ([`Connecting::reach`](countersign_driver::Connecting::reach)). Looking up,
/// connecting and the handshake may each take
/// [`Patience::handshake`](countersign_core::Patience::handshake). The sockets are set to
/// what links need.
///
/// A connection that can't be had, or is lost later, is tried again as
/// [`Reconnect`](countersign_core::Reconnect) says: for ever by default, so this waits for
/// a peer that is not there yet. What another attempt can't heal, a pin that does not match or
/// declarations that don't fit, ends it at once. The log tells of each kind of failure, and once a
/// minute of what is still waited for.
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub async fn connect<S, L, C>(
    runtime: &(impl Runtime + Clone),
    lookup: impl FnMut() -> L + Send + 'static,
    connect: impl FnMut(SocketAddr) -> C + Clone + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    L: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    C: Future<Output = io::Result<S>> + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    start_connect(runtime, lookup, connect, setup)?.await
}

/// Begins to connect as [`connect`] does, and gives what can be waited for, asked for its failures,
/// hastened and given up.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn start_connect<S, L, C>(
    runtime: &(impl Runtime + Clone),
    lookup: impl FnMut() -> L + Send + 'static,
    connect: impl FnMut(SocketAddr) -> C + Clone + Send + 'static,
    setup: &Setup,
) -> Result<Connecting, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    L: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    C: Future<Output = io::Result<S>> + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    let (setup, timers) = (timed(runtime, setup.clone()), runtime.clone());
    let timers = move || alarm(&timers);
    let made = Connecting::reach(setup, lookup, connect, timers, Stream);
    start(runtime, made)
}

/// Connects over streams that `dial` opens: one now, and another whenever the link is to connect
/// again. `dial` has to give up by itself when it takes too long.
///
/// Closing such a stream must end this end's direction, and leave the other to be read: put a
/// [`Socket`](crate::Socket) around one that only flushes.
///
/// # Errors
///
/// As for [`connect`].
pub async fn connect_with<S, F>(
    runtime: &(impl Runtime + Clone),
    dial: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    start_connect_with(runtime, dial, setup)?.await
}

/// Begins to connect as [`connect_with`] does, and gives what can be waited for, asked for its failures,
/// hastened and given up.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn start_connect_with<S, F>(
    runtime: &(impl Runtime + Clone),
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
    start(
        runtime,
        Connecting::dial(&timed(runtime, setup.clone()), open),
    )
}

/// Makes a link between two declarations in one process, over a connection in memory: for tests, and
/// for parts that may move apart some day.
///
/// # Errors
///
/// As for [`connect`].
pub async fn pair(
    runtime: &(impl Runtime + Clone),
    opener: &Setup,
    acceptor: &Setup,
) -> Result<(Link, Link), LinkError> {
    let (near, far) = memory();
    let opening = start(
        runtime,
        Connecting::over(&timed(runtime, opener.clone()), Role::Opener, near),
    )?;
    let accepting = start(
        runtime,
        Connecting::over(&timed(runtime, acceptor.clone()), Role::Acceptor, far),
    )?;
    Ok((opening.await?, accepting.await?))
}

/// Makes a link over a stream that is already open, and waits until the peer has accepted this
/// end. Of the two ends one must be the opener and one the acceptor. The link ends with the stream.
///
/// The stream may have carried other bytes before, of a protocol that the two ends spoke until now.
/// Where some of what the peer has sent since is already in a buffer, hand in the stream with that
/// buffer: a buffered reader which passes writing on is a stream too.
///
/// Closing the stream must end this end's direction, and leave the other to be read: put a
/// [`Socket`](crate::Socket) around one that only flushes.
///
/// # Errors
///
/// As for [`connect`].
pub async fn link_over<S>(
    runtime: &(impl Runtime + Clone),
    stream: S,
    role: Role,
    setup: &Setup,
) -> Result<Link, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = Connecting::over(&timed(runtime, setup.clone()), role, Stream(stream));
    start(runtime, made)?.await
}
