//! What a backend is to a scenario: blocking, and behind trait objects, so that a scenario is
//! plain sequential code and is compiled once.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    Age, Bytes, CloseMode, CloseReason, LinkStatus, Sequence, Verdict, VerdictCounts,
};
use countersign_driver::{
    AcceptError, ChannelError, Drained, Limits, LinkError, LinkEvent, Outgoing, RecvError, Report,
    RequestError, SendError, Setup, Status, TransportAddress,
};
use countersign_endpoint::Fingerprint;

/// A runtime's way to links.
pub trait Backend: Send + Sync {
    /// Listens on `address`.
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener>;

    /// Opens a link.
    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError>;
}

/// Accepts links.
pub trait Listener: Send + Sync {
    /// Returns the address that it listens on.
    fn address(&self) -> SocketAddr;

    /// Waits for the next peer.
    fn accept(&self) -> Result<Box<dyn Link>, AcceptError>;

    /// Releases the address, and waits until it is free.
    fn close(self: Box<Self>);

    /// Ends all links in order, within `limit`, then releases the address.
    fn drain(&self, limit: Duration) -> Drained;
}

/// How a link stands, as far as all backends can tell.
#[derive(Debug)]
pub struct Standing {
    /// What the core knows.
    pub link: LinkStatus,
    /// This end's address.
    pub local: Option<SocketAddr>,
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// The peer's fingerprint.
    pub peer: Option<Fingerprint>,
}

impl From<Status> for Standing {
    fn from(status: Status) -> Self {
        let ip = |address: Option<TransportAddress>| address?.ip();
        Self {
            local: ip(status.local),
            remote: ip(status.remote),
            peer: status.peer.map(|peer| peer.fingerprint()),
            link: status.link,
        }
    }
}

/// One end of a link.
pub trait Link: Send + Sync {
    /// Returns a sender.
    fn sender(&self, name: &str) -> Result<Box<dyn Sender>, ChannelError>;
    /// Returns the receiver of an `Auto` channel.
    fn receiver(&self, name: &str) -> Result<Box<dyn Receiver>, ChannelError>;
    /// Returns the receiver of a `Manual` channel.
    fn manual_receiver(&self, name: &str) -> Result<Box<dyn ManualReceiver>, ChannelError>;
    /// Returns the lease of a channel.
    fn lease(&self, name: &str) -> Result<Box<dyn Lease>, ChannelError>;
    /// Returns the peer's fingerprint.
    fn peer(&self) -> Option<Fingerprint>;
    /// Returns the application's name for the peer.
    fn peer_name(&self) -> Option<Arc<str>>;
    /// Returns what became of the messages so far.
    fn report(&self) -> Report;
    /// Returns the status of the link.
    fn status(&self) -> Standing;
    /// Ends the pause before the next attempt to connect. Returns whether there was one.
    fn connect_now(&self) -> bool;
    /// Returns why the link ended.
    fn end_reason(&self) -> Option<LinkError>;
    /// Waits for an event.
    fn event(&self) -> Option<LinkEvent>;
    /// Waits for the end.
    fn ended(&self) -> Report;
    /// Closes and waits for the end.
    fn close(&self, mode: CloseMode) -> Report;
    /// Closes with a reason and waits for the end.
    fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report;
    /// Begins to close.
    fn start_close(&self, mode: CloseMode);
    /// Begins to close with a reason.
    fn start_close_with(&self, mode: CloseMode, reason: CloseReason);
    /// Returns the reason of the peer's close.
    fn peer_closes(&self) -> Option<CloseReason>;
}

/// The sending end of a channel.
pub trait Sender: Send + Sync {
    /// Waits for room, then sends.
    fn send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError>;
    /// Sends if there is room.
    fn try_send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError>;
    /// Sends, and waits for the reply.
    fn request(&self, message: Outgoing) -> Result<Option<Bytes>, RequestError>;
    /// Sends many.
    fn send_batch(
        &self,
        messages: &mut VecDeque<Bytes>,
    ) -> Result<Box<dyn BatchReceipt>, SendError>;
    /// Returns the largest message.
    fn max_message(&self) -> usize;
    /// Returns another handle of the same channel.
    fn another(&self) -> Box<dyn Sender>;
}

/// The receiving end of an `Auto` channel.
pub trait Receiver: Send {
    /// Waits for a message.
    fn recv(&mut self) -> Result<Option<Bytes>, RecvError>;
    /// Waits for at least one message.
    fn recv_batch(&mut self, messages: &mut Vec<Bytes>, limit: usize) -> Result<usize, RecvError>;
    /// Waits for a message, and returns its age too.
    fn recv_message(&mut self) -> Result<Option<(Bytes, Option<Age>)>, RecvError>;
    /// Takes a message if one waits.
    fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError>;
    /// Waits for the next item of it as a stream or an iterator.
    fn next_item(&mut self) -> Option<Result<Bytes, RecvError>>;
}

/// The receiving end of a `Manual` channel.
pub trait ManualReceiver: Send {
    /// Waits for a message.
    fn recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError>;
    /// Takes a message if one waits.
    fn try_recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError>;
}

/// A message that waits to be handled. Dropping it rejects it.
pub trait Delivery: Deref<Target = [u8]> + fmt::Debug + Send {
    /// Returns the message's number.
    fn sequence(&self) -> Sequence;
    /// Returns its age.
    fn age(&self) -> Option<Age>;
    /// Marks it as handled.
    fn handled(self: Box<Self>) -> Bytes;
    /// Marks it as handled with a reply, or returns it with the limit that the reply exceeds.
    fn handled_with(self: Box<Self>, reply: &[u8]) -> Result<Bytes, (Box<dyn Delivery>, usize)>;
    /// Rejects it.
    fn reject(self: Box<Self>, code: u32, reason: &str);
}

/// The lease of a channel.
pub trait Lease: Send {
    /// Whether it is held.
    fn is_held(&self) -> bool;
    /// Waits until it is not.
    fn lapsed(&self);
    /// Waits until it is; false once the link has ended.
    fn held(&self) -> bool;
}

/// What sending one message gives.
pub trait Receipt: Send {
    /// Returns the message's number.
    fn sequence(&self) -> Sequence;
    /// Returns the verdict, if known.
    fn verdict(&self) -> Option<Verdict>;
    /// Waits for the verdict.
    fn wait(self: Box<Self>) -> Verdict;
}

/// What sending a batch gives.
pub trait BatchReceipt: Send {
    /// Returns the verdicts so far.
    fn counts(&self) -> VerdictCounts;
    /// Waits for all verdicts.
    fn wait(self: Box<Self>) -> VerdictCounts;
}

/// A scenario's shorthands for what every one of them does.
impl dyn Sender {
    /// Sends a message that must be accepted.
    #[must_use]
    pub fn give(&self, message: impl Into<Outgoing>) -> Box<dyn Receipt> {
        self.send(message.into()).unwrap()
    }

    /// Sends a message and waits for its verdict.
    #[must_use]
    pub fn deliver(&self, message: impl Into<Outgoing>) -> Verdict {
        self.give(message).wait()
    }
}

impl dyn Receiver {
    /// Receives a message, which must arrive.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        self.recv().unwrap().expect("a message, not the end")
    }

    /// Receives everything until the orderly end.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.recv().unwrap()).collect()
    }
}

impl dyn ManualReceiver {
    /// Receives a message, which must arrive.
    #[must_use]
    pub fn take(&mut self) -> Box<dyn Delivery> {
        self.recv().unwrap().expect("a message, not the end")
    }
}
