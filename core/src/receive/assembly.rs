//! Messages that come in parts.

use alloc::vec::Vec;

/// The most memory that a message gets before it has arrived.
const FIRST_MEMORY: usize = 1 << 20;

/// A message of which a part has arrived.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Assembly {
    pub(super) total: usize,
    pub(super) data: Vec<u8>,
    /// What is missing of the current frame.
    pub(super) frame_left: usize,
    /// Whether the current frame is the message's last.
    pub(super) last: bool,
}

impl Assembly {
    /// Appends what has arrived.
    pub(super) fn append(&mut self, data: &[u8]) {
        append(&mut self.data, data, self.total);
    }
}

/// Appends what has arrived of at most `most` bytes. The memory grows with it, twofold and never
/// beyond those.
pub(crate) fn append(memory: &mut Vec<u8>, data: &[u8], most: usize) {
    let needed = memory.len() + data.len();
    if needed > memory.capacity() {
        let target = memory.capacity().saturating_mul(2).min(most);
        memory.reserve_exact(target.max(needed) - memory.len());
    }
    memory.extend_from_slice(data);
}

/// The memory that a message gets when it begins. Its length is the peer's word, so a long one
/// gets the rest only as it arrives.
pub(super) fn first_memory(total: usize) -> Vec<u8> {
    Vec::with_capacity(total.min(FIRST_MEMORY))
}
