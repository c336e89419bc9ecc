//! The memory of short messages.

use bytes::{Bytes, BytesMut};

use crate::bound::{Bound, SHARED};
use crate::config::{Acking, ChannelConfig};

/// The longest piece of memory that messages share.
const LONGEST_CHUNK: usize = 16_384;
/// The shortest that is worth it.
const LEAST_CHUNK: usize = 256;
/// A window holds at least this many.
const CHUNKS: usize = 4;
/// Messages up to this part of a chunk share one.
const SHARE: usize = 4;

/// Where short messages of one channel are copied to, side by side.
///
/// A message that is kept keeps its chunk, so chunks are cut such that a peer can't have more kept
/// than [`Pool::bound`] says: a third more than the window, and a few chunks. On an `Auto` channel
/// messages leave the link in the order in which they lie in the chunks, so what is kept lies
/// side by side. On a `Manual` one they go in any order, and all that lies between two of
/// a window may be kept by them: there the chunks for as many messages as the window has are as
/// long as the window, and each message takes a quarter of one at most.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pool {
    memory: BytesMut,
    /// Zero where nothing is shared.
    chunk: usize,
    /// The longest message that shares.
    longest: usize,
}

impl Pool {
    pub(crate) fn new(config: &ChannelConfig) -> Self {
        let chunk = chunk(config);
        Self {
            memory: BytesMut::new(),
            chunk,
            longest: chunk / SHARE,
        }
    }

    #[inline(always)]
    pub(crate) fn copy(&mut self, data: &[u8]) -> Bytes {
        if data.is_empty() {
            return Bytes::new();
        }
        if data.len() > self.longest {
            return Bytes::copy_from_slice(data);
        }
        if self.memory.capacity() < data.len() {
            self.memory.reserve(self.chunk);
        }
        self.memory.extend_from_slice(data);
        self.memory.split().freeze()
    }

    pub(crate) fn release_memory(&mut self) {
        self.memory = BytesMut::new();
    }

    /// The most memory that messages within the window of a channel can keep, and the pool itself.
    pub(crate) fn bound(config: &ChannelConfig) -> Bound {
        let window = config.window_bytes;
        let messages = usize::try_from(config.window_messages).unwrap_or(usize::MAX);
        let chunk = chunk(config);
        if chunk == 0 {
            return Bound::default().bytes(window);
        }
        // Of each full chunk less than a share is unused.
        let share = chunk / SHARE;
        let chunks = |filled: usize| (filled / (chunk - share) + 1).min(messages);
        let (full, unused) = match config.acking {
            Acking::Auto => (chunks(window), share),
            Acking::Manual => (chunks(messages.saturating_mul(share)), chunk),
        };
        // The first may have been taken in part, the last is not full, and the pool may keep one
        // that is.
        Bound::default()
            .bytes(window)
            .bytes(full.saturating_mul(unused))
            .bytes(3 * chunk)
            .bytes((full + 3).saturating_mul(SHARED))
    }
}

/// How long the chunks of a channel are.
fn chunk(config: &ChannelConfig) -> usize {
    let window = config.window_bytes;
    let chunk = match config.acking {
        Acking::Auto => window / CHUNKS,
        Acking::Manual => window / usize::try_from(config.window_messages).unwrap_or(usize::MAX),
    };
    if chunk < LEAST_CHUNK {
        0
    } else {
        chunk.min(LONGEST_CHUNK)
    }
}
