//! The memory of long messages, for those that follow.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use super::assembly::first_memory;
use crate::bound::{Bound, SHARED};
use crate::channel::ReceiveChannel;
use crate::config::Dialect;

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
    places: VecDeque<Place>,
    bytes: usize,
    most: usize,
}

/// The memory of a message.
#[derive(Debug)]
struct Place {
    message: Bytes,
    /// How long the memory is, which the message may fill in part. What is used again and again is
    /// measured by this, or a little would be wasted each time.
    length: usize,
}

impl Spare {
    pub(super) fn new(config: &ReceiveChannel, dialect: Dialect) -> Self {
        Self {
            places: VecDeque::new(),
            bytes: 0,
            most: most(config, dialect),
        }
    }

    /// Makes a message of what has arrived, and remembers its memory.
    pub(super) fn share(&mut self, memory: Vec<u8>) -> Bytes {
        let length = memory.capacity();
        let message = Bytes::from(memory);
        if (LEAST..=self.most).contains(&length) {
            self.keep(message.clone(), length);
        }
        message
    }

    fn keep(&mut self, message: Bytes, length: usize) {
        while self.places.len() >= COUNT || self.bytes + length > self.most {
            self.forget_oldest();
        }
        self.bytes += length;
        self.places.push_back(Place { message, length });
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.places.pop_front() {
            self.bytes -= oldest.length;
        }
    }

    /// Returns memory for a message that begins. The peer announces its length: where there is none
    /// to use again, that of a long message grows only as it arrives.
    pub(super) fn memory(&mut self, total: usize) -> Vec<u8> {
        // No more than a quarter is wasted.
        let lengths = total..=total.saturating_add(total / 4);
        let fits = |place: &Place| lengths.contains(&place.length) && place.message.is_unique();
        let found = self.places.iter().position(fits);
        let Some(Place {
            mut message,
            length,
        }) = found.and_then(|at| self.places.remove(at))
        else {
            return first_memory(total);
        };
        self.bytes -= length;
        // Next to nothing is copied so. An empty one would give its memory back.
        message.truncate(1);
        let mut memory = Vec::from(message);
        memory.clear();
        memory
    }

    /// Releases what nobody else has.
    pub(super) fn release_memory(&mut self) {
        self.places = VecDeque::new();
        self.bytes = 0;
    }

    /// Returns the most memory that is kept for later messages, and wasted in those that wait.
    pub(super) fn bound(config: &ReceiveChannel, dialect: Dialect) -> Bound {
        match most(config, dialect) {
            0 => Bound::default(),
            most => Bound::default()
                .bytes(most)
                .bytes(config.window_bytes / 4)
                .bytes(COUNT * SHARED)
                .list::<Place>(COUNT),
        }
    }
}

/// Returns how much memory is kept at most, in bytes.
fn most(config: &ReceiveChannel, dialect: Dialect) -> usize {
    match dialect {
        Dialect::Countersign => (config.window_bytes / 2).min(MOST),
        // It has no pings, by which an idle link releases memory.
        Dialect::TlsStream => 0,
    }
}

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self {
            places: VecDeque::new(),
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
        let config = ReceiveChannel::new("main").window(10, 1 << 20);
        Spare::new(&config, Dialect::Countersign)
    }

    /// Makes a message of this length in this memory.
    fn share(spare: &mut Spare, mut memory: Vec<u8>, length: usize) -> Bytes {
        memory.resize(length, 7);
        spare.share(memory)
    }

    fn place(memory: &[u8]) -> usize {
        memory.as_ptr() as usize
    }

    #[test]
    fn memory_is_used_again_once_the_message_is_dropped() {
        let mut spare = spare();
        let first = share(&mut spare, Vec::with_capacity(LEAST), LEAST);
        let known = place(&first);
        assert_ne!(place(&spare.memory(LEAST)), known, "it is not dropped yet");
        drop(first);
        let longer = spare.memory(LEAST + 1);
        assert_eq!(longer.capacity(), LEAST + 1, "it is too short");
        let short = LEAST * 4 / 5;
        let shorter = spare.memory(short - 1);
        assert_eq!(shorter.capacity(), short - 1, "it is too long");
        let again = spare.memory(short + 1);
        assert_eq!((place(&again), again.len()), (known, 0));
        assert_eq!(again.capacity(), LEAST);
        assert_ne!(place(&spare.memory(short + 1)), known, "it is used");
    }

    #[test]
    fn what_is_used_again_and_again_is_not_wasted_more_each_time() {
        let mut spare = spare();
        let mut length = 1 << 18;
        while length >= LEAST {
            let memory = spare.memory(length);
            assert!(memory.capacity() <= length + length / 4, "{length}");
            drop(share(&mut spare, memory, length));
            length = length * 4 / 5 + 1;
        }
    }

    #[test]
    fn little_is_kept() {
        let mut spare = spare();
        for length in [LEAST - 1, (1 << 19) + 1] {
            share(&mut spare, Vec::with_capacity(length), length);
            assert_eq!(spare.bytes, 0);
        }
        for length in [LEAST, 1 << 19, 1 << 18, LEAST, LEAST, LEAST, LEAST] {
            share(&mut spare, Vec::with_capacity(length), length);
            let kept: usize = spare.places.iter().map(|place| place.length).sum();
            assert_eq!(spare.bytes, kept);
            assert!(kept <= 1 << 19 && spare.places.len() <= COUNT);
        }
        assert_eq!(spare.places.len(), COUNT);
        spare.release_memory();
        assert_eq!(spare.bytes, 0);
    }
}
