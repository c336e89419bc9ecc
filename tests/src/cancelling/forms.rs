//! Every form in which messages are sent and received.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;

use countersign_core::{Bytes, VerdictKind};
use countersign_driver::{Delivery, Link, ManualReceiver, Receipt, Receiver, Sender};
use futures_util::{Sink, Stream};

use super::{Drops, persist};
use crate::memory::turn;

/// A way to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// [`Sender::send`] and its receipts.
    One,
    /// [`Sender::send_batch`] and its receipts.
    Batch,
    /// A sink.
    Sink,
    /// Planted: waits once more after it has sent.
    PlantedWaitsAfter,
    /// Planted: takes the message out of its caller's hands before it waits for the last time.
    PlantedTakesApart,
}

impl Sends {
    /// All that are meant to be used.
    pub const ALL: [Self; 3] = [Self::One, Self::Batch, Self::Sink];

    /// Sends all messages, and waits for their verdicts.
    pub(super) async fn send_all(self, sender: Sender, messages: Vec<Bytes>, drops: &Drops) {
        match self {
            Self::One | Self::PlantedWaitsAfter | Self::PlantedTakesApart => {
                self.send_each(&sender, messages, drops).await;
            }
            Self::Batch => send_batches(&sender, messages, drops).await,
            Self::Sink => send_to_sink(sender, messages, drops).await,
        }
    }

    async fn send_each(self, sender: &Sender, messages: Vec<Bytes>, drops: &Drops) {
        let mut receipts = VecDeque::new();
        for mut message in messages {
            let receipt = persist(drops, async || self.send(sender, &mut message).await).await;
            receipts.push_back(receipt);
            // Some wait for the verdict at once, the others have it when they ask.
            while receipts.len() > 5 {
                wait(&mut receipts, drops).await;
            }
        }
        while !receipts.is_empty() {
            wait(&mut receipts, drops).await;
        }
    }

    async fn send(self, sender: &Sender, message: &mut Bytes) -> Receipt {
        if self == Self::PlantedTakesApart {
            let mut whole = message.split_to(message.len() / 2).to_vec();
            turn().await;
            whole.extend_from_slice(message);
            return sender.send(whole).await.unwrap();
        }
        let receipt = sender.send(message.clone()).await.unwrap();
        if self == Self::PlantedWaitsAfter {
            turn().await;
        }
        receipt
    }
}

/// Waits for the oldest receipt's verdict.
async fn wait(receipts: &mut VecDeque<Receipt>, drops: &Drops) {
    if let Some(mut receipt) = receipts.pop_front() {
        let verdict = persist(drops, async || (&mut receipt).await).await;
        assert!(verdict.is_handled(), "{verdict}");
        assert_eq!(receipt.verdict(), Some(verdict));
    }
}

async fn send_batches(sender: &Sender, messages: Vec<Bytes>, drops: &Drops) {
    for batch in messages.chunks(10) {
        let mut left: VecDeque<_> = batch.iter().cloned().collect();
        let sent = persist(drops, async || sender.send_batch(&mut left).await).await;
        let mut receipt = sent.unwrap();
        assert!(left.is_empty());
        let counts = persist(drops, async || (&mut receipt).await).await;
        // The receipts of what earlier futures sent went with them.
        assert_eq!(counts.total(), counts[VerdictKind::Handled]);
        assert_eq!(receipt.counts(), counts);
    }
}

async fn send_to_sink(sender: Sender, messages: Vec<Bytes>, drops: &Drops) {
    // A clone that competes for the room, without sending anything.
    let _clone = sender.clone();
    let mut sink = sender.into_sink();
    for (number, message) in messages.into_iter().enumerate() {
        let ready = async || poll_fn(|context| Pin::new(&mut sink).poll_ready(context)).await;
        persist(drops, ready).await.unwrap();
        Pin::new(&mut sink).start_send(message.into()).unwrap();
        if number % 7 == 0 {
            let flush = async || poll_fn(|context| Pin::new(&mut sink).poll_flush(context)).await;
            persist(drops, flush).await.unwrap();
        }
    }
    let close = async || poll_fn(|context| Pin::new(&mut sink).poll_close(context)).await;
    persist(drops, close).await.unwrap();
}

/// A way to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receives {
    /// [`Receiver::recv`].
    One,
    /// [`Receiver::recv_batch`].
    Batch,
    /// A receiver as a stream.
    Stream,
    /// [`Receiver::on_message`].
    Callback,
    /// [`ManualReceiver::recv`].
    Manual,
    /// A receiver of a `Manual` channel as a stream.
    ManualStream,
    /// [`ManualReceiver::on_message`].
    ManualCallback,
    /// Planted: waits once more after it has taken a message.
    PlantedWaitsAfter,
    /// Planted: polls without having itself woken.
    PlantedSleeps,
}

impl Receives {
    /// All that are meant to be used.
    pub const ALL: [Self; 7] = [
        Self::One,
        Self::Batch,
        Self::Stream,
        Self::Callback,
        Self::Manual,
        Self::ManualStream,
        Self::ManualCallback,
    ];

    /// Whether it takes a `Manual` channel.
    #[must_use]
    pub fn is_manual(self) -> bool {
        matches!(
            self,
            Self::Manual | Self::ManualStream | Self::ManualCallback
        )
    }

    /// Receives until the link was closed in order; each message goes to `got` as it arrives.
    pub(super) async fn receive_all(
        self,
        link: &Link,
        channel: &str,
        drops: &Drops,
        mut got: impl FnMut(Bytes),
    ) {
        if self.is_manual() {
            let receiver = link.manual_receiver(channel).unwrap();
            return self.receive_all_manual(receiver, drops, got).await;
        }
        let mut receiver = link.receiver(channel).unwrap();
        match self {
            Self::Callback => {
                let call = async || receiver.on_message(&mut got).await;
                persist(drops, call).await.unwrap();
            }
            Self::Batch => receive_batches(receiver, drops, got).await,
            _ => {
                while let Some(message) = self.receive(&mut receiver, drops).await {
                    got(message);
                }
            }
        }
    }

    async fn receive(self, receiver: &mut Receiver, drops: &Drops) -> Option<Bytes> {
        match self {
            Self::Stream => {
                let next = async || poll_fn(|c| Pin::new(&mut *receiver).poll_next(c)).await;
                persist(drops, next).await.transpose().unwrap()
            }
            Self::PlantedWaitsAfter => {
                let receive = async || {
                    let message = receiver.recv().await.unwrap();
                    turn().await;
                    message
                };
                persist(drops, receive).await
            }
            Self::PlantedSleeps => {
                let receive = async || {
                    let message = receiver.try_recv().unwrap();
                    match message {
                        Some(message) => message,
                        None => std::future::pending().await,
                    }
                };
                Some(persist(drops, receive).await)
            }
            _ => persist(drops, async || receiver.recv().await)
                .await
                .unwrap(),
        }
    }

    async fn receive_all_manual(
        self,
        mut receiver: ManualReceiver,
        drops: &Drops,
        mut got: impl FnMut(Bytes),
    ) {
        if self == Self::ManualCallback {
            let call = async || {
                let called = receiver.on_message(|message| {
                    got(message.payload().clone());
                    Ok(())
                });
                called.await
            };
            return persist(drops, call).await.unwrap();
        }
        while let Some(message) = self.receive_manual(&mut receiver, drops).await {
            got(message.handled());
        }
    }

    async fn receive_manual(
        self,
        receiver: &mut ManualReceiver,
        drops: &Drops,
    ) -> Option<Delivery> {
        if self == Self::ManualStream {
            let next = async || poll_fn(|c| Pin::new(&mut *receiver).poll_next(c)).await;
            return persist(drops, next).await.transpose().unwrap();
        }
        persist(drops, async || receiver.recv().await)
            .await
            .unwrap()
    }
}

async fn receive_batches(mut receiver: Receiver, drops: &Drops, mut got: impl FnMut(Bytes)) {
    let mut batch = Vec::new();
    loop {
        let receive = async || receiver.recv_batch(&mut batch, 2).await;
        let count = persist(drops, receive).await.unwrap();
        assert_eq!(count, batch.len());
        if count == 0 {
            return;
        }
        batch.drain(..).for_each(&mut got);
    }
}
