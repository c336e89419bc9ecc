//! Links that peers open.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(unix)]
use countersign_driver::bind_unix;
use countersign_driver::{
    AcceptorTask, Address, AddressError, Addressed, Addresses, Limits, Listener, Setup, accept_any,
    bind, prepare_socket, serve,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpStream};

use crate::connect::look_up;
use crate::runtime::{Stream, alarm, timed};

/// Listens on a TCP address; port 0 lets the system choose one. Where a name has several addresses, it
/// listens on all of them, at the same port.
///
/// Cancel-safe: when the future is dropped, nobody listens.
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
/// Cancel-safe as [`listen`].
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
    let sockets = bind(&found)?.into_iter().map(TcpListener::from_std);
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let addresses = sockets.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    let (listener, task) = Listener::at(addresses, timed(setup.clone()), limits);
    let accept = accept_any(sockets.into_iter().map(|socket| {
        let socket = Arc::new(socket);
        move || {
            let socket = socket.clone();
            async move {
                let (stream, peer) = socket.accept().await?;
                Ok((stream, Some(peer)))
            }
        }
    }));
    let prepare = move |stream: &TcpStream| {
        prepare_socket(&SockRef::from(stream), setup.config())?;
        Ok(Addresses::of(stream))
    };
    start(task, accept, prepare);
    Ok(listener)
}

/// Listens on a Unix socket. Its file is removed with the listener; one that is left from a
/// process which is gone is replaced.
///
/// Cancel-safe as [`listen`].
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
    let socket = Arc::new((file, UnixListener::from_std(socket)?));
    let (listener, task) = Listener::new(path, timed(setup), limits);
    let accept = move || {
        let socket = socket.clone();
        async move { socket.1.accept().await.map(|(stream, _)| (stream, None)) }
    };
    start(task, accept, |stream| Ok(Addresses::of(stream)));
    Ok(listener)
}

/// Makes links of the streams that `accept` gives, each with the address of its peer if it has one:
/// for other transports than TCP and Unix sockets.
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
    let (listener, task) = Listener::new((), timed(setup), limits);
    start(task, accept, |_| Ok(Addresses::default()));
    listener
}

/// Starts the task that accepts connections, and one for each of them.
fn start<S, F>(
    task: AcceptorTask,
    accept: impl FnMut() -> F + Send + 'static,
    prepare: impl Fn(&S) -> io::Result<Addresses> + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    let welcome = move |stream, pending: countersign_driver::PendingConnection| {
        match prepare(&stream) {
            Ok(addresses) => {
                let transport = Addressed::new(Stream(stream), addresses);
                tokio::spawn(pending.serve(transport)?.run(alarm()));
            }
            Err(error) => pending.refuse(error),
        }
        Ok(())
    };
    tokio::spawn(serve(task, accept, welcome, alarm));
}
