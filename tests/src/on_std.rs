//! The std backend, with its own blocking handles.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_driver::{AcceptError, Drained, Limits, LinkError, Setup};

use crate::backend::{Backend, Link, Listener};

/// countersign-std: a thread for each link.
#[derive(Debug)]
pub struct Std;

impl Backend for Std {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        Box::new(countersign_std::listen_with(address, setup, limits).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        Ok(Box::new(countersign_std::connect(address, setup)?))
    }
}

impl Listener for countersign_std::Listener {
    fn address(&self) -> SocketAddr {
        self.local_addr()
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        Ok(Box::new(self.accept()?))
    }

    fn close(self: Box<Self>) {
        drop(self);
    }

    fn drain(&self, limit: Duration) -> Drained {
        self.drain(limit)
    }
}
