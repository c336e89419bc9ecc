//! The blocking receiving ends of channels.

use std::future::poll_fn;
use std::io;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use countersign_core::{Bytes, Rejection};
use countersign_driver as driver;
use countersign_driver::{Delivery, Received, RecvError};
use futures_core::Stream;

use crate::block;
use crate::timeout::RecvTimeoutError;

/// The receiving end of a channel on which a message counts as handled when it is received.
///
/// Dropping it rejects pending and later messages. As an iterator, which a `&mut` reference is too,
/// it yields messages until the link has ended, between those of two sessions the border as an
/// error, and at the end, once, the error of a link that did not end in order.
#[derive(Debug)]
pub struct Receiver(driver::Receiver);

impl Receiver {
    pub(crate) fn new(receiver: driver::Receiver) -> Self {
        Self(receiver)
    }

    /// Waits for the next message; returns `None` when the link was closed in order, the peer's
    /// close reason is 'all is well', and nothing is left.
    ///
    /// # Errors
    ///
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions;
    /// [`RecvError::Link`] once nothing is left to receive: with the reason if the link did not end
    /// in order, or with the peer's close reason if that is not 'all is well'. The messages
    /// received are then incomplete.
    pub fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        block::on(self.0.recv())
    }

    /// As [`Receiver::recv`], with the message's number and age.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn recv_message(&mut self) -> Result<Option<Received>, RecvError> {
        block::on(self.0.recv_message())
    }

    /// As [`Receiver::recv`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] after `limit`; otherwise as for [`Receiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Bytes>, RecvTimeoutError> {
        block::on_for(self.0.recv(), limit)?.map_err(RecvTimeoutError::Recv)
    }

    /// Waits for at least one message, then appends all pending messages, at most `limit`, to
    /// `messages` and returns how many; zero when the link was closed in order and nothing is left.
    /// The messages of one batch belong to one session.
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

    /// Returns the next message, if one is pending.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        self.0.try_recv()
    }

    /// Returns the receiver itself as an iterator, which yields messages until the link has ended,
    /// between those of two sessions the border as an error, and at the end, once, the error of a
    /// link that did not end in order.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Bytes, RecvError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link or a session has ended: after the border
    /// between two sessions, a new call continues.
    ///
    /// Messages count as handled when they are taken, before they are passed to the callback. If
    /// that panics, the panic propagates to the caller, and its message stays handled. The receiver
    /// can continue with the next message.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn on_message(&mut self, callback: impl FnMut(Bytes)) -> Result<(), RecvError> {
        block::on(self.0.on_message(callback))
    }

    /// As [`Receiver::on_message`], in a thread with this name. Joining it returns its result and
    /// the receiver, which can continue after the border between two sessions.
    ///
    /// If the callback panics, the thread ends: joining it returns the panic, the receiver is
    /// dropped, and pending and later messages are rejected.
    ///
    /// # Errors
    ///
    /// The system provides no thread; the receiver is dropped.
    ///
    /// # Panics
    ///
    /// Panics if the name contains a zero byte.
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
/// [`manual`](countersign_core::ReceiveChannel::manual): a message is handled when the application
/// says so.
///
/// Dropping it rejects pending and later messages. As an iterator, which a `&mut` reference is too,
/// it yields messages until the link has ended, between those of two sessions the border as an
/// error, and at the end, once, the error of a link that did not end in order.
#[derive(Debug)]
pub struct ManualReceiver(driver::ManualReceiver);

impl ManualReceiver {
    pub(crate) fn new(receiver: driver::ManualReceiver) -> Self {
        Self(receiver)
    }

    /// Waits for the next message; returns `None` when the link was closed in order, the peer's
    /// close reason is 'all is well', and nothing is left.
    ///
    /// # Errors
    ///
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions;
    /// [`RecvError::Link`] once nothing is left to receive: with the reason if the link did not end
    /// in order, or with the peer's close reason if that is not 'all is well'. The messages
    /// received are then incomplete.
    pub fn recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        block::on(self.0.recv())
    }

    /// As [`ManualReceiver::recv`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] after `limit`; otherwise as for [`ManualReceiver::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Delivery>, RecvTimeoutError> {
        block::on_for(self.0.recv(), limit)?.map_err(RecvTimeoutError::Recv)
    }

    /// Returns the next message, if one is pending.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        self.0.try_recv()
    }

    /// Returns the receiver itself as an iterator, which yields messages until the link has ended,
    /// between those of two sessions the border as an error, and at the end, once, the error of a
    /// link that did not end in order.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Delivery, RecvError>> + use<'_> {
        self
    }

    /// Calls `callback` with each message until the link or a session has ended: after the border
    /// between two sessions, a new call continues. `Ok` marks the message as handled, `Err` rejects
    /// it, as by [`Delivery::reject`].
    ///
    /// If the callback panics, its message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), and the panic propagates to the
    /// caller. The receiver can continue with the next message.
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

    /// As [`ManualReceiver::on_message`], for messages that get a reply: `Ok` marks the message as
    /// handled with these bytes. A reply that is longer than the channel allows rejects its message
    /// with [`reject::DROPPED`](countersign_core::reject::DROPPED), and is logged.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn on_request(
        &mut self,
        callback: impl FnMut(&Delivery) -> Result<Bytes, Rejection>,
    ) -> Result<(), RecvError> {
        block::on(self.0.on_request(callback))
    }

    /// As [`ManualReceiver::on_message`], in a thread with this name. Joining it returns its result
    /// and the receiver, which can continue after the border between two sessions.
    ///
    /// If the callback panics, the thread ends: joining it returns the panic, the receiver is
    /// dropped, and pending and later messages are rejected too.
    ///
    /// # Errors
    ///
    /// The system provides no thread; the receiver is dropped.
    ///
    /// # Panics
    ///
    /// Panics if the name contains a zero byte.
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

/// Blocks until the stream yields its next item or ends.
fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block::on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}
