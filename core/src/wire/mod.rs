//! Encoding and decoding of `countersign/1` frames, for fuzzers, tracers and other implementations.
//!
//! The normative text is `docs/protocol.md`. Nothing here knows about sessions or windows: a frame
//! that this module accepts may still be a violation where it arrives.

mod cursor;
mod decoder;
mod frame;
mod greeting;
mod header;

pub use decoder::{Decoder, Piece};
pub(crate) use frame::cut;
pub use frame::{CloseHead, CloseList, Frame, NO_CHANNEL, Pong, encode_close};
pub(crate) use greeting::OwnedGreeting;
pub use greeting::{
    ChannelEntry, Greeting, GreetingHead, MAGIC, NOT_KNOWN, SessionOutcome, VERSION,
    encode_greeting,
};
pub use header::{
    AGAIN, FIRST, FIRST_HEAD, FrameType, HEADER_LEN, Header, LAST, LONGEST_HEAD, MAX_FRAME_LIMIT,
    MAX_GREETING, MAX_TEXT, MESSAGE_HEAD, MIN_FRAME_LIMIT, MessageHead, REPLY, TIMES, TIMES_LEN,
    Times,
};
