//! async-std as a runtime of links.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::{UnixListener, UnixStream};
use async_std::task;
#[cfg(unix)]
use countersign_driver::UnixRuntime;
use countersign_driver::{Accept, Runtime, TcpRuntime};
use countersign_futures_io::{Socket, Stream};

/// async-std's executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsyncStd;

impl Runtime for AsyncStd {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        // Dropping the handle detaches the task.
        let task = task::Builder::new().name(name.to_owned()).spawn(task);
        task.map(drop)
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        let pause = deadline.saturating_duration_since(Instant::now());
        Box::pin(task::sleep(pause))
    }
}

impl TcpRuntime for AsyncStd {
    type TcpStream = Stream<Socket<TcpStream>>;
    type TcpListener = TcpListening;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = (host.as_str(), port).to_socket_addrs().await?;
        Ok(found.collect())
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        let stream = TcpStream::connect(address).await?;
        Ok(Stream(Socket(stream)))
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<TcpListening> {
        Ok(TcpListening(TcpListener::from(socket)))
    }
}

/// A listening TCP socket.
pub(crate) struct TcpListening(TcpListener);

impl Accept for TcpListening {
    type Stream = Stream<Socket<TcpStream>>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream(Socket(stream)), Some(peer)))
    }
}

#[cfg(unix)]
impl UnixRuntime for AsyncStd {
    type UnixStream = Stream<Socket<UnixStream>>;
    type UnixListener = UnixListening;

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::UnixStream> {
        let stream = UnixStream::connect(path).await?;
        Ok(Stream(Socket(stream)))
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<UnixListening> {
        Ok(UnixListening(UnixListener::from(socket)))
    }
}

/// A listening Unix socket.
#[cfg(unix)]
pub(crate) struct UnixListening(UnixListener);

#[cfg(unix)]
impl Accept for UnixListening {
    type Stream = Stream<Socket<UnixStream>>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, _) = self.0.accept().await?;
        Ok((Stream(Socket(stream)), None))
    }
}
