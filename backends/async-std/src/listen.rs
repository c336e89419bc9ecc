//! Links that peers open.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;

use async_std::io::{Read, Write};
use async_std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixListener;
#[cfg(unix)]
use countersign_driver::bind_unix;
use countersign_driver::{Limits, Listener, Setup};
use countersign_futures_io::{self as shared, Socket};

use crate::runtime::AsyncStd;

/// Listens on a TCP address; port 0 lets the system choose one.
///
/// # Errors
///
/// What the operating system says, that the address is in use, say.
pub async fn listen(address: impl ToSocketAddrs, setup: Setup) -> io::Result<Listener> {
    listen_with(address, setup, Limits::default()).await
}

/// Listens with other limits than the default ones.
///
/// # Errors
///
/// As for [`listen`].
pub async fn listen_with(
    address: impl ToSocketAddrs,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener> {
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    let socket = Arc::new(socket);
    let accept = move || {
        let socket = socket.clone();
        async move {
            let (stream, peer) = socket.accept().await?;
            Ok((Socket(stream), Some(peer)))
        }
    };
    Ok(shared::listen(&AsyncStd, address, accept, setup, limits))
}

/// Listens on a Unix socket. Its file is removed with the listener; one that is left from a
/// process which is gone is replaced.
///
/// # Errors
///
/// What the operating system says, that somebody listens there already, say.
#[cfg(unix)]
pub async fn listen_unix(
    path: impl Into<PathBuf>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener<PathBuf>> {
    let path = path.into();
    let (socket, file) = bind_unix(&path)?;
    let socket = Arc::new((file, UnixListener::from(socket)));
    let accept = move || {
        let socket = socket.clone();
        async move {
            let (stream, _) = socket.1.accept().await?;
            Ok((Socket(stream), None))
        }
    };
    Ok(shared::listen_at(&AsyncStd, path, accept, setup, limits))
}

/// Makes links of the streams that `accept` gives, each with the address of its peer if it has one:
/// for other transports than TCP and Unix sockets. What is said of the stream at
/// [`link_over`](crate::link_over) applies.
///
/// An error of `accept` is followed by a pause, which grows to a second.
#[must_use]
pub fn listen_over<S, F>(
    accept: impl FnMut() -> F + Send + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener<()>
where
    S: Read + Write + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    shared::listen_over(&AsyncStd, accept, setup, limits)
}
