//! What can go wrong when splitting and joining.

use crate::words::{count, size};

/// The flag of `countersign pipe` that sets the maximum message size.
pub const MAX_MESSAGE_FLAG: &str = "--max-message";

/// Why a stream could not be split. Offsets count the bytes of the stream from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A message grew above the maximum.
    #[error(
        "the message that starts at byte {offset} of the input is larger than the limit of {}; \
         {MAX_MESSAGE_FLAG} raises the limit",
        size(*.limit, "byte")
    )]
    TooLarge {
        /// Where the message starts.
        offset: u64,
        /// The maximum, in bytes.
        limit: usize,
    },
    /// A length prefix above the maximum.
    #[error(
        "the length at byte {offset} of the input announces {announced} bytes, above the limit of \
         {}; {MAX_MESSAGE_FLAG} raises the limit, if this is a length at all",
        size(*.limit, "byte")
    )]
    LengthTooLarge {
        /// Where the length prefix starts.
        offset: u64,
        /// The length it gives.
        announced: u32,
        /// The maximum, in bytes.
        limit: usize,
    },
    /// The stream ended before the message did.
    #[error(
        "the input ends at byte {end}, inside the message that starts at byte {offset}: {missing}"
    )]
    Truncated {
        /// Where the message starts (with its length prefix, if it has one).
        offset: u64,
        /// How long the stream was.
        end: u64,
        /// What is missing.
        missing: &'static str,
    },
    /// A byte that belongs neither to a picture nor to what may lie between pictures.
    #[error(
        "byte {offset} of the input is {found:#04x}, where a JPEG picture (0xff 0xd8) starts, or \
         padding or a multipart head before it"
    )]
    NotAPicture {
        /// Where the byte is.
        offset: u64,
        /// The byte.
        found: u8,
    },
    /// Too much of what may lie between pictures.
    #[error(
        "no JPEG picture (0xff 0xd8) starts within {limit} bytes of byte {offset} of the input, which \
         is the most that is skipped"
    )]
    NoPictureFollows {
        /// Where what was skipped starts.
        offset: u64,
        /// The most that is skipped, in bytes.
        limit: u64,
    },
    /// The stream had only what may lie between pictures.
    #[error("the input has {} and no JPEG picture (0xff 0xd8)", count(*.end, "byte"))]
    NoPicture {
        /// How long the stream was.
        end: u64,
    },
    /// A byte that no JPEG picture can have at that place.
    #[error("byte {offset} of the input is {found:#04x}, inside a JPEG picture where {expected}")]
    BadPicture {
        /// Where the byte stands.
        offset: u64,
        /// Where the byte is.
        found: u8,
        /// What belongs there.
        expected: &'static str,
    },
}

/// Why a message could not be joined to a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The length does not fit a prefix of four bytes.
    #[error("a message of {length} bytes does not fit a length of four bytes")]
    TooLong {
        /// The length of the message.
        length: u64,
    },
    /// A second message, where the first is the whole stream.
    #[error("a second message came, and the first one was to be the whole output")]
    SecondMessage,
}
