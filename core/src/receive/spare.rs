//! The memory of long messages, for those that follow.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use super::assembly::first_memory;
use crate::bound::{Bound, SHARED};
use crate::channel::ReceiveChannel;

/// Messages that are shorter cost more to remember than fresh memory costs.
const LEAST: usize = 32 * 1024;
/// How many are remembered.
const COUNT: usize = 4;
/// How much memory is kept for a channel at most, in bytes, whatever its window.
const MOST: usize = 8 << 20;

/// The memory of long messages that the application has dropped. Fresh memory of that length comes
/// from the operating system, page by page, each time.
///
/// A message is remembered when it arrives, and its memory is used again once nobody else has it: so
/// nothing is kept of what the application keeps.
///
/// It makes no difference to anything that a link does, so two links that differ by this alone are
/// equal, and a clone has none.
#[derive(Debug)]
pub(super) struct Spare {
    /// The newest last.
    messages: VecDeque<Bytes>,
    bytes: usize,
    most: usize,
}

impl Spare {
    pub(super) fn new(config: &ReceiveChannel) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            most: most(config),
        }
    }

    /// Remembers a message that has arrived.
    pub(super) fn keep(&mut self, message: &Bytes) {
        let length = message.len();
        if !(LEAST..=self.most).contains(&length) {
            return;
        }
        while self.messages.len() >= COUNT || self.bytes + length > self.most {
            self.forget_oldest();
        }
        self.bytes += length;
        self.messages.push_back(message.clone());
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.messages.pop_front() {
            self.bytes -= oldest.len();
        }
    }

    /// Returns memory for a message that begins. The peer announces its length: where there is none
    /// to use again, that of a long message grows only as it arrives.
    pub(super) fn memory(&mut self, total: usize) -> Vec<u8> {
        // No more than a quarter is wasted.
        let fits = |message: &Bytes| {
            (total..=total.saturating_add(total / 4)).contains(&message.len())
                && message.is_unique()
        };
        let found = self.messages.iter().position(fits);
        match found.and_then(|at| self.messages.remove(at)) {
            Some(mut message) => {
                self.bytes -= message.len();
                // So nothing is copied below.
                message.clear();
                Vec::from(message)
            }
            None => first_memory(total),
        }
    }

    /// Releases what nobody else has.
    pub(super) fn release_memory(&mut self) {
        self.messages = VecDeque::new();
        self.bytes = 0;
    }

    /// Returns the most memory that is kept for later messages, and wasted in those that wait.
    pub(super) fn bound(config: &ReceiveChannel) -> Bound {
        Bound::default()
            .bytes(most(config))
            .bytes(config.window_bytes / 4)
            .bytes(COUNT * SHARED)
            .list::<Bytes>(COUNT)
    }
}

/// Returns how much memory is kept at most, in bytes.
fn most(config: &ReceiveChannel) -> usize {
    (config.window_bytes / 2).min(MOST)
}

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            most: self.most,
        }
    }
}

impl PartialEq for Spare {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spare {}

impl Hash for Spare {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare() -> Spare {
        Spare::new(&ReceiveChannel::new("main").window(10, 1 << 20))
    }

    fn message(length: usize) -> Bytes {
        Bytes::from(alloc::vec![7; length])
    }

    fn place(memory: &[u8]) -> usize {
        memory.as_ptr() as usize
    }

    #[test]
    fn memory_is_used_again_once_the_message_is_dropped() {
        let mut spare = spare();
        let first = message(LEAST);
        let known = place(&first);
        spare.keep(&first);
        assert_ne!(place(&spare.memory(LEAST)), known, "it is not dropped yet");
        drop(first);
        assert_eq!(
            spare.memory(LEAST + 1).capacity(),
            LEAST + 1,
            "it is too short"
        );
        let short = LEAST * 4 / 5;
        assert_eq!(
            spare.memory(short - 1).capacity(),
            short - 1,
            "it is too long"
        );
        let again = spare.memory(short + 1);
        assert_eq!((place(&again), again.len()), (known, 0));
        assert_eq!(again.capacity(), LEAST);
        assert_ne!(place(&spare.memory(short + 1)), known, "it is used");
    }

    #[test]
    fn little_is_kept() {
        let mut spare = spare();
        for length in [LEAST - 1, (1 << 19) + 1] {
            spare.keep(&message(length));
            assert_eq!(spare.bytes, 0);
        }
        for length in [LEAST, 1 << 19, 1 << 18, LEAST, LEAST, LEAST, LEAST] {
            spare.keep(&message(length));
            let kept: usize = spare.messages.iter().map(Bytes::len).sum();
            assert_eq!(spare.bytes, kept);
            assert!(kept <= 1 << 19 && spare.messages.len() <= COUNT);
        }
        assert_eq!(spare.messages.len(), COUNT);
        spare.release_memory();
        assert_eq!(spare.bytes, 0);
    }
}
