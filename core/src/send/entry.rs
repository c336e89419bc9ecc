//! A message from its acceptance to the end of all that is known of it.

use bytes::Bytes;

use crate::{Instant, Sequence};

/// A message without a verdict, or one with an answer that the receiver has not acknowledged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: Sequence,
    /// When it was accepted.
    pub(super) accepted: Instant,
    pub(super) expires: Instant,
    content: Content,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Content {
    Payload(Bytes),
    Answered(Answered),
}

/// What is left of a message whose verdict came in a frame of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Answered {
    /// The payload's length.
    length: usize,
    /// Whether the answer has to be noted on this connection: the message is in `to_note`.
    pub(super) note_pending: bool,
    /// Whether the answer was noted, on this connection or an earlier one. Until then the receiver
    /// can't know that this end knows of it.
    pub(super) noted: bool,
}

impl Entry {
    #[inline(always)]
    pub(super) fn new(
        sequence: Sequence,
        payload: Bytes,
        accepted: Instant,
        expires: Instant,
    ) -> Self {
        Self {
            sequence,
            accepted,
            expires,
            content: Content::Payload(payload),
        }
    }

    /// Returns the payload, empty once the message has its verdict.
    #[inline(always)]
    pub(crate) fn payload(&self) -> &[u8] {
        match &self.content {
            Content::Payload(payload) => payload,
            Content::Answered(_) => &[],
        }
    }

    /// Returns the payload's length, which is kept when an answer drops the payload.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        match &self.content {
            Content::Payload(payload) => payload.len(),
            Content::Answered(answered) => answered.length,
        }
    }

    /// Returns the payload, unless the message has its verdict.
    #[inline(always)]
    pub(super) fn into_payload(self) -> Option<Bytes> {
        match self.content {
            Content::Payload(payload) => Some(payload),
            Content::Answered(_) => None,
        }
    }

    /// Marks the message as answered. Returns its payload, unless it was answered before.
    pub(super) fn answer(&mut self) -> Option<Bytes> {
        let length = self.length();
        let payload = match &self.content {
            Content::Payload(_) => self.take_payload(),
            Content::Answered(_) => None,
        };
        if let Some(answered) = self.answered_mut() {
            answered.length = length;
        }
        payload
    }

    /// Returns the payload of a message that is about to be dropped, unless it has its verdict.
    ///
    /// Taking it out of its place costs less than moving the whole entry.
    #[inline(always)]
    pub(super) fn take_payload(&mut self) -> Option<Bytes> {
        let nothing = Content::Answered(Answered {
            length: 0,
            note_pending: false,
            noted: false,
        });
        match core::mem::replace(&mut self.content, nothing) {
            Content::Payload(payload) => Some(payload),
            Content::Answered(_) => None,
        }
    }

    pub(super) fn answered(&self) -> Option<&Answered> {
        match &self.content {
            Content::Payload(_) => None,
            Content::Answered(answered) => Some(answered),
        }
    }

    pub(super) fn answered_mut(&mut self) -> Option<&mut Answered> {
        match &mut self.content {
            Content::Payload(_) => None,
            Content::Answered(answered) => Some(answered),
        }
    }
}

impl Answered {
    /// Whether the receiver waits for a note, so that it can't have acknowledged the message.
    pub(super) const fn blocks_ack(&self) -> bool {
        self.note_pending || !self.noted
    }
}
