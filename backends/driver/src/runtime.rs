//! What links need from a runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_endpoint::Buffer;
use socket2::SockRef;

use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::transport::Transport;

/// What links need from a runtime: tasks and time.
///
/// With this alone, links run over streams that the application opens. [`TcpRuntime`] adds TCP
/// sockets, [`UnixRuntime`] Unix sockets. Links keep clones: make cloning cheap, or use an [`Arc`],
/// which is a runtime too.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The future that [`Runtime::sleep_until`] returns.
    type Sleep: Future + Send + 'static;

    /// Runs a task to completion, concurrently with all others and with the caller. `name` says
    /// what the task does, for runtimes whose tasks or threads have names.
    ///
    /// A task that is dropped before it is done ends its link as lost.
    ///
    /// # Errors
    ///
    /// The system cannot run the task, for example for lack of threads. The task is dropped.
    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()>;

    /// Sleeps until `deadline` or a little longer, never shorter.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// Returns the clock of [`Runtime::sleep_until`]: the machine's, unless the runtime has
    /// another, for example one that tests can pause.
    fn clock(&self) -> Clock {
        Clock::default()
    }
}

/// A runtime with TCP sockets.
pub trait TcpRuntime: Runtime {
    /// A connection.
    type TcpStream: StreamSocket;
    /// A listening socket.
    type TcpListener: Accept<Stream = Self::TcpStream>;

    /// Looks a name up: returns the addresses of a host, with this port, in the order in which the
    /// system prefers them.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Opens a connection to one address. Dropping the future cancels the attempt.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn connect_tcp(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send;

    /// Takes over a socket that is bound, listening and non-blocking.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<Self::TcpListener>;
}

/// A runtime with Unix sockets.
#[cfg(unix)]
pub trait UnixRuntime: Runtime {
    /// A connection.
    type UnixStream: StreamSocket;
    /// A listening socket.
    type UnixListener: Accept<Stream = Self::UnixStream>;

    /// Opens a connection to the socket at `path`.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn connect_unix(
        &self,
        path: &Path,
    ) -> impl Future<Output = io::Result<Self::UnixStream>> + Send;

    /// Takes over a socket that is bound, listening and non-blocking.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn listen_unix(
        &self,
        socket: std::os::unix::net::UnixListener,
    ) -> io::Result<Self::UnixListener>;
}

/// A connected socket of a runtime.
pub trait StreamSocket: Transport + Send + 'static {
    /// Returns the operating system's socket, for its options and addresses. Called before anything
    /// is read or written.
    fn socket(&self) -> SockRef<'_>;
}

/// A listening socket of a runtime.
pub trait Accept: Send + Sync + 'static {
    /// The connections that it accepts.
    type Stream: StreamSocket;

    /// Returns the next connection, and the peer's address if it has one. Dropping the future loses
    /// no pending connection.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn accept(&self)
    -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Closes the socket, where the system still holds it after it is dropped: the address can be
    /// bound again when the future is ready. Drops the socket by default.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn close(self) -> impl Future<Output = io::Result<()>> + Send
    where
        Self: Sized,
    {
        async { Ok(()) }
    }
}

impl<R: Runtime> Runtime for Arc<R> {
    type Sleep = R::Sleep;

    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        (**self).spawn(name, task)
    }

    fn sleep_until(&self, deadline: Instant) -> R::Sleep {
        (**self).sleep_until(deadline)
    }

    fn clock(&self) -> Clock {
        (**self).clock()
    }
}

impl<R: TcpRuntime> TcpRuntime for Arc<R> {
    type TcpStream = R::TcpStream;
    type TcpListener = R::TcpListener;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve(host, port).await
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<R::TcpStream> {
        (**self).connect_tcp(address).await
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<R::TcpListener> {
        (**self).listen_tcp(socket)
    }
}

#[cfg(unix)]
impl<R: UnixRuntime> UnixRuntime for Arc<R> {
    type UnixStream = R::UnixStream;
    type UnixListener = R::UnixListener;

    async fn connect_unix(&self, path: &Path) -> io::Result<R::UnixStream> {
        (**self).connect_unix(path).await
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<R::UnixListener> {
        (**self).listen_unix(socket)
    }
}

/// A socket that remembers its addresses after it is disconnected.
#[derive(Debug)]
pub(crate) struct Addressed<T> {
    transport: T,
    addresses: Addresses,
}

impl<T: StreamSocket> Addressed<T> {
    /// Queries the addresses of a connected socket.
    pub(crate) fn new(transport: T) -> Self {
        Self {
            addresses: Addresses::of(transport.socket()),
            transport,
        }
    }
}

impl<T: Transport> Transport for Addressed<T> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_read(context, buffer)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_write(context, buffer)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(context)
    }

    fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }
}
