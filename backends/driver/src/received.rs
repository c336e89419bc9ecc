//! Messages that were received, and how old they are.

use std::fmt;
use std::ops::Deref;

use countersign_core::{Age, Bytes, Message, Sequence};

use crate::clock::Clock;
use crate::receiver::Delivery;

/// A message with what is known of it, as [`Receiver::recv_message`](crate::Receiver::recv_message)
/// returns it. Dereferences to its payload.
#[derive(Clone)]
pub struct Received {
    message: Message,
    clock: Clock,
}

impl Received {
    pub(crate) fn new(message: Message, clock: Clock) -> Self {
        Self { message, clock }
    }

    /// Returns the message's sequence number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.message.sequence
    }

    /// Returns the payload, which is cheap to clone.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Returns the payload.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.message.payload
    }

    /// Returns how old the message is at this moment, between two bounds; `None` if its sender has
    /// not said when it sent it. It does so for messages that are good for a limited time, and on
    /// channels whose receiver has declared a [`lease`](countersign_core::ReceiveChannel::lease).
    #[must_use]
    pub fn age(&self) -> Option<Age> {
        self.message.age(self.clock.now())
    }
}

impl fmt::Debug for Received {
    /// Leaves the message out, which may be long and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("sequence", &self.message.sequence)
            .field("length", &self.message.payload.len())
            .field("age", &self.age())
            .finish()
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message.payload
    }
}

/// A reply was longer than its channel allows: the message, which still waits to be handled or
/// rejected. Dropping this rejects it.
pub struct ReplyTooLong {
    /// The message.
    pub delivery: Delivery,
    /// The longest reply in bytes: the smaller limit of both ends
    /// ([`max_reply`](countersign_core::ReceiveChannel::max_reply)).
    pub limit: usize,
}

countersign_core::debug_as_display!(ReplyTooLong);

impl fmt::Display for ReplyTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        countersign_core::ReceiveError::ReplyTooLong { limit }.fmt(f)
    }
}

impl std::error::Error for ReplyTooLong {}
