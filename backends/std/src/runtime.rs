//! The runtime of links on threads.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

#[cfg(unix)]
use countersign_driver::UnixRuntime;
use countersign_driver::{Accept, READ, Runtime, StreamSocket, TcpRuntime, Transport};
use countersign_endpoint::Buffer;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
use socket2::SockRef;

use crate::event_loop::{EventLoop, Sleep, unwatch, watch};
use crate::lookup::Lookup;

/// A runtime with a thread for each task, and one that looks up the only name that it is used for.
#[derive(Clone, Default)]
pub(crate) struct Threads {
    lookup: Lookup,
}

impl Runtime for Threads {
    type Sleep = Sleep;

    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        EventLoop::new()?.spawn(name, task)
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(deadline)
    }
}

impl TcpRuntime for Threads {
    type TcpStream = Stream<TcpStream>;
    type TcpListener = Listening<TcpListener>;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookup.find((host, port)).await
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        let mut stream = Stream::new(TcpStream::connect(address)?);
        let socket = stream.0.watch()?;
        poll_fn(|_| is_connected(socket)).await?;
        Ok(stream)
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<Self::TcpListener> {
        Ok(Listening::new(TcpListener::from_std(socket)))
    }
}

/// Checks whether the system has finished connecting.
fn is_connected(socket: &TcpStream) -> Poll<io::Result<()>> {
    if let Some(error) = socket.take_error()? {
        return Poll::Ready(Err(error));
    }
    match socket.peer_addr() {
        Ok(_) => Poll::Ready(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

#[cfg(unix)]
impl UnixRuntime for Threads {
    type UnixStream = Stream<UnixStream>;
    type UnixListener = Listening<UnixListener>;

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::UnixStream> {
        UnixStream::connect(path).map(Stream::new)
    }

    fn listen_unix(
        &self,
        socket: std::os::unix::net::UnixListener,
    ) -> io::Result<Self::UnixListener> {
        Ok(Listening::new(UnixListener::from_std(socket)))
    }
}

/// A non-blocking listening socket. Only one thread accepts, so the lock is never contended.
pub(crate) struct Listening<L>(Mutex<Watched<L>>);

impl<L: Source> Listening<L> {
    fn new(socket: L) -> Self {
        Self(Mutex::new(Watched::new(socket)))
    }

    async fn accept<S>(&self, accept: impl Fn(&L) -> io::Result<S>) -> io::Result<S> {
        poll_fn(|_| {
            let mut listening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let socket = listening.watch()?;
            nonblocking(|| accept(socket))
        })
        .await
    }
}

impl Accept for Listening<TcpListener> {
    type Stream = Stream<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.accept(TcpListener::accept).await?;
        Ok((Stream::new(stream), Some(peer)))
    }
}

#[cfg(unix)]
impl Accept for Listening<UnixListener> {
    type Stream = Stream<UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, _) = self.accept(UnixListener::accept).await?;
        Ok((Stream::new(stream), None))
    }
}

/// A non-blocking stream socket.
#[derive(Debug)]
pub(crate) struct Stream<S>(Watched<S>);

impl<S: Source> Stream<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self(Watched::new(socket))
    }

    /// Returns the socket, after deregistering it from this thread's poller.
    pub(crate) fn into_socket(mut self) -> io::Result<S> {
        if self.0.is_watched {
            unwatch(&mut self.0.socket)?;
        }
        Ok(self.0.socket)
    }
}

impl<S> StreamSocket for Stream<S>
where
    S: Source + Read + Write + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0.socket)
    }
}

// The poller reports a socket whenever it becomes ready after it was found not to be, so `Pending`
// needs no further registration.
impl<S: Source + Read + Write> Transport for Stream<S>
where
    for<'s> SockRef<'s>: From<&'s S>,
{
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let socket = self.0.watch()?;
        buffer.fill(READ, |space| nonblocking(|| socket.read(space)))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let socket = self.0.watch()?;
        buffer.drain(|bytes| nonblocking(|| socket.write(bytes)))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.socket).shutdown(Shutdown::Write))
    }
}

/// A socket, and whether it is registered with the poller of the thread that uses it. That happens
/// at the first use, since the socket may have been made in another thread.
#[derive(Debug)]
struct Watched<S> {
    socket: S,
    is_watched: bool,
}

impl<S: Source> Watched<S> {
    fn new(socket: S) -> Self {
        let is_watched = false;
        Self { socket, is_watched }
    }

    fn watch(&mut self) -> io::Result<&mut S> {
        if !self.is_watched {
            watch(&mut self.socket)?;
            self.is_watched = true;
        }
        Ok(&mut self.socket)
    }
}

/// Repeats the call while it is interrupted; returns `Pending` if it would block.
fn nonblocking<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}
