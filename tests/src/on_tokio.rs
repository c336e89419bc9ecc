//! The tokio backend. Its handles are the shared driver's.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::backend::{Backend, Link, Listener};
use crate::cancelling::on_sockets::AsyncBackend;

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
});

/// countersign-tokio, on a runtime with two threads.
#[derive(Debug)]
pub struct Tokio;

impl Backend for Tokio {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listening = countersign_tokio::listen_with(address, setup, limits);
        Box::new(RUNTIME.block_on(listening).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let link = RUNTIME.block_on(countersign_tokio::connect(address, setup))?;
        Ok(Box::new(link))
    }
}

/// The futures of countersign-tokio.
#[derive(Debug)]
pub enum TokioFutures {
    /// On a runtime with two threads, beside the test's own.
    Threads,
    /// With everything in the test's own thread.
    OneThread,
}

impl AsyncBackend for TokioFutures {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        match self {
            Self::Threads => RUNTIME.block_on(test),
            Self::OneThread => {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(test)
            }
        }
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        countersign_tokio::listen(address, setup).await
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        countersign_tokio::connect(address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        countersign_tokio::connect_with(move || TcpStream::connect(address), setup).await
    }
    async fn link_over(
        &self,
        stream: std::net::TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        countersign_tokio::link_over(stream, role, setup).await
    }
}
