//! Bytes as they come, one message for each read.

/// The largest message in bytes, even if the maximum is larger.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Bytes {
    most: usize,
}

impl Bytes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            most: limit.clamp(1, MOST),
        }
    }

    pub(super) fn next_message(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        if input.is_empty() {
            return None;
        }
        let (message, rest) = input.split_at(input.len().min(self.most));
        *input = rest;
        Some(message.to_vec())
    }
}
