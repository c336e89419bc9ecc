//! The limits of a capture, and what is in it.

use std::io;

/// The default limit of a capture, in bytes: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;
/// The smallest limit that a capture can have, in bytes.
pub const MIN_LIMIT: u64 = 4096;
/// How many bytes may wait to be written, besides as many that are being written: 32 MiB. A capture
/// ends if its file takes bytes more slowly than links produce them.
pub const QUEUE: usize = 32 << 20;

/// The limit of a capture, and whether payloads are in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    pub(crate) limit: u64,
    pub(crate) payloads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            payloads: false,
        }
    }
}

impl Options {
    /// Returns the defaults: [`DEFAULT_LIMIT`], and no payloads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most bytes of the capture, [`MIN_LIMIT`] at least. When they are full, the capture
    /// ends, so that what was recorded can be played back; nothing else ends.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets whether the payloads of messages are in the capture. Without them, their lengths are,
    /// and everything around them.
    #[must_use]
    pub fn payloads(mut self, payloads: bool) -> Self {
        self.payloads = payloads;
        self
    }

    pub(crate) fn check(self) -> io::Result<()> {
        if self.limit < MIN_LIMIT {
            let text = format!("a capture's limit is {MIN_LIMIT} bytes at least");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}
