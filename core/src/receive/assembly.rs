//! Messages that arrive in parts.

use alloc::vec::Vec;

/// The most memory that is allocated for a message when it begins, in bytes.
const FIRST_MEMORY: usize = 1 << 20;

/// A message that has arrived in part.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Assembly {
    pub(super) total: usize,
    pub(super) data: Vec<u8>,
    /// How many bytes of the current frame are missing.
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

/// Appends what has arrived of at most `most` bytes. The memory grows twofold, and never beyond
/// those.
pub(crate) fn append(memory: &mut Vec<u8>, data: &[u8], most: usize) {
    let needed = memory.len() + data.len();
    if needed > memory.capacity() {
        let target = memory.capacity().saturating_mul(2).min(most);
        memory.reserve_exact(target.max(needed) - memory.len());
    }
    memory.extend_from_slice(data);
}

/// Returns the memory for a message that begins. The peer announces its length, so the memory of a
/// long one grows only as it arrives.
pub(super) fn first_memory(total: usize) -> Vec<u8> {
    Vec::with_capacity(total.min(FIRST_MEMORY))
}
