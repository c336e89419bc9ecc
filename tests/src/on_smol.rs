//! The smol backend. Its handles are the shared driver's.

use std::io;
use std::net::SocketAddr;

use countersign_core::Role;
use countersign_driver as driver;
use countersign_driver::{Limits, LinkError, Setup};
use smol::net::TcpStream;

use crate::backend::{Backend, Link, Listener};
use crate::cancelling::on_sockets::AsyncBackend;

/// countersign-smol, on its global executor.
#[derive(Debug)]
pub struct Smol;

impl Backend for Smol {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listening = countersign_smol::listen_with(address, setup, limits);
        Box::new(self.block_on(listening).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let link = self.block_on(countersign_smol::connect(address, setup))?;
        Ok(Box::new(link))
    }
}

impl AsyncBackend for Smol {
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        smol::block_on(test)
    }
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<driver::Listener> {
        countersign_smol::listen(address, setup).await
    }
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<driver::Link, LinkError> {
        countersign_smol::connect(address, setup).await
    }
    async fn connect_with(
        &self,
        address: SocketAddr,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        countersign_smol::connect_with(move || TcpStream::connect(address), setup).await
    }
    async fn link_over(
        &self,
        stream: std::net::TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<driver::Link, LinkError> {
        let stream = TcpStream::try_from(stream).unwrap();
        countersign_smol::link_over(stream, role, setup).await
    }
}
