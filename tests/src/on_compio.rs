//! The compio backend, in a thread that runs its runtime. Its handles are the shared driver's.

use std::io;
use std::net::SocketAddr;
use std::sync::{LazyLock, mpsc};
use std::thread;

use compio::driver::{DriverType, ProactorBuilder};
use compio::net::TcpStream;
use compio::runtime::{Runtime, spawn};
use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::backend::{Backend, Link, Listener};
use crate::cancelling::on_sockets::AsyncBackend;

/// Makes the future that the runtime's thread runs.
type Job = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// A thread with a runtime, until this is dropped.
pub(crate) struct RuntimeThread(UnboundedSender<Job>);

static THREAD: LazyLock<RuntimeThread> = LazyLock::new(RuntimeThread::start);

impl RuntimeThread {
    pub(crate) fn start() -> Self {
        let (jobs, mut orders) = unbounded_channel::<Job>();
        thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                while let Some(job) = orders.recv().await {
                    spawn(job()).detach();
                }
            });
        });
        Self(jobs)
    }

    /// Waits for a future that the runtime's thread makes and runs.
    pub(crate) fn run<T, F>(&self, job: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (answer, answered) = mpsc::channel();
        let job: Job = Box::new(move || {
            let work = job();
            Box::pin(async move {
                let _ = answer.send(work.await);
            })
        });
        self.0.send(job).ok().unwrap();
        answered.recv().unwrap()
    }
}

/// As [`countersign_compio::start_connect`], in the runtime's thread.
///
/// # Errors
///
/// As that function.
pub fn start_connect(address: SocketAddr, setup: &Setup) -> Result<driver::Connecting, LinkError> {
    let setup = setup.clone();
    THREAD.run(move || async move { countersign_compio::start_connect(address, &setup) })
}

/// countersign-compio, with the best that the system offers.
#[derive(Debug)]
pub struct Compio;

impl Backend for Compio {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listener = THREAD.run(move || countersign_compio::listen_with(address, setup, limits));
        Box::new(listener.unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let setup = setup.clone();
        let link = THREAD
            .run(move || async move { countersign_compio::connect(address, &setup).await })?;
        Ok(Box::new(link))
    }
}

/// The futures of countersign-compio.
#[derive(Debug)]
pub enum CompioFutures {
    /// With the best that the system offers, such as io_uring.
    Best,
    /// With sockets that are polled.
    #[cfg(unix)]
    Polling,
}

impl AsyncBackend for CompioFutures {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        let mut builder = ProactorBuilder::new();
        match self {
            Self::Best => {}
            #[cfg(unix)]
            Self::Polling => {
                builder.driver_type(DriverType::Poll);
            }
        }
        let runtime = Runtime::builder().with_proactor(builder).build();
        runtime.unwrap().block_on(test)
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        countersign_compio::listen(address, setup).await
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        countersign_compio::connect(address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        countersign_compio::connect_with(move || TcpStream::connect(address), setup).await
    }
    async fn link_over(
        &self,
        stream: std::net::TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let stream = TcpStream::from_std(stream).unwrap();
        countersign_compio::link_over(stream, role, setup).await
    }
}
