//! Buffers whose memory comes from a pool of the thread, until they are released empty.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

/// The length of a pooled piece of memory, in bytes: four TLS records and their overhead.
pub(crate) const LENGTH: usize = 4 * 16_384 + 1024;
/// How many pieces the pool of a thread keeps.
const KEPT: usize = 4;
/// How many pieces the pool of all waiting threads keeps.
const SHARED_KEPT: usize = 16;

/// The pool of the threads that wait.
static SHARED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that have been read and not used, or written and not sent.
///
/// An empty buffer holds no memory once [`release`](Self::release) was called, so idle links hold
/// none. Pooled memory is initialised over its whole length, so that reading into it costs no
/// zeroing.
///
/// ```
/// use countersign_endpoint::Buffer;
///
/// let mut buffer = Buffer::default();
/// buffer.space(3)[..3].copy_from_slice(b"abc");
/// buffer.commit(3);
/// buffer.consume(1);
/// assert_eq!(buffer.filled(), b"bc");
/// ```
#[derive(Default)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Returns the content.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Returns the content, to change it in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// Whether the buffer is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Removes the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.consume(self.end - self.start);
    }

    /// Adds a copy of `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.commit(bytes.len());
    }

    /// Returns room for at least `least` bytes after the content.
    pub fn space(&mut self, least: usize) -> &mut [u8] {
        if self.memory.is_empty() {
            self.memory = SPARE
                .with_borrow_mut(Vec::pop)
                .or_else(|| SHARED.lock().unwrap_or_else(PoisonError::into_inner).pop())
                .unwrap_or_else(|| vec![0; LENGTH]);
        }
        if self.memory.len() - self.end < least {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.memory.len() - self.end < least {
            self.memory.resize(self.end + least, 0);
        }
        &mut self.memory[self.end..]
    }

    /// Adds the first `count` bytes of the space to the content.
    pub fn commit(&mut self, count: usize) {
        self.end = (self.end + count).min(self.memory.len());
    }

    /// Passes `read` at least `least` bytes of space after the content, and adds as many bytes to
    /// the content as it returns.
    ///
    /// # Errors
    ///
    /// Returns the error of `read`.
    pub fn fill<E>(
        &mut self,
        least: usize,
        read: impl FnOnce(&mut [u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<usize, E>> {
        let result = read(self.space(least));
        if let Poll::Ready(Ok(count)) = result {
            self.commit(count);
        }
        result
    }

    /// Passes `write` the content, and removes as many bytes from its front as it returns.
    ///
    /// # Errors
    ///
    /// Returns the error of `write`.
    pub fn drain<E>(
        &mut self,
        write: impl FnOnce(&[u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<usize, E>> {
        let result = write(self.filled());
        if let Poll::Ready(Ok(count)) = result {
            self.consume(count);
        }
        result
    }

    /// Returns the memory, for an operating system that keeps it during a transfer, and the range
    /// of the content in it. The memory is initialised over its whole length.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Range<usize>) {
        (self.memory, self.start..self.end)
    }

    /// Takes memory with the content in this range, such as [`Buffer::into_parts`] returns and a
    /// transfer has filled further.
    ///
    /// # Panics
    ///
    /// Panics if the range is not within the memory.
    #[must_use]
    pub fn from_parts(memory: Vec<u8>, filled: Range<usize>) -> Self {
        assert!(filled.start <= filled.end && filled.end <= memory.len());
        let Range { start, end } = filled;
        Self { memory, start, end }
    }

    /// Returns the memory to the pool if the buffer is empty.
    pub fn release(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            let memory = std::mem::take(&mut self.memory);
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < KEPT && memory.len() == LENGTH {
                    spare.push(memory);
                }
            });
        }
    }

    /// Moves the thread's pooled memory to the pool of all threads: for a thread that is about to
    /// wait, and is one of many, as where each link has a thread.
    pub fn share_spare() {
        SPARE.with_borrow_mut(|spare| {
            if !spare.is_empty() {
                let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
                let room = SHARED_KEPT.saturating_sub(shared.len());
                shared.extend(spare.drain(..room.min(spare.len())));
            }
            spare.clear();
            spare.shrink_to_fit();
        });
    }
}

impl fmt::Debug for Buffer {
    /// Leaves the bytes out, which may be many and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("filled", &self.filled().len())
            .field("memory", &self.memory.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_keeps_nothing() {
        let mut buffers: Vec<_> = (0..KEPT + 1).map(|_| Buffer::default()).collect();
        for _ in 0..2 * SHARED_KEPT {
            for buffer in &mut buffers {
                assert_eq!(buffer.space(1).len(), LENGTH);
            }
            buffers.iter_mut().for_each(Buffer::release);
            assert_eq!(SPARE.with_borrow(Vec::len), KEPT);
            Buffer::share_spare();
            assert_eq!(SPARE.with_borrow(Vec::len), 0);
            assert!(SHARED.lock().unwrap().len() <= SHARED_KEPT);
        }
    }

    #[test]
    fn its_debug_output_keeps_the_bytes_to_itself() {
        let mut buffer = Buffer::default();
        buffer.space(2)[..2].copy_from_slice(b"no");
        buffer.commit(2);
        let text = format!("{buffer:?}");
        assert_eq!(text, format!("Buffer {{ filled: 2, memory: {LENGTH} }}"));
    }

    #[test]
    fn grows_moves_and_gives_back() {
        let mut buffer = Buffer::default();
        buffer.space(1).fill(7);
        buffer.commit(LENGTH);
        buffer.consume(LENGTH - 2);
        assert_eq!(
            buffer.space(LENGTH - 2).len(),
            LENGTH - 2,
            "what is left moves to the front"
        );
        assert_eq!(
            buffer.space(LENGTH).len(),
            LENGTH,
            "it grows past the lent length"
        );
        assert_eq!(buffer.filled(), [7, 7]);
        buffer.consume(2);
        buffer.release();
        assert!(buffer.memory.is_empty());
    }
    #[test]
    fn memory_goes_away_and_comes_back() {
        let mut buffer = Buffer::default();
        buffer.space(4)[..4].copy_from_slice(b"abcd");
        buffer.commit(4);
        buffer.consume(1);
        let (mut memory, filled) = buffer.into_parts();
        memory[filled.end] = b'e';
        let mut buffer = Buffer::from_parts(memory, filled.start..filled.end + 1);
        assert_eq!(buffer.filled(), b"bcde");
        buffer.consume(4);
        buffer.release();
        assert!(SPARE.with_borrow(|spare| spare.len() == 1), "lent again");
    }
}
