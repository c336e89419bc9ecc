//! Joins messages into a stream.

use super::{JoinError, Way, length};

/// Joins messages into a stream of bytes, as the inverse of a [`Splitter`](super::Splitter).
///
/// A message that is in memory goes through [`join`](Self::join). One that arrives in pieces is
/// written as [`head`](Self::head), followed by the pieces.
///
/// Messages go into the stream unchanged, one after another. [`Way::Lines`] adds no newlines, and
/// [`Way::Jpeg`] doesn't check that it gets pictures: so the stream that was split is restored,
/// whichever of these ways either end uses.
///
/// ```
/// use countersign_cli::split::{Joiner, Way};
///
/// # fn main() -> Result<(), countersign_cli::split::JoinError> {
/// let mut joiner = Joiner::new(Way::Length);
/// let mut out = Vec::new();
/// joiner.join(b"abc", &mut out)?;
/// assert_eq!(out, b"\0\0\0\x03abc");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Joiner {
    way: Way,
    any: bool,
}

impl Joiner {
    /// Returns a joiner at the start of a stream.
    #[must_use]
    pub fn new(way: Way) -> Self {
        Self { way, any: false }
    }

    /// Begins a message of `length` bytes and returns what precedes it, which is empty for most
    /// ways.
    ///
    /// # Errors
    /// The way has no room for a message of that length, or for another message.
    pub fn head(&mut self, length: u64) -> Result<Vec<u8>, JoinError> {
        let head = match self.way {
            Way::Whole if self.any => return Err(JoinError::SecondMessage),
            Way::Length => length::prefix(length)?.to_vec(),
            Way::Bytes | Way::Lines | Way::Jpeg | Way::Whole => Vec::new(),
        };
        self.any = true;
        Ok(head)
    }

    /// Appends one whole message to `out`, with what precedes it.
    ///
    /// # Errors
    /// Like [`head`](Self::head); `out` is unchanged then.
    pub fn join(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), JoinError> {
        let head = self.head(message.len() as u64)?;
        out.extend_from_slice(&head);
        out.extend_from_slice(message);
        Ok(())
    }
}
