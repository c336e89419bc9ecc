//! What links need of a runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use socket2::SockRef;

use crate::clock::Clock;
use crate::driver::Transport;

/// What links need of a runtime: tasks, and time.
///
/// With this alone, links run over streams that the application opens. [`TcpRuntime`] adds TCP
/// sockets, [`UnixRuntime`] Unix sockets. Links keep clones: make it cheap, or put it into an
/// [`Arc`], which is a runtime too.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Sleeps until some moment: what [`Runtime::sleep_until`] gives.
    type Sleep: Future + Send + 'static;

    /// Runs a task until it is done, beside all others and beside the caller. `name` says what the
    /// task does, for runtimes whose tasks or threads have names.
    ///
    /// A task that is dropped before it is done ends its link as lost.
    ///
    /// # Errors
    ///
    /// The system has nothing to run it with: no thread, say. The task is dropped.
    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()>;

    /// Sleeps until `deadline` or a little longer, and not shorter.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// The clock that [`Runtime::sleep_until`] goes by: the machine's, unless the runtime has its
    /// own, which tests can pause, say.
    fn clock(&self) -> Clock {
        Clock::default()
    }
}

/// A runtime with TCP sockets.
pub trait TcpRuntime: Runtime {
    /// A connection.
    type TcpStream: StreamSocket;
    /// A socket that listens.
    type TcpListener: Accept<Stream = Self::TcpStream>;

    /// Looks a name up: gives the addresses of a host, with this port, in the order in which the
    /// system prefers them.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Opens a connection to one address. Dropping the future gives it up.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn connect_tcp(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send;

    /// Takes over a socket that is bound and listens, and does not block.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<Self::TcpListener>;
}

/// A runtime with Unix sockets.
#[cfg(unix)]
pub trait UnixRuntime: Runtime {
    /// A connection.
    type UnixStream: StreamSocket;
    /// A socket that listens.
    type UnixListener: Accept<Stream = Self::UnixStream>;

    /// Opens a connection to the socket at `path`.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn connect_unix(
        &self,
        path: &Path,
    ) -> impl Future<Output = io::Result<Self::UnixStream>> + Send;

    /// Takes over a socket that is bound and listens, and does not block.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn listen_unix(
        &self,
        socket: std::os::unix::net::UnixListener,
    ) -> io::Result<Self::UnixListener>;
}

/// A connected socket of a runtime.
pub trait StreamSocket: Transport + Send + 'static {
    /// The system's socket, for its options and addresses. Asked for before anything is read or
    /// written.
    fn socket(&self) -> SockRef<'_>;
}

/// A listening socket of a runtime.
pub trait Accept: Send + Sync + 'static {
    /// What it accepts.
    type Stream: StreamSocket;

    /// The next connection, and where it comes from if that has an address. Dropping the future
    /// loses no connection that waits.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn accept(&self)
    -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Closes the socket, where the system is not done with it as soon as it is dropped: the
    /// address can be bound again when the future is ready. Drops it by default.
    ///
    /// # Errors
    ///
    /// What the system says.
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
