//! Messages preceded by their length.

use super::partial::Partial;
use super::{JoinError, SplitError};

/// The size of a length, in bytes.
const PREFIX: usize = 4;

#[derive(Debug)]
pub(super) struct Length {
    /// The bytes of the prefix so far: the first `prefix_len` of them.
    prefix: [u8; PREFIX],
    prefix_len: usize,
    body: Partial,
}

impl Length {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            prefix: [0; PREFIX],
            prefix_len: 0,
            body: Partial::new(limit),
        }
    }

    pub(super) fn next_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, SplitError> {
        let Some(announced) = self.read_prefix(input)? else {
            return Ok(None);
        };
        let count = input.len().min(announced - self.body.len());
        self.body.take(input, count)?;
        if self.body.len() < announced {
            return Ok(None);
        }
        self.prefix_len = 0;
        Ok(Some(self.body.complete(PREFIX as u64)))
    }

    /// Returns the length of the current message, once its prefix is complete and allowed.
    fn read_prefix(&mut self, input: &mut &[u8]) -> Result<Option<usize>, SplitError> {
        let count = input.len().min(PREFIX - self.prefix_len);
        let (taken, rest) = input.split_at(count);
        self.prefix[self.prefix_len..self.prefix_len + count].copy_from_slice(taken);
        self.prefix_len += count;
        *input = rest;
        if self.prefix_len < PREFIX {
            return Ok(None);
        }
        let announced = u32::from_be_bytes(self.prefix);
        match usize::try_from(announced) {
            Ok(length) if length <= self.body.limit() => Ok(Some(length)),
            _ => Err(SplitError::LengthTooLarge {
                offset: self.body.start(),
                announced,
                limit: self.body.limit(),
            }),
        }
    }

    pub(super) fn finish(self) -> Result<(), SplitError> {
        let prefix_len = self.prefix_len as u64;
        match self.prefix_len {
            0 => Ok(()),
            PREFIX => Err(self
                .body
                .truncated(prefix_len, "fewer bytes than its length announces")),
            _ => Err(self
                .body
                .truncated(prefix_len, "its length of four bytes is incomplete")),
        }
    }
}

/// Returns what precedes a message of `length` bytes in the stream.
pub(super) fn prefix(length: u64) -> Result<[u8; PREFIX], JoinError> {
    u32::try_from(length)
        .map(u32::to_be_bytes)
        .map_err(|_| JoinError::TooLong { length })
}
