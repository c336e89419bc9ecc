//! Many messages at once: what is the same for all of them is looked at once.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::{Entry, SendHalf};
use crate::channel::Policy;
use crate::spent::Spent;
use crate::{Instant, SendError};

impl SendHalf {
    /// Accepts messages off the front of `messages`, as [`SendHalf::accept`] does. Returns how many,
    /// and why not all.
    pub(crate) fn accept_batch(
        &mut self,
        messages: &mut VecDeque<Bytes>,
        accepted: Instant,
        spent: &mut Spent,
    ) -> (u64, Option<SendError>) {
        let first = self.next;
        let mut refused = None;
        if self.policy == Policy::Reliable {
            self.accept_while_room(messages, accepted);
        }
        // The rest: those that replace each other, and the first for which there is no room.
        while let Some(message) = messages.pop_front() {
            if let Err((message, why)) = self.accept(message, accepted, Instant::NEVER, spent) {
                messages.push_front(message);
                refused = Some(why);
                break;
            }
        }
        (self.next - first, refused)
    }

    fn accept_while_room(&mut self, messages: &mut VecDeque<Bytes>, accepted: Instant) {
        let kept = self.store.len() + self.verdicts.len();
        let most = self.queue_messages.saturating_sub(kept);
        let room = self.queue_bytes.saturating_sub(self.stored_bytes);
        let longest = self.max_message;
        let (mut sequence, mut left) = (self.next, room);
        let count = most.min(messages.len());
        for _ in 0..count {
            let fits = |message: &Bytes| message.len() <= longest && message.len() <= left;
            if !messages.front().is_some_and(fits) {
                break;
            }
            let Some(message) = messages.pop_front() else {
                break;
            };
            left -= message.len();
            let entry = Entry::new(sequence, message, accepted, Instant::NEVER);
            self.store.push_back(entry);
            sequence += 1;
        }
        self.next = sequence;
        self.stored_bytes += room - left;
    }
}
