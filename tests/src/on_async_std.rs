//! The async-std backend. Its handles are the shared driver's.

use std::io;
use std::net::SocketAddr;

use async_std::net::TcpStream;
use countersign_async_std::Socket;
use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};

use crate::backend::{Backend, Link, Listener};
use crate::cancelling::on_sockets::AsyncBackend;

/// countersign-async-std, on its global executor.
#[derive(Debug)]
pub struct AsyncStd;

impl Backend for AsyncStd {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listening = countersign_async_std::listen_with(address, setup, limits);
        Box::new(self.block_on(listening).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let link = self.block_on(countersign_async_std::connect(address, setup))?;
        Ok(Box::new(link))
    }
}

impl AsyncBackend for AsyncStd {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        async_std::task::block_on(test)
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        countersign_async_std::listen(address, setup).await
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        countersign_async_std::connect(address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let dial = move || async move { TcpStream::connect(address).await.map(Socket) };
        countersign_async_std::connect_with(dial, setup).await
    }
    async fn link_over(
        &self,
        stream: std::net::TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let stream = Socket(TcpStream::from(stream));
        countersign_async_std::link_over(stream, role, setup).await
    }
}
