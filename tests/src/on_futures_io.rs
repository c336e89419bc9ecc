//! The futures-io backend, on an executor that belongs to no runtime: async-executor, in threads of
//! our own, with the sockets of async-io.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Instant;

use async_executor::Executor;
use async_io::{Async, Timer};
use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};
use countersign_futures_io as backend;
use countersign_futures_io::{Accept, Runtime, Socket, Stream, TcpRuntime};

use crate::backend::{Backend, Link, Listener};
use crate::cancelling::on_sockets::AsyncBackend;

/// An executor.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Executor<'static>>);

/// With two threads.
static THREADS: LazyLock<Tasks> = LazyLock::new(|| {
    let tasks = Tasks::in_one_thread();
    for _ in 0..2 {
        let executor = tasks.0.clone();
        thread::spawn(move || async_io::block_on(executor.run(pending::<()>())));
    }
    tasks
});

impl Tasks {
    /// Runs beside the test's own thread.
    #[must_use]
    pub fn in_threads() -> Self {
        THREADS.clone()
    }

    /// Runs everything in the thread that blocks on it.
    #[must_use]
    pub fn in_one_thread() -> Self {
        Self(Arc::new(Executor::new()))
    }
}

/// As [`backend::start_connect`], with the executor that has two threads.
///
/// # Errors
///
/// As that function.
pub fn start_connect(address: SocketAddr, setup: &Setup) -> Result<driver::Connecting, LinkError> {
    backend::start_connect(&*THREADS, address, setup)
}

impl Runtime for Tasks {
    type Sleep = Timer;

    fn spawn(
        &self,
        _: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.0.spawn(task).detach();
        Ok(())
    }

    fn sleep_until(&self, deadline: Instant) -> Timer {
        Timer::at(deadline)
    }
}

impl TcpRuntime for Tasks {
    type TcpStream = Stream<Socket<Async<TcpStream>>>;
    type TcpListener = Listening;

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        let stream = Async::<TcpStream>::connect(address).await?;
        Ok(Stream(Socket(stream)))
    }

    fn listen_tcp(&self, socket: TcpListener) -> io::Result<Listening> {
        Async::new(socket).map(Listening)
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listening(Async<TcpListener>);

impl Accept for Listening {
    type Stream = Stream<Socket<Async<TcpStream>>>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream(Socket(stream)), Some(peer)))
    }
}

/// countersign-futures-io, on an executor with two threads.
#[derive(Debug)]
pub struct FuturesIo;

impl Backend for FuturesIo {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listening = backend::listen_with(&*THREADS, address, setup, limits);
        Box::new(async_io::block_on(listening).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let link = async_io::block_on(backend::connect(&*THREADS, address, setup))?;
        Ok(Box::new(link))
    }
}

impl AsyncBackend for Tasks {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        async_io::block_on(self.0.run(test))
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        backend::listen(self, address, setup).await
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        backend::connect(self, address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let dial = move || async move { Async::<TcpStream>::connect(address).await.map(Socket) };
        backend::connect_with(self, dial, setup).await
    }
    async fn link_over(
        &self,
        stream: TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let stream = Socket(Async::new(stream).unwrap());
        backend::link_over(self, stream, role, setup).await
    }
}
