//! Many messages at once: what is the same for all of them is looked at once.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{MAX_SEQUENCE, ReceiveHalf};
use crate::Instant;
use crate::channel::Acking;
use crate::wire::{MESSAGE_HEAD, MessageHead};

impl ReceiveHalf {
    /// Begins messages at the front of `input`, and removes them, as long as each is whole, short
    /// and like the one before. Whatever is anything else is left to [`ReceiveHalf::begin`], which
    /// has begun one of them just before: nothing is a violation here, and nothing needs new memory.
    #[inline]
    pub(crate) fn begin_following(&mut self, input: &mut &[u8], frame_limit: usize) {
        // With `Manual`, the memory that a message keeps counts for more: see `Pool`.
        let follows = self.acking == Acking::Auto && !self.abandoned && self.assembly.is_none();
        if !follows || input.len() < MESSAGE_HEAD {
            return;
        }
        let (space, longest) = self.queue.room_for_frames();
        let space = space.min(input.len());
        let longest = longest.min(self.max_message);
        let window = self.window_left();
        let waiting = self.queue.len() + self.taken.len();
        let most = self.window_messages.saturating_sub(waiting) as u64;
        let last = self.received.saturating_add(most);
        let last = last.min(self.last.unwrap_or(MAX_SEQUENCE));
        let before = self.received;
        let (mut end, mut length, mut received) = (0, 0, before);
        while received < last
            && let Some(head) = MessageHead::decode_whole(&input[end..], frame_limit)
        {
            let whole = MESSAGE_HEAD + head.length;
            let fits = head.length <= longest && whole <= space - end;
            // The wire carries the low half.
            #[expect(clippy::cast_possible_truncation)]
            let expected = (received + 1) as u32;
            let is_next = head.channel == self.wire && head.sequence == expected;
            if !fits || !is_next || head.length > window - length {
                break;
            }
            end += whole;
            length += head.length;
            received += 1;
        }
        let (frames, rest) = input.split_at(end);
        // A chunk of memory holds far fewer.
        let count = u32::try_from(received - before).unwrap_or(u32::MAX);
        self.queue.push_frames(before + 1, count, frames);
        *input = rest;
        self.received = received;
        self.held_bytes += length;
    }

    /// Takes up to `limit` messages where [`ReceiveHalf::takes_slowly`] is false and taking handles
    /// them. Returns how many.
    pub(crate) fn take_batch(
        &mut self,
        now: Instant,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> usize {
        let count = limit.min(self.queue.len());
        if count == 0 {
            return 0;
        }
        let before = messages.len();
        self.queue.pop_batch(count, messages);
        let bytes = messages[before..].iter().map(Bytes::len).sum();
        self.delivered += count as u64;
        self.held_bytes -= bytes;
        self.unacked_bytes = self.unacked_bytes.saturating_add(bytes);
        self.advance(now);
        count
    }

    /// Whether taking a message handles it.
    pub(crate) fn is_auto(&self) -> bool {
        self.acking == Acking::Auto
    }
}
