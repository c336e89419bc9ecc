//! Listens for links that peers open.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;

use countersign_core::Limits;

use crate::accept_queue::AcceptorTask;
use crate::address::{Address, AddressError};
use crate::bind::{accept_any, bind};
use crate::listener::Listener;
use crate::pending::PendingConnection;
use crate::runtime::Addressed;
#[cfg(unix)]
use crate::runtime::UnixRuntime;
use crate::runtime::{Accept, Runtime, StreamSocket, TcpRuntime};
use crate::serve::serve;
use crate::setup::Setup;
use crate::sleep_timer::SleepTimer;
use crate::socket::prepare_socket;
use crate::transport::Transport;
#[cfg(unix)]
use crate::unix::{UnixPath, bind_unix};

/// Listens on all TCP addresses of a name.
///
/// # Errors
///
/// The operating system's error; [`InvalidInput`](io::ErrorKind::InvalidInput) for an invalid
/// address.
pub async fn listen<R: TcpRuntime>(
    runtime: &R,
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener> {
    let address = Address::of(address)?;
    let lookup = address.resolve(|host, port| runtime.resolve(host, port));
    let bound = bind(&lookup.await?)?;
    let addresses = bound.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    let sockets = bound.into_iter().map(|socket| runtime.listen_tcp(socket));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let setup = setup.timed_by(runtime.clock());
    let (listener, task) = Listener::at(addresses, setup.clone(), limits);
    let prepare = move |stream: R::TcpStream| {
        prepare_socket(&stream.socket(), setup.config())?;
        Ok(Addressed::new(stream))
    };
    accept_from(runtime, task, sockets, prepare)?;
    Ok(listener)
}

/// Listens on a Unix socket. Its file is removed with the listener.
///
/// # Errors
///
/// The operating system's error.
#[cfg(unix)]
pub fn listen_unix<R: UnixRuntime>(
    runtime: &R,
    path: impl Into<PathBuf>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener<PathBuf>> {
    let (socket, file) = bind_unix(&path.into())?;
    let path = file.path().to_owned();
    let socket = OnFile {
        file,
        socket: runtime.listen_unix(socket)?,
    };
    let (listener, task) = Listener::new(path, setup.timed_by(runtime.clock()), limits);
    let prepare = |stream| Ok(Addressed::new(stream));
    accept_from(runtime, task, vec![socket], prepare)?;
    Ok(listener)
}

/// Makes links of the transports that `accept` returns, each with the address of its peer if it has
/// one. After an error of `accept` the listener pauses, for up to a second as errors repeat.
///
/// If the runtime cannot spawn the task for this, the listener is closed from the start, and the
/// log says why.
#[must_use]
pub fn listen_over<R, T, F>(
    runtime: &R,
    accept: impl FnMut() -> F + Send + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener<()>
where
    R: Runtime,
    T: Transport + Send + 'static,
    F: Future<Output = io::Result<(T, Option<SocketAddr>)>> + Send + 'static,
{
    let (listener, task) = Listener::new((), setup.timed_by(runtime.clock()), limits);
    let close = async {};
    if let Err(error) = start_acceptor(runtime, task, accept, Ok, close) {
        tracing::error!(%error, "nothing accepts the connections of a listener");
    }
    listener
}

/// A Unix socket and its file.
#[cfg(unix)]
struct OnFile<L> {
    /// Declared before the socket, so that it is dropped first.
    file: UnixPath,
    socket: L,
}

#[cfg(unix)]
impl<L: Accept> Accept for OnFile<L> {
    type Stream = L::Stream;

    async fn accept(&self) -> io::Result<(L::Stream, Option<SocketAddr>)> {
        self.socket.accept().await
    }

    async fn close(self) -> io::Result<()> {
        drop(self.file);
        self.socket.close().await
    }
}

/// Starts the task that accepts from these sockets and closes them at the end.
fn accept_from<R: Runtime, L: Accept, T: Transport + Send + 'static>(
    runtime: &R,
    task: AcceptorTask,
    sockets: Vec<L>,
    prepare: impl Fn(L::Stream) -> io::Result<T> + Send + 'static,
) -> io::Result<()> {
    let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
    let accept = accept_any(sockets.clone().into_iter().map(|socket| {
        move || {
            let socket = socket.clone();
            async move { socket.accept().await }
        }
    }));
    let close = async {
        // By now no other task holds them.
        for socket in sockets.into_iter().filter_map(Arc::into_inner) {
            if let Err(error) = socket.close().await {
                tracing::debug!(%error, "a listening socket could not be closed");
            }
        }
    };
    start_acceptor(runtime, task, accept, prepare, close)
}

/// Starts the acceptor task, which starts a task for each connection that it accepts.
///
/// On a completion-based system the kernel holds a listening socket a little longer than the
/// pending accept lives: the address can be bound again only after `close`.
fn start_acceptor<R, S, T, F>(
    runtime: &R,
    task: AcceptorTask,
    accept: impl FnMut() -> F + Send + 'static,
    prepare: impl Fn(S) -> io::Result<T> + Send + 'static,
    close: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    R: Runtime,
    S: Send + 'static,
    T: Transport + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    let tasks = runtime.clone();
    let start = move |stream, pending: PendingConnection| match prepare(stream) {
        Ok(transport) => {
            let pending = pending.serve(transport)?;
            tasks.spawn("countersign-link", pending.run(SleepTimer::new(&tasks)))
        }
        Err(error) => {
            pending.refuse(error);
            Ok(())
        }
    };
    let timers = runtime.clone();
    let accepting = async move {
        let task = serve(task, accept, start, || SleepTimer::new(&timers)).await;
        close.await;
        drop(task);
    };
    runtime.spawn("countersign-listener", accepting)
}
