//! How a stream of bytes becomes messages, and messages a stream again.
//!
//! `countersign pipe` reads one stream and sends messages; at the other end it receives messages
//! and writes one stream. A [`Way`] says where one message ends and the next begins. [`Splitter`]
//! splits a stream, [`Joiner`] joins messages into one; neither does any I/O.
//!
//! ```
//! use countersign_cli::split::{Splitter, Way};
//!
//! # fn main() -> Result<(), countersign_cli::split::SplitError> {
//! let mut splitter = Splitter::new(Way::Lines, 1024);
//! let mut messages = Vec::new();
//! for chunk in [&b"on"[..], b"e\ntwo\nthr", b"ee"] {
//!     let mut input = chunk;
//!     while let Some(message) = splitter.next_message(&mut input)? {
//!         messages.push(message);
//!     }
//! }
//! messages.extend(splitter.finish()?);
//! assert_eq!(messages, [&b"one\n"[..], b"two\n", b"three"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What a splitter promises
//! - The messages depend on the bytes alone, never on how they were cut into chunks. So do errors.
//!   Only [`Way::Bytes`] is about chunks.
//! - Joined again in the same way, the messages are the stream, byte by byte, except for what
//!   [`Way::Jpeg`] skips between pictures.
//! - Every byte is looked at once, and copied once, into the message it becomes part of.
//! - It holds the current message and nothing else, so never more than the largest message that it
//!   accepts. What a chunk holds beyond the message returned stays with the caller.
//! - A length that the input merely claims reserves no memory.

mod bytes;
mod error;
mod join;
mod jpeg;
mod length;
mod lines;
mod partial;
mod whole;

pub use error::{JoinError, MAX_MESSAGE_FLAG, SplitError};
pub use join::Joiner;

/// Where one message of a stream ends and the next begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Way {
    /// Bytes pass through as they come, in messages that mean nothing
    ///
    /// What can be read at once is a message, of up to 64 KiB. An empty stream has no messages.
    #[default]
    Bytes,
    /// Each line is a message, with its newline
    ///
    /// Only `\n` ends a line. A `\r` before it belongs to the line. What follows the last `\n` is a
    /// message too, without a newline, if it is anything at all. So the messages one after another
    /// are the text, whatever its line ends.
    Lines,
    /// Each JPEG picture of an MJPEG stream is a message
    ///
    /// Pictures are told apart by reading their markers and segments, so a preview picture inside a
    /// segment is no end. What cameras write between pictures is skipped, up to 1 MiB at a time:
    /// zeros, fill bytes, white space, and the heads of multipart streams, which begin with `--`.
    Jpeg,
    /// Each message has its length before it, four bytes, the most significant first
    ///
    /// The four bytes are not part of the message. Length zero is a message.
    Length,
    /// The whole stream is one message
    ///
    /// An empty stream is one message of length zero.
    Whole,
}

/// Splits a stream of bytes into messages.
///
/// After an error, every further call returns that error.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    failed: Option<SplitError>,
}

#[derive(Debug)]
enum State {
    Bytes(bytes::Bytes),
    Lines(lines::Lines),
    Jpeg(jpeg::Jpeg),
    Length(length::Length),
    Whole(whole::Whole),
}

impl Splitter {
    /// Returns a splitter at the start of a stream that accepts messages of up to `max_message`
    /// bytes.
    #[must_use]
    pub fn new(way: Way, max_message: usize) -> Self {
        let state = match way {
            Way::Bytes => State::Bytes(bytes::Bytes::new(max_message)),
            Way::Lines => State::Lines(lines::Lines::new(max_message)),
            Way::Jpeg => State::Jpeg(jpeg::Jpeg::new(max_message)),
            Way::Length => State::Length(length::Length::new(max_message)),
            Way::Whole => State::Whole(whole::Whole::new(max_message)),
        };
        Self {
            state,
            failed: None,
        }
    }

    /// Takes bytes off the front of `input` until a message is complete, and returns it.
    ///
    /// `None` means that `input` is used up (it is empty then) and more is needed. To split a
    /// chunk, call this until it returns `None`.
    ///
    /// # Errors
    /// A message is above the maximum, or the [`Way`] does not allow the bytes. What is left in
    /// `input` then is of no use.
    pub fn next_message(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, SplitError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = match &mut self.state {
            State::Bytes(bytes) => Ok(bytes.next_message(input)),
            State::Lines(lines) => lines.next_message(input),
            State::Jpeg(jpeg) => jpeg.next_message(input),
            State::Length(length) => length.next_message(input),
            State::Whole(whole) => whole.next_message(input),
        };
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Ends the stream, and returns the last message if the end of the stream is what ends it.
    ///
    /// # Errors
    /// The stream ended inside a message, or had failed before.
    pub fn finish(self) -> Result<Option<Vec<u8>>, SplitError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Bytes(_) => Ok(None),
            State::Lines(lines) => Ok(lines.finish()),
            State::Jpeg(jpeg) => jpeg.finish().map(|()| None),
            State::Length(length) => length.finish().map(|()| None),
            State::Whole(whole) => Ok(Some(whole.finish())),
        }
    }
}
