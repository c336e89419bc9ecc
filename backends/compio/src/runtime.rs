//! compio as a runtime of links.
//!
//! Its tasks stay in the thread of their runtime, so their contents need not be `Send`; links
//! require `Send`. So what is not `Send` is wrapped, and each use checks that it is in its thread.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use compio::net::{TcpListener, TcpStream, ToSocketAddrsAsync};
#[cfg(unix)]
use compio::net::{UnixListener, UnixStream};
use compio::time::sleep_until;
use compio_send_wrapper::SendWrapper;
#[cfg(unix)]
use countersign_driver::UnixRuntime;
use countersign_driver::{Accept, Runtime, TcpRuntime};

use crate::stream::{OwnThread, Stream};

/// The runtime of the calling thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compio;

impl Runtime for Compio {
    type Sleep = SendWrapper<Pin<Box<dyn Future<Output = ()>>>>;

    fn spawn(
        &self,
        _: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        compio::runtime::spawn(task).detach();
        Ok(())
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        SendWrapper::new(Box::pin(sleep_until(deadline)))
    }
}

impl TcpRuntime for Compio {
    type TcpStream = OwnThread<Stream<TcpStream>>;
    type TcpListener = TcpListening;

    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        SendWrapper::new(async move {
            let found = (host.as_str(), port).to_socket_addrs_async().await?;
            Ok(found.collect())
        })
    }

    fn connect_tcp(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send {
        let connecting = SendWrapper::new(TcpStream::connect(address));
        async move { connecting.await.map(Stream::in_thread) }
    }

    fn listen_tcp(&self, socket: std::net::TcpListener) -> io::Result<TcpListening> {
        // With io_uring, operations on a non-blocking socket do not wait. compio sets it back if
        // it polls.
        socket.set_nonblocking(false)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(TcpListening(OwnThread::new(socket)))
    }
}

/// A listening TCP socket.
pub(crate) struct TcpListening(OwnThread<TcpListener>);

impl Accept for TcpListening {
    type Stream = OwnThread<Stream<TcpStream>>;

    fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send {
        SendWrapper::new(async {
            let (stream, peer) = self.0.accept().await?;
            Ok((Stream::in_thread(stream), Some(peer)))
        })
    }

    fn close(self) -> impl Future<Output = io::Result<()>> + Send {
        SendWrapper::new(async move { self.0.into_inner().close().await })
    }
}

#[cfg(unix)]
impl UnixRuntime for Compio {
    type UnixStream = OwnThread<Stream<UnixStream>>;
    type UnixListener = UnixListening;

    fn connect_unix(
        &self,
        path: &Path,
    ) -> impl Future<Output = io::Result<Self::UnixStream>> + Send {
        let connecting = SendWrapper::new(UnixStream::connect(path));
        async move { connecting.await.map(Stream::in_thread) }
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<UnixListening> {
        // As for TCP.
        socket.set_nonblocking(false)?;
        let socket = UnixListener::from_std(socket)?;
        Ok(UnixListening(OwnThread::new(socket)))
    }
}

/// A listening Unix socket.
#[cfg(unix)]
pub(crate) struct UnixListening(OwnThread<UnixListener>);

#[cfg(unix)]
impl Accept for UnixListening {
    type Stream = OwnThread<Stream<UnixStream>>;

    fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send {
        SendWrapper::new(async {
            let (stream, _) = self.0.accept().await?;
            Ok((Stream::in_thread(stream), None))
        })
    }

    fn close(self) -> impl Future<Output = io::Result<()>> + Send {
        SendWrapper::new(async move { self.0.into_inner().close().await })
    }
}
