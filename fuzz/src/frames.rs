//! Frames of `countersign/1`: what decodes must be what was written, however it is cut.
//!
//! Input: one byte for the frame limit, one for the size of pieces, then the stream.

use countersign_core::PeerMisbehaved;
use countersign_core::wire::{
    Decoder, Frame, FrameType, HEADER_LEN, MAX_FRAME_LIMIT, MAX_GREETING, MESSAGE_HEAD,
    MIN_FRAME_LIMIT, Piece, VERSION, encode_close, encode_greeting,
};

use crate::input::{byte, pieces};

/// The frame limits that are tried.
const LIMITS: [usize; 5] = [MIN_FRAME_LIMIT, 600, 1024, 16_384, MAX_FRAME_LIMIT];

/// Tries one input.
pub fn check(mut input: &[u8]) {
    let limit = LIMITS[usize::from(byte(&mut input)) % LIMITS.len()];
    let size = usize::from(byte(&mut input));
    let whole = decode(std::iter::once(input), limit);
    assert_eq!(whole, decode(pieces(input, 1), limit), "byte by byte");
    assert_eq!(
        whole,
        decode(pieces(input, size), limit),
        "in pieces of {size}"
    );
    whole.compare(input);
    let again: Vec<u8> = whole.frames.concat();
    let second = decode(std::iter::once(&again[..]), limit);
    assert_eq!(
        second.frames, whole.frames,
        "what was decoded, written and decoded again"
    );
    assert_eq!(second.error, None, "what this end writes it also reads");
}

/// What a decoder made of a stream.
#[derive(PartialEq, Eq, Debug)]
struct Decoded {
    /// The frames, written again; of an incomplete message, what has arrived.
    frames: Vec<Vec<u8>>,
    error: Option<PeerMisbehaved>,
    between: bool,
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Decoded {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    let mut missing = 0;
    for mut piece in pieces {
        loop {
            let before = piece.len();
            match decoder.next(&mut piece) {
                Ok(Some(found)) => {
                    assert!(before > piece.len() || is_empty(&found), "no way to go on");
                    missing = gather(&found, &mut frames, missing);
                }
                Ok(None) => break,
                Err(error) => {
                    let (error, between) = (Some(error), false);
                    return Decoded {
                        frames,
                        error,
                        between,
                    };
                }
            }
        }
        assert!(piece.is_empty(), "input left over");
    }
    let between = decoder.is_between_frames();
    assert!(!between || missing == 0, "a message ends before its end");
    Decoded {
        frames,
        error: None,
        between,
    }
}

/// Whether a piece may come without any byte of input: when the one before ended with the input.
fn is_empty(found: &Piece<'_>) -> bool {
    matches!(found, Piece::Frame(Frame::Done))
}

/// Writes what was found again; how much is missing of the message that it may be.
fn gather(found: &Piece<'_>, frames: &mut Vec<Vec<u8>>, missing: usize) -> usize {
    match *found {
        Piece::Message { head, data } => {
            assert_eq!(missing, 0, "a message inside another");
            let mut frame = vec![0; head.encoded_len()];
            head.encode(&mut frame);
            frame.extend_from_slice(data);
            frames.push(frame);
            head.length - data.len()
        }
        Piece::More(data) => {
            assert!(
                !data.is_empty() && data.len() <= missing,
                "more than there is"
            );
            let frame = frames.last_mut().expect("more of a message");
            frame.extend_from_slice(data);
            missing - data.len()
        }
        Piece::Frame(frame) => {
            assert_eq!(missing, 0, "a frame inside a message");
            frames.push(encode(&frame));
            0
        }
    }
}

/// Writes a frame, into a buffer that just holds it: one byte less must not do.
pub(crate) fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let write = |out: &mut [u8]| match frame {
        Frame::Hello(greeting) | Frame::Welcome(greeting) => {
            let channels: Vec<_> = greeting.channels().collect();
            encode_greeting(frame.kind(), &greeting.head, channels.into_iter(), out)
        }
        Frame::Close { head, list } => {
            let list: Vec<_> = list.entries().collect();
            encode_close(head, list.into_iter(), out)
        }
        _ => frame.encode(out),
    };
    let needed = write(&mut []).expect_err("no frame is empty").needed;
    assert!(
        needed <= HEADER_LEN + MAX_GREETING,
        "a frame of {needed} bytes"
    );
    let mut out = vec![0; needed];
    assert_eq!(
        write(&mut out[1..]).map_err(|small| small.needed),
        Err(needed)
    );
    assert_eq!(write(&mut out), Ok(needed));
    out
}

impl Decoded {
    /// Compares with a reading of the stream that knows of nothing but headers.
    fn compare(&self, mut stream: &[u8]) {
        for (at, frame) in self.frames.iter().enumerate() {
            let raw = loop {
                let raw = take_frame(&mut stream);
                if raw[0] < 0x80 {
                    break raw;
                }
            };
            let is_last = at + 1 == self.frames.len();
            let expected = canonical(raw);
            if is_last && raw[0] == FrameType::Message as u8 {
                assert!(
                    frame.len() >= MESSAGE_HEAD && expected.starts_with(frame),
                    "{raw:02x?}"
                );
            } else {
                assert_eq!(frame, &expected, "{raw:02x?}");
            }
        }
        if self.error.is_none() && self.between {
            while !stream.is_empty() {
                let skipped = take_frame(&mut stream);
                assert!(skipped[0] >= 0x80, "a frame that was not told");
            }
        }
    }
}

/// The next frame of a stream, as far as the stream goes.
fn take_frame<'a>(stream: &mut &'a [u8]) -> &'a [u8] {
    let header = stream
        .first_chunk::<HEADER_LEN>()
        .expect("a frame was found here");
    let [.., a, b, c, d] = *header;
    let length = HEADER_LEN + u32::from_be_bytes([a, b, c, d]) as usize;
    let (frame, rest) = stream.split_at(length.min(stream.len()));
    *stream = rest;
    frame
}

/// A valid frame with zeros where senders write zeros and receivers don't look.
fn canonical(raw: &[u8]) -> Vec<u8> {
    let mut frame = raw.to_vec();
    match FrameType::from_u8(raw[0]).expect("a frame that decodes") {
        FrameType::Hello | FrameType::Welcome => canonical_greeting(&mut frame),
        FrameType::Abort => {
            frame[2..4].fill(0);
            frame[10..12].fill(0);
        }
        FrameType::Refuse => frame[10..12].fill(0),
        FrameType::Ping | FrameType::Pong | FrameType::Close | FrameType::Done => {
            frame[2..4].fill(0);
        }
        _ => {}
    }
    frame
}

/// Cuts off what is behind the last channel.
fn canonical_greeting(frame: &mut Vec<u8>) {
    const FIXED: usize = HEADER_LEN + 50;
    const ENTRY: usize = 52;
    frame[2..4].fill(0);
    let number = |frame: &[u8], at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (lowest, highest) = (number(frame, 12), number(frame, 14));
    let mut end = FIXED;
    if (lowest..=highest).contains(&VERSION) {
        for _ in 0..number(frame, FIXED - 2) {
            // One of the flags means something, and only at a receiver.
            frame[end + 2] &= frame[end];
            end += ENTRY + usize::from(frame[end + 3]);
        }
    } else {
        // In other versions nothing else is read.
        frame[16..FIXED].fill(0);
    }
    frame.truncate(end);
    let length = u32::try_from(end - HEADER_LEN).expect("short");
    frame[4..8].copy_from_slice(&length.to_be_bytes());
}
