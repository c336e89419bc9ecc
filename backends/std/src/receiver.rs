//! The receiving ends of channels, blocking.

use std::future::poll_fn;
use std::io;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign_driver as driver;
use countersign_driver::core::{Bytes, Rejection};
use countersign_driver::{Delivery, LinkError};
use futures_core::Stream;

use crate::block;

/// The receiving end of a channel on which a message is handled by being received.
///
/// Dropping it rejects what waits and what still comes. As an iterator, for which `&mut` will do,
/// it gives messages until the link has ended, then the error of a link that did not end in order,
/// once.
#[derive(Debug)]
pub struct Receiver(driver::Receiver);

impl Receiver {
    pub(crate) fn new(receiver: driver::Receiver) -> Self {
        Self(receiver)
    }

    /// Waits for the next message; `None` when the link was closed in order, the peer says that all
    /// is well, and nothing is left.
    ///
    /// # Errors
    ///
    /// Once nothing is left to receive: why the link ended, if not in order, and what the peer says
    /// if it has closed and not all is well. What came is not the whole then.
    pub fn recv(&mut self) -> Result<Option<Bytes>, LinkError> {
        block::on(self.0.recv())
    }

    /// As [`Receiver::recv`], but no longer than `limit`; the outer `None` when that has passed.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Option<Result<Option<Bytes>, LinkError>> {
        block::on_for(self.0.recv(), limit)
    }

    /// Waits for at least one message, then appends all that wait, `limit` at most, to `messages`
    /// and says how many; zero when the link was closed in order and nothing is left.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn recv_batch(
        &mut self,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, LinkError> {
        block::on(self.0.recv_batch(messages, limit))
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, LinkError> {
        self.0.try_recv()
    }

    /// The messages until the link has ended, then the error of a link that did not end in order,
    /// once: the receiver itself, borrowed.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Bytes, LinkError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link has ended.
    ///
    /// Messages count as handled when they are taken, before they are handed to the callback. If
    /// that panics, the panic goes on to the caller, and its message stays handled. The receiver
    /// can go on with the next message.
    ///
    /// # Errors
    ///
    /// Once nothing is left to receive: why the link ended, if not in order, and what the peer says
    /// if it has closed and not all is well. What came is not the whole then.
    pub fn on_message(&mut self, callback: impl FnMut(Bytes)) -> Result<(), LinkError> {
        block::on(self.0.on_message(callback))
    }

    /// As [`Receiver::on_message`], in a thread of this name. Joining it tells how the link ended.
    ///
    /// If the callback panics, the thread ends: joining it gives the panic, the receiver is
    /// dropped, and what waits and what still comes is rejected.
    ///
    /// # Errors
    ///
    /// The system has no thread to give; the receiver is dropped.
    ///
    /// # Panics
    ///
    /// If the name contains a zero byte.
    pub fn on_message_in_thread(
        mut self,
        name: impl Into<String>,
        callback: impl FnMut(Bytes) + Send + 'static,
    ) -> io::Result<JoinHandle<Result<(), LinkError>>> {
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || self.on_message(callback))
    }
}

impl Iterator for Receiver {
    type Item = Result<Bytes, LinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.0)
    }
}

impl FusedIterator for Receiver {}

/// The receiving end of a channel declared with
/// [`manual`](driver::core::ChannelConfig::manual): a message is handled when the application says
/// so.
///
/// Dropping it rejects what waits and what still comes. As an iterator, for which `&mut` will do,
/// it gives messages until the link has ended, then the error of a link that did not end in order,
/// once.
#[derive(Debug)]
pub struct ManualReceiver(driver::ManualReceiver);

impl ManualReceiver {
    pub(crate) fn new(receiver: driver::ManualReceiver) -> Self {
        Self(receiver)
    }

    /// Waits for the next message; `None` when the link was closed in order, the peer says that all
    /// is well, and nothing is left.
    ///
    /// # Errors
    ///
    /// Once nothing is left to receive: why the link ended, if not in order, and what the peer says
    /// if it has closed and not all is well. What came is not the whole then.
    pub fn recv(&mut self) -> Result<Option<Delivery>, LinkError> {
        block::on(self.0.recv())
    }

    /// As [`ManualReceiver::recv`], but no longer than `limit`; the outer `None` when that has
    /// passed.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Option<Result<Option<Delivery>, LinkError>> {
        block::on_for(self.0.recv(), limit)
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, LinkError> {
        self.0.try_recv()
    }

    /// The messages until the link has ended, then the error of a link that did not end in order,
    /// once: the receiver itself, borrowed.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Delivery, LinkError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link has ended. With `Ok` the message is
    /// handled, with `Err` it is rejected, as by [`Delivery::reject`].
    ///
    /// If the callback panics, its message is rejected with
    /// [`reject::DROPPED`](driver::core::reject::DROPPED), and the panic goes on to the caller.
    /// The receiver can go on with the next message.
    ///
    /// # Errors
    ///
    /// Once nothing is left to receive: why the link ended, if not in order, and what the peer says
    /// if it has closed and not all is well. What came is not the whole then.
    pub fn on_message(
        &mut self,
        callback: impl FnMut(&Delivery) -> Result<(), Rejection>,
    ) -> Result<(), LinkError> {
        block::on(self.0.on_message(callback))
    }

    /// As [`ManualReceiver::on_message`], in a thread of this name. Joining it tells how the link
    /// ended.
    ///
    /// If the callback panics, the thread ends: joining it gives the panic, the receiver is
    /// dropped, and what waits and what still comes is rejected too.
    ///
    /// # Errors
    ///
    /// The system has no thread to give; the receiver is dropped.
    ///
    /// # Panics
    ///
    /// If the name contains a zero byte.
    pub fn on_message_in_thread(
        mut self,
        name: impl Into<String>,
        callback: impl FnMut(&Delivery) -> Result<(), Rejection> + Send + 'static,
    ) -> io::Result<JoinHandle<Result<(), LinkError>>> {
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || self.on_message(callback))
    }
}

impl Iterator for ManualReceiver {
    type Item = Result<Delivery, LinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.0)
    }
}

impl FusedIterator for ManualReceiver {}

/// Blocks until the stream has more.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block::on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}
