//! The std backend, with blocking handles of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;

use countersign_core::{Bytes, CloseMode, Sequence, Verdict, VerdictCounts};
use countersign_driver::{
    AcceptError, ChannelError, Limits, LinkError, LinkEvent, Outgoing, Report, SendError, Setup,
};
use countersign_endpoint::Fingerprint;
use countersign_std as std_backend;

use crate::backend::{
    Backend, BatchReceipt, Delivery, Link, Listener, ManualReceiver, Receipt, Receiver, Sender,
};
use crate::handles::boxed;

/// countersign-std: a thread for each link.
#[derive(Debug)]
pub struct Std;

impl Backend for Std {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        Box::new(std_backend::listen_with(address, setup, limits).unwrap())
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        Ok(Box::new(std_backend::connect(address, setup)?))
    }
}

impl Listener for std_backend::Listener {
    fn address(&self) -> SocketAddr {
        self.local_addr()
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        Ok(Box::new(self.accept()?))
    }

    fn close(self: Box<Self>) {
        drop(self);
    }
}

impl Link for std_backend::Link {
    fn sender(&self, name: &str) -> Result<Box<dyn Sender>, ChannelError> {
        Ok(Box::new(self.sender(name)?))
    }
    fn receiver(&self, name: &str) -> Result<Box<dyn Receiver>, ChannelError> {
        Ok(Box::new(self.receiver(name)?))
    }
    fn manual_receiver(&self, name: &str) -> Result<Box<dyn ManualReceiver>, ChannelError> {
        Ok(Box::new(self.manual_receiver(name)?))
    }
    fn peer(&self) -> Option<Fingerprint> {
        self.peer()
    }
    fn report(&self) -> Report {
        self.report()
    }
    fn end_reason(&self) -> Option<LinkError> {
        self.end_reason()
    }
    fn event(&self) -> Option<LinkEvent> {
        self.event()
    }
    fn ended(&self) -> Report {
        self.ended()
    }
    fn close(&self, mode: CloseMode) -> Report {
        self.close(mode)
    }
    fn start_close(&self, mode: CloseMode) {
        self.start_close(mode);
    }
}

impl Sender for std_backend::Sender {
    fn send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
        Ok(Box::new(self.send(message)?))
    }
    fn try_send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
        Ok(Box::new(self.try_send(message)?))
    }
    fn send_batch(
        &self,
        messages: &mut VecDeque<Bytes>,
    ) -> Result<Box<dyn BatchReceipt>, SendError> {
        Ok(Box::new(self.send_batch(messages)?))
    }
    fn max_message(&self) -> usize {
        self.max_message()
    }
    fn another(&self) -> Box<dyn Sender> {
        Box::new(self.clone())
    }
}

impl Receiver for std_backend::Receiver {
    fn recv(&mut self) -> Result<Option<Bytes>, LinkError> {
        self.recv()
    }
    fn recv_batch(&mut self, messages: &mut Vec<Bytes>, limit: usize) -> Result<usize, LinkError> {
        self.recv_batch(messages, limit)
    }
    fn try_recv(&mut self) -> Result<Option<Bytes>, LinkError> {
        self.try_recv()
    }
}

impl ManualReceiver for std_backend::ManualReceiver {
    fn recv(&mut self) -> Result<Option<Box<dyn Delivery>>, LinkError> {
        Ok(self.recv()?.map(boxed))
    }
    fn try_recv(&mut self) -> Result<Option<Box<dyn Delivery>>, LinkError> {
        Ok(self.try_recv()?.map(boxed))
    }
}

impl Receipt for std_backend::Receipt {
    fn sequence(&self) -> Sequence {
        self.sequence()
    }
    fn verdict(&self) -> Option<Verdict> {
        self.verdict()
    }
    fn wait(self: Box<Self>) -> Verdict {
        (*self).wait()
    }
}

impl BatchReceipt for std_backend::BatchReceipt {
    fn counts(&self) -> VerdictCounts {
        self.counts()
    }
    fn wait(self: Box<Self>) -> VerdictCounts {
        (*self).wait()
    }
}
