//! The receiving ends of channels, blocking.

use std::future::poll_fn;
use std::io;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign_core::{Bytes, Rejection};
use countersign_driver as driver;
use countersign_driver::{Delivery, RecvError};
use futures_core::Stream;

use crate::block;
use crate::timeout::RecvTimeoutError;

/// The receiving end of a channel on which a message is handled by being received.
///
/// Dropping it rejects what waits and what still comes. As an iterator, for which `&mut` will do,
/// it gives messages until the link has ended, between those of two sessions the border as an error,
/// then the error of a link that did not end in order, once.
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
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions;
    /// [`RecvError::Link`], once nothing is left to receive: why the link ended, if not in order, and
    /// what the peer says if it has closed and not all is well. What came is not the whole then.
    pub fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        block::on(self.0.recv())
    }

    /// As [`Receiver::recv`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] when that has passed; otherwise as for [`Receiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Bytes>, RecvTimeoutError> {
        block::on_for(self.0.recv(), limit)?.map_err(RecvTimeoutError::Recv)
    }

    /// Waits for at least one message, then appends all that wait, `limit` at most, to `messages`
    /// and says how many; zero when the link was closed in order and nothing is left. The messages
    /// of one batch are of one session.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn recv_batch(
        &mut self,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        block::on(self.0.recv_batch(messages, limit))
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        self.0.try_recv()
    }

    /// The messages until the link has ended, between those of two sessions the border as an error,
    /// then the error of a link that did not end in order, once: the receiver itself, borrowed.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Bytes, RecvError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link has ended, or a session has: behind its
    /// border a new call goes on.
    ///
    /// Messages count as handled when they are taken, before they are handed to the callback. If
    /// that panics, the panic goes on to the caller, and its message stays handled. The receiver
    /// can go on with the next message.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn on_message(&mut self, callback: impl FnMut(Bytes)) -> Result<(), RecvError> {
        block::on(self.0.on_message(callback))
    }

    /// As [`Receiver::on_message`], in a thread of this name. Joining it tells why that ended, and
    /// gives the receiver back, with which to go on behind the border of a session.
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
    ) -> io::Result<JoinHandle<(Self, Result<(), RecvError>)>> {
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || {
            let result = self.on_message(callback);
            (self, result)
        })
    }
}

impl Iterator for Receiver {
    type Item = Result<Bytes, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.0)
    }
}

impl FusedIterator for Receiver {}

/// The receiving end of a channel declared with
/// [`manual`](countersign_core::ChannelConfig::manual): a message is handled when the application says
/// so.
///
/// Dropping it rejects what waits and what still comes. As an iterator, for which `&mut` will do,
/// it gives messages until the link has ended, between those of two sessions the border as an error,
/// then the error of a link that did not end in order, once.
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
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions;
    /// [`RecvError::Link`], once nothing is left to receive: why the link ended, if not in order, and
    /// what the peer says if it has closed and not all is well. What came is not the whole then.
    pub fn recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        block::on(self.0.recv())
    }

    /// As [`ManualReceiver::recv`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] when that has passed; otherwise as for [`ManualReceiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Delivery>, RecvTimeoutError> {
        block::on_for(self.0.recv(), limit)?.map_err(RecvTimeoutError::Recv)
    }

    /// The next message, if one waits.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        self.0.try_recv()
    }

    /// The messages until the link has ended, between those of two sessions the border as an error,
    /// then the error of a link that did not end in order, once: the receiver itself, borrowed.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Delivery, RecvError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link has ended, or a session has: behind its
    /// border a new call goes on. With `Ok` the message is handled, with `Err` it is rejected, as
    /// by [`Delivery::reject`].
    ///
    /// If the callback panics, its message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), and the panic goes on to the caller.
    /// The receiver can go on with the next message.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn on_message(
        &mut self,
        callback: impl FnMut(&Delivery) -> Result<(), Rejection>,
    ) -> Result<(), RecvError> {
        block::on(self.0.on_message(callback))
    }

    /// As [`ManualReceiver::on_message`], in a thread of this name. Joining it tells why that
    /// ended, and gives the receiver back, with which to go on behind the border of a session.
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
    ) -> io::Result<JoinHandle<(Self, Result<(), RecvError>)>> {
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || {
            let result = self.on_message(callback);
            (self, result)
        })
    }
}

impl Iterator for ManualReceiver {
    type Item = Result<Delivery, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.0)
    }
}

impl FusedIterator for ManualReceiver {}

/// Blocks until the stream has more.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block::on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}
