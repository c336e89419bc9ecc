//! Receivers that call a function for each message.

use countersign_core::{Bytes, Rejection};

// Async callbacks are `FnMut` that return a future, and not `AsyncFnMut`: those cannot express yet
// that their futures are `Send`, which spawning requires.

use crate::error::RecvError;
use crate::receiver::{Delivery, ManualReceiver, Receiver};

impl Receiver {
    /// Calls `callback` with each message until the link or a session has ended: after the border
    /// between two sessions, a new call continues.
    ///
    /// To run it concurrently with other work, move the receiver into a task: `spawn(async move {
    /// receiver.on_message(|message| …).await })`.
    ///
    /// Messages count as handled when they are taken, before they are passed to the callback. If
    /// that panics, the panic propagates to the caller that polls this future, and its message
    /// stays handled. The receiver can continue with the next message; if it is dropped with its
    /// task, pending and later messages are rejected.
    ///
    /// Cancel-safe: every message that was taken has been through the callback, and a new call
    /// continues with the next.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    ///
    /// ```
    /// # use countersign_driver::{Receiver, RecvError};
    /// # async fn example(mut video: Receiver) -> Result<(), RecvError> {
    /// video.on_message(|picture| println!("{} bytes", picture.len())).await
    /// # }
    /// ```
    pub async fn on_message(&mut self, mut callback: impl FnMut(Bytes)) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            callback(message);
        }
        Ok(())
    }

    /// As [`Receiver::on_message`], with an async callback, which processes one message at a time.
    ///
    /// Not cancel-safe for the message in progress: it counts as handled, and the callback's future
    /// is dropped with this one, whatever its progress. A new call continues with the next message.
    /// If this matters, use a [`ManualReceiver`], which reports it to the sender.
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
    /// Calls `callback` with each message until the link or a session has ended: after the border
    /// between two sessions, a new call continues. `Ok` marks the message as handled, `Err` rejects
    /// it, as by [`Delivery::reject`].
    ///
    /// To run it concurrently with other work, move the receiver into a task: `spawn(async move {
    /// receiver.on_message(|message| …).await })`.
    ///
    /// If the callback panics, its message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), and the panic propagates to the
    /// caller that polls this future. The receiver can continue with the next message; if it is
    /// dropped with its task, pending and later messages are rejected too.
    ///
    /// Cancel-safe: every message that was taken has been through the callback and is settled, and
    /// a new call continues with the next.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    ///
    /// ```
    /// # use countersign_core::Rejection;
    /// # use countersign_driver::{ManualReceiver, RecvError};
    /// # async fn example(mut commands: ManualReceiver) -> Result<(), RecvError> {
    /// let obey = |command: &[u8]| match command {
    ///     b"forward" => Ok(()),
    ///     _ => Err(Rejection::new(1, "no such command")),
    /// };
    /// commands.on_message(|command| obey(&command)).await
    /// # }
    /// ```
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

    /// As [`ManualReceiver::on_message`], with an async callback, which processes one message at a
    /// time; its payload is cheap to clone into the future.
    ///
    /// Not cancel-safe for the message in progress: the callback's future is dropped with this one,
    /// whatever its progress, and the message is rejected with
    /// [`reject::DROPPED`](countersign_core::reject::DROPPED), which the sender receives. A new
    /// call continues with the next message.
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

impl ManualReceiver {
    /// As [`ManualReceiver::on_message`], for messages that get a reply: `Ok` marks the message as
    /// handled with these bytes. A reply that is longer than the channel allows rejects its message
    /// with [`reject::DROPPED`](countersign_core::reject::DROPPED), and is logged.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    ///
    /// ```
    /// # use countersign_core::{Bytes, Rejection};
    /// # use countersign_driver::{ManualReceiver, RecvError};
    /// # async fn example(mut questions: ManualReceiver) -> Result<(), RecvError> {
    /// let answer = |question: &[u8]| match question {
    ///     b"where are you?" => Ok(Bytes::from("in the kitchen")),
    ///     _ => Err(Rejection::new(1, "no such question")),
    /// };
    /// questions.on_request(|question| answer(&question)).await
    /// # }
    /// ```
    pub async fn on_request(
        &mut self,
        mut callback: impl FnMut(&Delivery) -> Result<Bytes, Rejection>,
    ) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            let answer = callback(&message);
            message.reply_as(answer);
        }
        Ok(())
    }

    /// As [`ManualReceiver::on_request`], with an async callback, as
    /// [`ManualReceiver::on_message_async`].
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub async fn on_request_async<F: Future<Output = Result<Bytes, Rejection>>>(
        &mut self,
        mut callback: impl FnMut(&Delivery) -> F,
    ) -> Result<(), RecvError> {
        while let Some(message) = self.recv().await? {
            let answer = callback(&message).await;
            message.reply_as(answer);
        }
        Ok(())
    }
}

impl Delivery {
    /// Replies to the message or rejects it, according to a callback's result.
    fn reply_as(self, answer: Result<Bytes, Rejection>) {
        match answer {
            Ok(reply) => {
                if let Err(error) = self.handled_with(&reply) {
                    tracing::warn!("a reply of {} bytes is not sent: {error}", reply.len());
                }
            }
            Err(rejection) => self.reject(rejection.code, &rejection.reason),
        }
    }

    /// Handles or rejects the message, according to a callback's result.
    fn settle_as(self, answer: Result<(), Rejection>) {
        match answer {
            Ok(()) => drop(self.handled()),
            Err(rejection) => self.reject(rejection.code, &rejection.reason),
        }
    }
}
