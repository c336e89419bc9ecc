//! The futures-io backend, on an executor that belongs to no runtime: async-executor, in threads of
//! our own, with the sockets of async-io.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Instant;

use async_executor::Executor;
use async_io::{Async, Timer};
use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};
use countersign_futures_io as backend;
use countersign_futures_io::{Runtime, Socket, Task};

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

    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> driver::Listener {
        let socket = Async::<TcpListener>::bind(address).unwrap();
        let address = socket.get_ref().local_addr().unwrap();
        let socket = Arc::new(socket);
        let accept = move || {
            let socket = socket.clone();
            async move {
                let (stream, peer) = socket.accept().await?;
                Ok((Socket(stream), Some(peer)))
            }
        };
        backend::listen(self, vec![address], accept, setup, limits)
    }

    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        let lookup = move || async move { Ok(vec![address]) };
        backend::connect(self, lookup, connect, setup).await
    }
}

/// As [`backend::start_connect`], with the executor that has two threads.
///
/// # Errors
///
/// Its own.
pub fn start_connect(address: SocketAddr, setup: &Setup) -> Result<driver::Connecting, LinkError> {
    let lookup = move || async move { Ok(vec![address]) };
    backend::start_connect(&*THREADS, lookup, connect, setup)
}

/// Opens a TCP connection.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<Socket<Async<TcpStream>>> {
    Async::<TcpStream>::connect(address).await.map(Socket)
}

impl Runtime for Tasks {
    fn spawn(&self, task: Task) {
        self.0.spawn(task).detach();
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(async move {
            Timer::at(deadline).await;
        })
    }
}

/// countersign-futures-io, on an executor with two threads.
#[derive(Debug)]
pub struct FuturesIo;

impl Backend for FuturesIo {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        Box::new(THREADS.listen(address, setup, limits))
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let link = async_io::block_on(THREADS.connect(address, setup))?;
        Ok(Box::new(link))
    }
}

impl AsyncBackend for Tasks {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        async_io::block_on(self.0.run(test))
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        Ok(self.listen(address, setup, Limits::default()))
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        self.connect(address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        backend::connect_with(self, move || connect(address), setup).await
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
