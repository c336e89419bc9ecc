//! smol as a runtime of links.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Instant;

#[cfg(unix)]
use countersign_driver::UnixRuntime;
use countersign_driver::{Accept, Runtime, TcpRuntime};
use countersign_futures_io::Stream;
use smol::Timer;
#[cfg(unix)]
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream, resolve};

/// smol's global executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smol;

impl Runtime for Smol {
    type Sleep = Timer;

    fn spawn(
        &self,
        _: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        smol::spawn(task).detach();
        Ok(())
    }

    fn sleep_until(&self, deadline: Instant) -> Timer {
        Timer::at(deadline)
    }
}

impl TcpRuntime for Smol {
    type TcpStream = Stream<TcpStream>;
    type TcpListener = TcpListening;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve((host, port)).await
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        TcpStream::connect(address).await.map(Stream)
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<TcpListening> {
        TcpListener::try_from(socket).map(TcpListening)
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
impl UnixRuntime for Smol {
    type UnixStream = Stream<UnixStream>;
    type UnixListener = UnixListening;

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::UnixStream> {
        UnixStream::connect(path).await.map(Stream)
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<UnixListening> {
        UnixListener::try_from(socket).map(UnixListening)
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
