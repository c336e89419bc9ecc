//! Links that peers open.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
#[cfg(unix)]
use std::sync::Arc;

#[cfg(unix)]
use countersign_driver::bind_unix;
use countersign_driver::{Address, AddressError, Limits, Listener, Setup, accept_any, bind};
use countersign_futures_io as shared;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpListener;
#[cfg(unix)]
use smol::net::unix::UnixListener;

use crate::connect::look_up;
use crate::runtime::Smol;

/// Listens on a TCP address; port 0 lets the system choose one. Where a name has several addresses, it
/// listens on all of them, at the same port.
///
/// # Errors
///
/// What the operating system says, that the address is in use, say; of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput), with an [`AddressError`] inside, for what is none.
pub async fn listen(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
) -> io::Result<Listener> {
    listen_with(address, setup, Limits::default()).await
}

/// Listens with other limits than the default ones.
///
/// # Errors
///
/// As for [`listen`].
pub async fn listen_with(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener> {
    let found = look_up(Address::of(address)?).await?;
    let sockets = bind(&found)?.into_iter().map(TcpListener::try_from);
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let addresses = sockets.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    let accept = accept_any(sockets.into_iter().map(|socket| {
        move || {
            let socket = socket.clone();
            async move {
                let (stream, peer) = socket.accept().await?;
                Ok((stream, Some(peer)))
            }
        }
    }));
    Ok(shared::listen(&Smol, addresses, accept, setup, limits))
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
    let (socket, file) = bind_unix(&path.into())?;
    let path = file.path().to_owned();
    let socket = Arc::new((file, UnixListener::try_from(socket)?));
    let accept = move || {
        let socket = socket.clone();
        async move {
            let (stream, _) = socket.1.accept().await?;
            Ok((stream, None))
        }
    };
    Ok(shared::listen_at(&Smol, path, accept, setup, limits))
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
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    shared::listen_over(&Smol, accept, setup, limits)
}
