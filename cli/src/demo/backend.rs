//! What the demo needs from a backend: blocking calls, whatever the links run on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use countersign as tokio_links;
use countersign::blocking as threads;
use countersign::{
    AcceptError, ChannelError, CloseMode, LinkError, LinkEvent, Outgoing, Received, RecvError,
    Report, SendError, Setup, Verdict,
};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;

/// Where the robot listens: this machine, any free port.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A backend that links run on. Each method calls the backend's method of that name.
pub(super) trait Backend: Sync {
    type Listener: Sync;
    type Link: Sync;
    type Sender: Send;
    type Receiver: Send;
    type Receipt: Send;
    type Lease: Sync;

    fn listen(&self, setup: Setup) -> io::Result<Self::Listener>;
    fn address(&self, listener: &Self::Listener) -> SocketAddr;
    fn accept(&self, listener: &Self::Listener) -> Result<Self::Link, AcceptError>;
    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Self::Link, LinkError>;
    fn sender(&self, link: &Self::Link, channel: &str) -> Result<Self::Sender, ChannelError>;
    fn receiver(&self, link: &Self::Link, channel: &str) -> Result<Self::Receiver, ChannelError>;
    fn send(&self, sender: &Self::Sender, message: Outgoing) -> Result<Self::Receipt, SendError>;
    fn wait(&self, receipt: Self::Receipt) -> Verdict;
    fn recv(&self, receiver: &mut Self::Receiver) -> Result<Option<Received>, RecvError>;
    fn lease(&self, link: &Self::Link, channel: &str) -> Result<Self::Lease, ChannelError>;
    fn held(&self, lease: &Self::Lease) -> bool;
    fn lapsed(&self, lease: &Self::Lease);
    fn close(&self, link: &Self::Link) -> Report;
    fn ended(&self, link: &Self::Link) -> Report;
    fn report(&self, link: &Self::Link) -> Report;
    fn event(&self, link: &Self::Link) -> Option<LinkEvent>;
}

/// Threads and blocking sockets.
pub(super) struct Std;

impl Backend for Std {
    type Listener = threads::Listener;
    type Link = threads::Link;
    type Sender = threads::Sender;
    type Receiver = threads::Receiver;
    type Receipt = threads::Receipt;
    type Lease = threads::Lease;

    fn listen(&self, setup: Setup) -> io::Result<Self::Listener> {
        threads::listen(ADDRESS, setup)
    }

    fn address(&self, listener: &Self::Listener) -> SocketAddr {
        listener.local_addr()
    }

    fn accept(&self, listener: &Self::Listener) -> Result<Self::Link, AcceptError> {
        listener.accept()
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Self::Link, LinkError> {
        threads::connect(address, setup)
    }

    fn sender(&self, link: &Self::Link, channel: &str) -> Result<Self::Sender, ChannelError> {
        link.sender(channel)
    }

    fn receiver(&self, link: &Self::Link, channel: &str) -> Result<Self::Receiver, ChannelError> {
        link.receiver(channel)
    }

    fn send(&self, sender: &Self::Sender, message: Outgoing) -> Result<Self::Receipt, SendError> {
        sender.send(message)
    }

    fn wait(&self, receipt: Self::Receipt) -> Verdict {
        receipt.wait()
    }

    fn recv(&self, receiver: &mut Self::Receiver) -> Result<Option<Received>, RecvError> {
        receiver.recv_message()
    }

    fn lease(&self, link: &Self::Link, channel: &str) -> Result<Self::Lease, ChannelError> {
        link.lease(channel)
    }

    fn held(&self, lease: &Self::Lease) -> bool {
        lease.held()
    }

    fn lapsed(&self, lease: &Self::Lease) {
        lease.lapsed();
    }

    fn close(&self, link: &Self::Link) -> Report {
        link.close(CloseMode::Drain)
    }

    fn ended(&self, link: &Self::Link) -> Report {
        link.ended()
    }

    fn report(&self, link: &Self::Link) -> Report {
        link.report()
    }

    fn event(&self, link: &Self::Link) -> Option<LinkEvent> {
        link.event()
    }
}

/// A tokio runtime for the connections; its callers wait in threads.
pub(super) struct Tokio(Runtime);

impl Tokio {
    pub(super) fn start() -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Ok(Self(runtime)),
            Err(error) => Err(Failure::failed("the system gives no threads").because(error)),
        }
    }
}

impl Backend for Tokio {
    type Listener = tokio_links::Listener;
    type Link = tokio_links::Link;
    type Sender = tokio_links::Sender;
    type Receiver = tokio_links::Receiver;
    type Receipt = tokio_links::Receipt;
    type Lease = tokio_links::Lease;

    fn listen(&self, setup: Setup) -> io::Result<Self::Listener> {
        self.0.block_on(tokio_links::listen(ADDRESS, setup))
    }

    fn address(&self, listener: &Self::Listener) -> SocketAddr {
        listener.local_addr()
    }

    fn accept(&self, listener: &Self::Listener) -> Result<Self::Link, AcceptError> {
        self.0.block_on(listener.accept())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Self::Link, LinkError> {
        self.0.block_on(tokio_links::connect(address, setup))
    }

    fn sender(&self, link: &Self::Link, channel: &str) -> Result<Self::Sender, ChannelError> {
        link.sender(channel)
    }

    fn receiver(&self, link: &Self::Link, channel: &str) -> Result<Self::Receiver, ChannelError> {
        link.receiver(channel)
    }

    fn send(&self, sender: &Self::Sender, message: Outgoing) -> Result<Self::Receipt, SendError> {
        self.0.block_on(sender.send(message))
    }

    fn wait(&self, receipt: Self::Receipt) -> Verdict {
        self.0.block_on(receipt)
    }

    fn recv(&self, receiver: &mut Self::Receiver) -> Result<Option<Received>, RecvError> {
        self.0.block_on(receiver.recv_message())
    }

    fn lease(&self, link: &Self::Link, channel: &str) -> Result<Self::Lease, ChannelError> {
        link.lease(channel)
    }

    fn held(&self, lease: &Self::Lease) -> bool {
        self.0.block_on(lease.held())
    }

    fn lapsed(&self, lease: &Self::Lease) {
        self.0.block_on(lease.lapsed());
    }

    fn close(&self, link: &Self::Link) -> Report {
        self.0.block_on(link.close(CloseMode::Drain))
    }

    fn ended(&self, link: &Self::Link) -> Report {
        self.0.block_on(link.ended())
    }

    fn report(&self, link: &Self::Link) -> Report {
        link.report()
    }

    fn event(&self, link: &Self::Link) -> Option<LinkEvent> {
        self.0.block_on(link.event())
    }
}
