//! Links that peers open.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

use compio::io::util::Splittable;
use compio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use compio::net::UnixListener;
use compio::net::{TcpListener, TcpStream};
use compio::runtime::spawn;
#[cfg(unix)]
use countersign_driver::bind_unix;
use countersign_driver::{
    AcceptorTask, Address, AddressError, Addressed, Addresses, Limits, Listener, PendingConnection,
    Setup, accept_any, bind, prepare_socket, serve,
};
use socket2::SockRef;

use crate::connect::look_up;
use crate::runtime::alarm;
use crate::stream::Stream;

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
    let mut sockets = Vec::new();
    for socket in bind(&found)? {
        // io_uring waits for nothing on a socket that does not block. compio sets it back where it
        // polls.
        socket.set_nonblocking(false)?;
        sockets.push(TcpListener::from_std(socket)?);
    }
    let addresses = sockets.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    let (listener, task) = Listener::at(addresses, setup.clone(), limits);
    let prepare = move |stream: &TcpStream| {
        prepare_socket(&SockRef::from(stream), setup.config())?;
        Ok(Addresses::of(stream))
    };
    let accept = accept_any(sockets.clone().into_iter().map(|socket| {
        move || {
            let socket = socket.clone();
            async move {
                let (stream, peer) = socket.accept().await?;
                Ok((stream, Some(peer)))
            }
        }
    }));
    let close = async {
        for socket in sockets {
            socket.close().await?;
        }
        Ok(())
    };
    start(task, accept, prepare, close);
    Ok(listener)
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
    // io_uring waits for nothing on a socket that does not block. compio sets it back where it
    // polls.
    socket.set_nonblocking(false)?;
    let socket = UnixListener::from_std(socket)?;
    let (listener, task) = Listener::new(path, setup, limits);
    let accepting = socket.clone();
    let accept = move || {
        let socket = accepting.clone();
        async move { socket.accept().await.map(|(stream, _)| (stream, None)) }
    };
    let close = async {
        drop(file);
        socket.close().await
    };
    start(task, accept, |stream| Ok(Addresses::of(stream)), close);
    Ok(listener)
}

/// Makes links of the streams that `accept` gives, each with the address of its peer if it has one:
/// for other transports than TCP and Unix sockets.
///
/// An error of `accept` is followed by a pause, which grows to a second.
#[must_use]
pub fn listen_over<S, F>(
    accept: impl FnMut() -> F + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener<()>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + 'static,
{
    let (listener, task) = Listener::new((), setup, limits);
    let prepare = |_: &S| Ok(Addresses::default());
    start(task, accept, prepare, async { Ok(()) });
    listener
}

/// Starts the task that accepts connections, and one for each of them.
///
/// The operating system has the socket for as long as it accepts, which is a little longer than
/// somebody waits for that: only after `close` can the address be bound again.
fn start<S, F>(
    task: AcceptorTask,
    accept: impl FnMut() -> F + 'static,
    prepare: impl Fn(&S) -> io::Result<Addresses> + 'static,
    close: impl Future<Output = io::Result<()>> + 'static,
) where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + 'static,
{
    let welcome = move |stream, pending: PendingConnection| {
        match prepare(&stream) {
            Ok(addresses) => {
                let served = pending.serve(Addressed::new(Stream::new(stream), addresses))?;
                spawn(served.run(alarm())).detach();
            }
            Err(error) => pending.refuse(error),
        }
        Ok(())
    };
    let serving = async {
        let task = serve(task, accept, welcome, alarm).await;
        if let Err(error) = close.await {
            tracing::debug!(%error, "a listener could not be closed");
        }
        drop(task);
    };
    spawn(serving).detach();
}
