//! Shared memory for short messages.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::bound::{Bound, SHARED};
use crate::channel::{Acking, ReceiveChannel};
use crate::wire::{MESSAGE_HEAD, MessageHead};

/// The longest chunk: a piece of memory that messages share.
const LONGEST_CHUNK: usize = 16_384;
/// The shortest chunk that is worth it.
const LEAST_CHUNK: usize = 256;
/// A window holds at least this many chunks.
const CHUNKS: usize = 4;
/// Messages up to this part of a chunk share one.
const SHARE: usize = 4;

/// Shared memory to which the short messages of one channel are copied, side by side.
///
/// A message that is kept keeps its chunk, so chunks are sized such that a peer can't make the
/// application keep more than [`Pool::bound`] returns: a third more than the window, and a few
/// chunks. On an `Auto` channel messages leave the link in the order in which they lie in the
/// chunks, so what is kept lies side by side, with the heads of frames that were copied as they
/// came. On a `Manual` one they leave in any order, and everything that lies between two messages
/// of a window may be kept by them. There, the chunks for as many messages as the window has are as
/// long as the window, each message takes a quarter of one at most, and heads are left out.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// What is taken next.
    front: Bytes,
    /// Full chunks that follow it.
    full: VecDeque<Bytes>,
    /// The last chunk, with room for more.
    filling: BytesMut,
    /// The length of a chunk; zero if nothing is shared.
    chunk: usize,
    /// The longest message that shares a chunk.
    longest: usize,
}

impl Pool {
    pub(crate) fn new(config: &ReceiveChannel) -> Self {
        Self::cut(chunk(config))
    }

    /// Returns a pool in which nothing is shared.
    pub(crate) fn none() -> Self {
        Self::cut(0)
    }

    fn cut(chunk: usize) -> Self {
        Self {
            front: Bytes::new(),
            full: VecDeque::new(),
            filling: BytesMut::new(),
            chunk,
            longest: chunk / SHARE,
        }
    }

    /// Whether messages of this length share memory.
    #[inline(always)]
    pub(crate) fn shares(&self, length: usize) -> bool {
        length <= self.longest
    }

    /// Copies a message behind those that wait. Returns false if it is too long for that.
    #[inline(always)]
    pub(crate) fn add(&mut self, data: &[u8]) -> bool {
        if !self.shares(data.len()) {
            return false;
        }
        if self.filling.capacity() - self.filling.len() < data.len() {
            self.begin_chunk();
        }
        self.filling.extend_from_slice(data);
        true
    }

    #[cold]
    fn begin_chunk(&mut self) {
        if !self.filling.is_empty() {
            self.full.push_back(self.filling.split().freeze());
        }
        self.filling.reserve(self.chunk);
    }

    /// Returns how many bytes [`Pool::add_frames`] takes, and the longest payload among them.
    #[inline]
    pub(crate) fn room_for_frames(&self) -> (usize, usize) {
        (self.filling.capacity() - self.filling.len(), self.longest)
    }

    /// Copies whole frames behind the messages that wait. There is room for them.
    #[inline]
    pub(crate) fn add_frames(&mut self, frames: &[u8]) {
        debug_assert!(frames.len() <= self.room_for_frames().0);
        self.filling.extend_from_slice(frames);
    }

    /// Takes the first `length` bytes, which were added as one message.
    #[inline(always)]
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        if self.front.len() < length {
            self.next_front();
        }
        self.front.split_to(length)
    }

    /// Takes the first message, which was added with the head of its frame.
    #[inline]
    pub(crate) fn take_framed(&mut self) -> Bytes {
        self.next_framed();
        let end = MESSAGE_HEAD + MessageHead::whole_length(&self.front);
        let message = self.front.slice(MESSAGE_HEAD..end);
        self.advance_front(end);
        message
    }

    /// Does the same with as many as lie in one chunk, `limit` at most. Returns how many.
    #[inline]
    pub(crate) fn take_framed_batch(&mut self, limit: usize, messages: &mut Vec<Bytes>) -> usize {
        self.next_framed();
        let (mut at, mut count) = (0, 0);
        while count < limit && at < self.front.len() {
            let begin = at + MESSAGE_HEAD;
            let end = begin + MessageHead::whole_length(&self.front[at..]);
            messages.push(self.front.slice(begin..end));
            at = end;
            count += 1;
        }
        self.advance_front(at);
        count
    }

    /// Moves on in the front, which is given up at its end: its memory may then be used again.
    #[inline]
    fn advance_front(&mut self, length: usize) {
        self.front.advance(length);
        if self.front.is_empty() {
            self.front = Bytes::new();
        }
    }

    #[inline]
    fn next_framed(&mut self) {
        if self.front.is_empty() {
            self.next_front();
        }
    }

    /// Moves on to the next chunk: messages don't span chunks, so the front is used up.
    #[inline(never)]
    fn next_front(&mut self) {
        let next = self.full.pop_front();
        self.front = next.unwrap_or_else(|| self.filling.split().freeze());
    }

    /// Releases all memory. Nothing may wait.
    pub(crate) fn release_memory(&mut self) {
        self.front = Bytes::new();
        self.full = VecDeque::new();
        self.filling = BytesMut::new();
    }

    /// Returns how many messages that don't share memory fit in a window.
    pub(crate) fn most_alone(config: &ReceiveChannel) -> usize {
        config.window_bytes / (chunk(config) / SHARE + 1)
    }

    /// Returns the most memory that messages within the window of a channel can keep, and the pool
    /// itself.
    pub(crate) fn bound(config: &ReceiveChannel) -> Bound {
        let messages = usize::try_from(config.window_messages).unwrap_or(usize::MAX);
        let chunk = chunk(config);
        if chunk == 0 {
            return Bound::default().bytes(config.window_bytes);
        }
        let heads = match config.acking {
            Acking::Auto => messages.saturating_mul(MESSAGE_HEAD),
            Acking::Manual => 0,
        };
        let window = config.window_bytes.saturating_add(heads);
        // Less than a share of each full chunk is unused.
        let share = chunk / SHARE;
        let chunks = |filled: usize| (filled / (chunk - share) + 1).min(messages);
        let (full, unused) = match config.acking {
            Acking::Auto => (chunks(window), share),
            Acking::Manual => (chunks(messages.saturating_mul(share)), chunk),
        };
        // The first chunk may have been taken in part, the last is not full, and the pool may keep
        // one that is.
        Bound::default()
            .bytes(window)
            .bytes(full.saturating_mul(unused))
            .bytes(3 * chunk)
            .bytes((full + 3).saturating_mul(SHARED))
            .list::<Bytes>(full)
    }
}

/// Returns how long the chunks of a channel are; zero if nothing is shared.
fn chunk(config: &ReceiveChannel) -> usize {
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
