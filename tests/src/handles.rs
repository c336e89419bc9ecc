//! The handles: those of the shared driver, and those of backends that have their own.

use std::collections::VecDeque;
use std::convert::identity;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use countersign_core::{Age, Bytes, CloseMode, CloseReason, Sequence, Verdict, VerdictCounts};
use countersign_driver::{
    AcceptError, ChannelError, Drained, LinkError, LinkEvent, Outgoing, RecvError, Report,
    RequestError, SendError,
};
use countersign_endpoint::Fingerprint;
use futures_core::Stream;

use crate::backend::{
    BatchReceipt, Delivery, Lease, Link, Listener, ManualReceiver, Receipt, Receiver, Sender,
    Standing,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future of a driver's handle, which needs no runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

impl Listener for countersign_driver::Listener {
    fn address(&self) -> SocketAddr {
        self.local_addr()
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        Ok(Box::new(block_on(self.accept())?))
    }

    fn close(self: Box<Self>) {
        block_on((*self).close());
    }

    fn drain(&self, limit: Duration) -> Drained {
        block_on(self.drain(limit))
    }
}

/// Implements the traits for a crate's handles, which have the same methods: `$wait` waits for the
/// result of a waiting method, `$next` for the next item of a receiver, and `$finish` for the
/// verdict of a boxed receipt.
macro_rules! handles {
    ($backend:ident, $wait:path, $next:expr, |$receipt:ident| $finish:expr) => {
        impl Link for $backend::Link {
            fn sender(&self, name: &str) -> Result<Box<dyn Sender>, ChannelError> {
                Ok(Box::new(self.sender(name)?))
            }
            fn receiver(&self, name: &str) -> Result<Box<dyn Receiver>, ChannelError> {
                Ok(Box::new(self.receiver(name)?))
            }
            fn manual_receiver(&self, name: &str) -> Result<Box<dyn ManualReceiver>, ChannelError> {
                Ok(Box::new(self.manual_receiver(name)?))
            }
            fn lease(&self, name: &str) -> Result<Box<dyn Lease>, ChannelError> {
                Ok(Box::new(self.lease(name)?))
            }
            fn peer(&self) -> Option<Fingerprint> {
                self.peer()
            }
            fn peer_name(&self) -> Option<std::sync::Arc<str>> {
                self.peer_name()
            }
            fn report(&self) -> Report {
                self.report()
            }
            fn status(&self) -> Standing {
                self.status().into()
            }
            fn connect_now(&self) -> bool {
                self.connect_now()
            }
            fn end_reason(&self) -> Option<LinkError> {
                self.end_reason()
            }
            fn event(&self) -> Option<LinkEvent> {
                $wait(self.event())
            }
            fn ended(&self) -> Report {
                $wait(self.ended())
            }
            fn close(&self, mode: CloseMode) -> Report {
                $wait(self.close(mode))
            }
            fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
                $wait(self.close_with(mode, reason))
            }
            fn start_close(&self, mode: CloseMode) {
                self.start_close(mode);
            }
            fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
                self.start_close_with(mode, reason);
            }
            fn peer_closes(&self) -> Option<CloseReason> {
                self.peer_closes()
            }
        }

        impl Sender for $backend::Sender {
            fn send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
                Ok(Box::new($wait(self.send(message))?))
            }
            fn try_send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
                Ok(Box::new(self.try_send(message)?))
            }
            fn request(&self, message: Outgoing) -> Result<Option<Bytes>, RequestError> {
                $wait(self.request(message))
            }
            fn send_batch(
                &self,
                messages: &mut VecDeque<Bytes>,
            ) -> Result<Box<dyn BatchReceipt>, SendError> {
                Ok(Box::new($wait(self.send_batch(messages))?))
            }
            fn max_message(&self) -> usize {
                self.max_message()
            }
            fn another(&self) -> Box<dyn Sender> {
                Box::new(self.clone())
            }
        }

        impl Receiver for $backend::Receiver {
            fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
                $wait(self.recv())
            }
            fn recv_batch(
                &mut self,
                messages: &mut Vec<Bytes>,
                limit: usize,
            ) -> Result<usize, RecvError> {
                $wait(self.recv_batch(messages, limit))
            }
            fn recv_message(&mut self) -> Result<Option<(Bytes, Option<Age>)>, RecvError> {
                let message = $wait(self.recv_message())?;
                Ok(message.map(|message| (message.payload().clone(), message.age())))
            }
            fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError> {
                self.try_recv()
            }
            fn next_item(&mut self) -> Option<Result<Bytes, RecvError>> {
                $next(self)
            }
        }

        impl ManualReceiver for $backend::ManualReceiver {
            fn recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError> {
                Ok($wait(self.recv())?.map(boxed))
            }
            fn try_recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError> {
                Ok(self.try_recv()?.map(boxed))
            }
        }

        impl Lease for $backend::Lease {
            fn is_held(&self) -> bool {
                self.is_held()
            }
            fn lapsed(&self) {
                $wait(self.lapsed())
            }
            fn held(&self) -> bool {
                $wait(self.held())
            }
        }

        impl Receipt for $backend::Receipt {
            fn sequence(&self) -> Sequence {
                self.sequence()
            }
            fn verdict(&self) -> Option<Verdict> {
                self.verdict()
            }
            fn wait(self: Box<Self>) -> Verdict {
                let $receipt = self;
                $finish
            }
        }

        impl BatchReceipt for $backend::BatchReceipt {
            fn counts(&self) -> VerdictCounts {
                self.counts()
            }
            fn wait(self: Box<Self>) -> VerdictCounts {
                let $receipt = self;
                $finish
            }
        }
    };
}

handles!(countersign_driver, block_on, next, |receipt| block_on(
    *receipt
));
handles!(countersign_std, identity, Iterator::next, |receipt| {
    (*receipt).wait()
});

/// Waits for the next item of a stream.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block_on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}

fn boxed(delivery: countersign_driver::Delivery) -> Box<dyn Delivery> {
    Box::new(delivery)
}

impl Delivery for countersign_driver::Delivery {
    fn sequence(&self) -> Sequence {
        self.sequence()
    }
    fn age(&self) -> Option<Age> {
        self.age()
    }
    fn handled(self: Box<Self>) -> Bytes {
        (*self).handled()
    }
    fn handled_with(self: Box<Self>, reply: &[u8]) -> Result<Bytes, (Box<dyn Delivery>, usize)> {
        let result = (*self).handled_with(reply);
        result.map_err(|error| (boxed(error.delivery), error.limit))
    }
    fn reject(self: Box<Self>, code: u32, reason: &str) {
        (*self).reject(code, reason);
    }
}
