//! Receivers that call for each message.

use countersign_core::{Bytes, Rejection};

// Callbacks that wait are `FnMut` that give a future, and not `AsyncFnMut`: of those, the compiler
// can't tell yet whether their futures may go to other threads, which spawning asks for.

use crate::error::RecvError;
use crate::receiver::{Delivery, ManualReceiver, Receiver};

impl Receiver {
    /// Calls `callback` with each message until the link has ended, or a session has: behind its
    /// border a new call goes on.
    ///
    /// To have it run beside other work, move the receiver into a task:
    /// `spawn(async move { receiver.on_message(|message| …).await })`.
    ///
    /// Messages count as handled when they are taken, before they are handed to the callback. If
    /// that panics, the panic goes on to whoever polls this future, and its message stays handled.
    /// The receiver can go on with the next message; if it is dropped with its task, what waits
    /// and what still comes is rejected.
    ///
    /// Cancel-safe: every message that was taken has been through the callback, and a new call
    /// goes on with the next.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub async fn on_message(&mut self, mut callback: impl FnMut(Bytes)) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            callback(message);
        }
        Ok(())
    }

    /// As [`Receiver::on_message`], with a callback that may wait. One message is in its hands at
    /// a time.
    ///
    /// Not cancel-safe for that one message: it counts as handled, and the callback's future is
    /// dropped with this one, wherever it stands. A new call goes on with the next message. Where
    /// this matters, a [`ManualReceiver`] tells the sender.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::on_message`].
    pub async fn on_message_async<F: Future<Output = ()>>(
        &mut self,
        mut callback: impl FnMut(Bytes) -> F,
    ) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            callback(message).await;
        }
        Ok(())
    }
}

impl ManualReceiver {
    /// Calls `callback` with each message until the link has ended, or a session has: behind its
    /// border a new call goes on. With `Ok` the message is handled, with `Err` it is rejected, as
    /// by [`Delivery::reject`].
    ///
    /// To have it run beside other work, move the receiver into a task:
    /// `spawn(async move { receiver.on_message(|message| …).await })`.
    ///
    /// If the callback panics, its message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), and the panic goes on to whoever
    /// polls this future. The receiver can go on with the next message; if it is dropped with its
    /// task, what waits and what still comes is rejected too.
    ///
    /// Cancel-safe: every message that was taken has been through the callback and is settled, and
    /// a new call goes on with the next.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub async fn on_message(
        &mut self,
        mut callback: impl FnMut(&Delivery) -> Result<(), Rejection>,
    ) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            let answer = callback(&message);
            message.settle_as(answer);
        }
        Ok(())
    }

    /// As [`ManualReceiver::on_message`], with a callback that may wait. One message is in its
    /// hands at a time; its payload is cheap to clone into the future.
    ///
    /// Not cancel-safe for that one message: the callback's future is dropped with this one,
    /// wherever it stands, and the message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), so the sender knows. A new call goes
    /// on with the next message.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::on_message`].
    pub async fn on_message_async<F: Future<Output = Result<(), Rejection>>>(
        &mut self,
        mut callback: impl FnMut(&Delivery) -> F,
    ) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            let answer = callback(&message).await;
            message.settle_as(answer);
        }
        Ok(())
    }
}

impl Delivery {
    /// Handles or rejects the message, as a callback has said.
    fn settle_as(self, answer: Result<(), Rejection>) {
        match answer {
            Ok(()) => drop(self.handled()),
            Err(rejection) => self.reject(rejection.code, &rejection.reason),
        }
    }
}
