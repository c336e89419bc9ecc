//! tokio as a runtime of links.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

#[cfg(unix)]
use countersign_driver::UnixRuntime;
use countersign_driver::{Accept, Clock, READ, Runtime, StreamSocket, TcpRuntime, Transport};
use countersign_endpoint::Buffer;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Sleep, sleep_until};

/// The runtime that the caller runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Sleep = Sleep;

    fn spawn(
        &self,
        _: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        tokio::spawn(task);
        Ok(())
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        sleep_until(deadline.into())
    }

    /// Returns tokio's clock, which tests can pause.
    fn clock(&self) -> Clock {
        Clock::following(|| tokio::time::Instant::now().into_std())
    }
}

impl TcpRuntime for Tokio {
    type TcpStream = Stream<TcpStream>;
    type TcpListener = TcpListening;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        TcpStream::connect(address).await.map(Stream)
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<TcpListening> {
        TcpListener::from_std(socket).map(TcpListening)
    }
}

/// A listening TCP socket.
pub(crate) struct TcpListening(TcpListener);

impl Accept for TcpListening {
    type Stream = Stream<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream(stream), Some(peer)))
    }
}

#[cfg(unix)]
impl UnixRuntime for Tokio {
    type UnixStream = Stream<UnixStream>;
    type UnixListener = UnixListening;

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::UnixStream> {
        UnixStream::connect(path).await.map(Stream)
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<UnixListening> {
        UnixListener::from_std(socket).map(UnixListening)
    }
}

/// A listening Unix socket.
#[cfg(unix)]
pub(crate) struct UnixListening(UnixListener);

#[cfg(unix)]
impl Accept for UnixListening {
    type Stream = Stream<UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, _) = self.0.accept().await?;
        Ok((Stream(stream), None))
    }
}

/// Any tokio stream as a transport.
#[derive(Debug)]
pub(crate) struct Stream<S>(pub(crate) S);

impl<S> Stream<S> {
    pub(crate) fn get_ref(&self) -> &S {
        &self.0
    }
}

impl<S> StreamSocket for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Stream<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            let mut space = ReadBuf::new(space);
            let result = Pin::new(&mut self.0).poll_read(context, &mut space);
            result.map_ok(|()| space.filled().len())
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| Pin::new(&mut self.0).poll_write(context, bytes))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
