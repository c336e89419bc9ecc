//! The tokio backend. Its handles are the shared driver's.

use std::net::SocketAddr;
use std::sync::LazyLock;

use countersign_driver::{AcceptError, Limits, LinkError, Setup};
use tokio::runtime::{Builder, Runtime};

use crate::backend::{Backend, Link, Listener};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
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

impl Listener for countersign_tokio::Listener {
    fn address(&self) -> SocketAddr {
        self.local_addr()
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        Ok(Box::new(RUNTIME.block_on(self.accept())?))
    }

    fn close(self: Box<Self>) {
        RUNTIME.block_on((*self).close());
    }
}
