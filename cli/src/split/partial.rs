//! The message that is being read.

use super::SplitError;

/// The bytes of a message so far, where it starts, and how large it may get.
#[derive(Debug)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    start: u64,
    limit: usize,
}

impl Partial {
    /// Returns an empty message at the start of the stream.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            limit,
        }
    }

    /// Returns how many bytes there are so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns where in the stream the message starts.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the size of the largest message that is accepted.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Moves the start of the message `count` bytes on. None of it was taken yet.
    pub(super) fn skip(&mut self, count: u64) {
        self.start += count;
    }

    /// Moves the first `count` bytes of `input` into the message.
    pub(super) fn take(&mut self, input: &mut &[u8], count: usize) -> Result<(), SplitError> {
        if count > self.limit - self.bytes.len() {
            return Err(SplitError::TooLarge {
                offset: self.start,
                limit: self.limit,
            });
        }
        let (taken, rest) = input.split_at(count);
        self.bytes.extend_from_slice(taken);
        *input = rest;
        Ok(())
    }

    /// Completes the message: returns it and starts the next one, after `around` bytes that the
    /// stream has for it besides its content.
    pub(super) fn complete(&mut self, around: u64) -> Vec<u8> {
        self.start += self.bytes.len() as u64 + around;
        std::mem::take(&mut self.bytes)
    }

    /// Returns the error for a stream that ended here: after the message's bytes so far, and
    /// `around` bytes that are not part of the message.
    pub(super) fn truncated(&self, around: u64, missing: &'static str) -> SplitError {
        let end = self.start + around + self.bytes.len() as u64;
        SplitError::Truncated {
            offset: self.start,
            end,
            missing,
        }
    }
}
