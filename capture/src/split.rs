//! Finds the payloads in a connection's bytes, so that they can be left out.
//!
//! Bytes that can't be frames are left out too, from where that shows: the link ends there and
//! processes nothing after it, and a peer that speaks another protocol may send anything.

use countersign_core::wire::{FIRST, FIRST_HEAD, FrameType, HEADER_LEN, LAST, MESSAGE_HEAD};
use countersign_core::{Dialect, Mode};

/// The longest body of a frame that is not a MESSAGE: `docs/protocol.md`, Limits.
const LONGEST_BODY: usize = countersign_core::wire::MAX_GREETING;
/// Types from here on may be skipped, whatever is in them.
const IGNORABLE: u8 = 0x80;
const CONFIRMATION: &[u8] = b"OK!";
const MAX_DIGITS: usize = 20;

/// The state of one direction of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Split(State);

#[derive(Clone, Debug)]
enum State {
    /// The beginning of a frame: what has arrived of its head.
    Head { bytes: [u8; FIRST_HEAD], at: usize },
    /// The rest of a frame.
    Rest { left: usize, payload: bool },
    /// tlsstream: a length so far, and its digits.
    Length { value: u64, digits: usize },
    /// tlsstream: the rest of a message.
    Stream { left: u64 },
    /// tlsstream: how many bytes of a confirmation have arrived.
    Confirmation { at: usize },
    /// Bytes that a link does not process.
    Ignored,
}

impl Split {
    /// Creates the state of a new connection. `mode` is that of the one channel in the tlsstream
    /// dialect, at the end that these bytes come from.
    pub(crate) fn new(dialect: Dialect, mode: Mode) -> Self {
        Self(match (dialect, mode) {
            (Dialect::Countersign, _) => frame_start(),
            (Dialect::TlsStream, Mode::Send) => State::Length {
                value: 0,
                digits: 0,
            },
            (Dialect::TlsStream, Mode::Receive) => State::Confirmation { at: 0 },
        })
    }

    /// Returns the state of a direction whose bytes are ignored.
    pub(crate) fn ignored() -> Self {
        Self(State::Ignored)
    }

    /// Splits the next bytes: `found` gets pieces, and whether each is to be kept.
    pub(crate) fn split<'a>(&mut self, mut bytes: &'a [u8], mut found: impl FnMut(&'a [u8], bool)) {
        while !bytes.is_empty() {
            let (length, keep) = self.step(bytes);
            let (piece, rest) = bytes.split_at(length);
            found(piece, keep);
            bytes = rest;
        }
    }

    /// Returns how many bytes at the front belong together, one at least, and whether to keep them.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        match &mut self.0 {
            State::Head { bytes: head, at } => {
                let wanted = head_len(head, *at);
                let taken = (wanted - *at).min(bytes.len());
                head[*at..*at + taken].copy_from_slice(&bytes[..taken]);
                *at += taken;
                if *at == head_len(head, *at) {
                    self.0 = after_head(head, *at);
                }
                (taken, true)
            }
            State::Rest { left, payload } => {
                let (taken, keep) = ((*left).min(bytes.len()), !*payload);
                *left -= taken;
                if *left == 0 {
                    self.0 = frame_start();
                }
                (taken, keep)
            }
            State::Length { value, digits } => {
                let byte = bytes[0];
                match byte {
                    b'0'..=b'9' if *digits < MAX_DIGITS => {
                        *digits += 1;
                        let digit = u64::from(byte - b'0');
                        *value = value.saturating_mul(10).saturating_add(digit);
                        (1, true)
                    }
                    b'!' if *digits > 0 && *value > 0 => {
                        self.0 = State::Stream { left: *value };
                        (1, true)
                    }
                    _ => {
                        self.0 = State::Ignored;
                        // A length of zero is the only violation that shows with a byte that has to
                        // stay.
                        (1, byte == b'!')
                    }
                }
            }
            State::Stream { left } => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.0 = State::Length {
                        value: 0,
                        digits: 0,
                    };
                }
                (taken, false)
            }
            State::Confirmation { at } => {
                let fits = bytes[0] == CONFIRMATION[*at];
                *at = (*at + 1) % CONFIRMATION.len();
                if !fits {
                    self.0 = State::Ignored;
                }
                (1, fits)
            }
            State::Ignored => (bytes.len(), false),
        }
    }
}

fn frame_start() -> State {
    let bytes = [0; FIRST_HEAD];
    State::Head { bytes, at: 0 }
}

fn body_len(head: &[u8; FIRST_HEAD]) -> usize {
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Returns the length of a head of which `at` bytes are known.
fn head_len(head: &[u8; FIRST_HEAD], at: usize) -> usize {
    if at < HEADER_LEN || head[0] != FrameType::Message as u8 {
        return HEADER_LEN;
    }
    let with_total = head[1] & (FIRST | LAST) == FIRST;
    let whole = if with_total { FIRST_HEAD } else { MESSAGE_HEAD };
    // A head cut short by the frame's length is a violation.
    whole.min(HEADER_LEN.saturating_add(body_len(head)))
}

/// Returns the state after a complete head.
fn after_head(head: &[u8; FIRST_HEAD], length: usize) -> State {
    let kind = head[0];
    let left = body_len(head) - (length - HEADER_LEN);
    let payload = kind == FrameType::Message as u8 || kind >= IGNORABLE;
    let is_frame = payload || (FrameType::from_u8(kind).is_some() && left <= LONGEST_BODY);
    match (is_frame, left) {
        (false, _) => State::Ignored,
        (true, 0) => frame_start(),
        (true, left) => State::Rest { left, payload },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(split: &mut Split, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut pieces: Vec<(Vec<u8>, bool)> = Vec::new();
        split.split(bytes, |piece, keep| match pieces.last_mut() {
            Some((last, same)) if *same == keep => last.extend_from_slice(piece),
            _ => pieces.push((piece.to_vec(), keep)),
        });
        pieces
    }

    /// Checks the bytes whole and byte by byte.
    fn check(dialect: Dialect, mode: Mode, bytes: &[u8], expected: &[(&[u8], bool)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(piece, keep)| (piece.to_vec(), *keep))
            .collect();
        assert_eq!(kept(&mut Split::new(dialect, mode), bytes), expected);
        let mut split = Split::new(dialect, mode);
        let mut pieces: Vec<(Vec<u8>, bool)> = Vec::new();
        for byte in bytes {
            for (piece, keep) in kept(&mut split, &[*byte]) {
                match pieces.last_mut() {
                    Some((last, same)) if *same == keep => last.extend_from_slice(&piece),
                    _ => pieces.push((piece, keep)),
                }
            }
        }
        assert_eq!(pieces, expected);
    }

    #[test]
    fn messages_keep_their_heads_and_other_frames_everything() {
        let bytes = b"\x10\x03\0\0\0\0\0\x07\0\0\0\x01abc\
            \x20\0\0\0\0\0\0\x08pingping\
            \x10\x01\0\0\0\0\0\x0e\0\0\0\x02\0\0\0\0\0\0\0\x05ab\
            \x80\xff\xff\xff\0\0\0\x03xyz\
            \x31\0\0\0\0\0\0\0";
        let expected: &[(&[u8], bool)] = &[
            (b"\x10\x03\0\0\0\0\0\x07\0\0\0\x01", true),
            (b"abc", false),
            (
                b"\x20\0\0\0\0\0\0\x08pingping\x10\x01\0\0\0\0\0\x0e\0\0\0\x02\0\0\0\0\0\0\0\x05",
                true,
            ),
            (b"ab", false),
            (b"\x80\xff\xff\xff\0\0\0\x03", true),
            (b"xyz", false),
            (b"\x31\0\0\0\0\0\0\0", true),
        ];
        check(Dialect::Countersign, Mode::Send, bytes, expected);
    }

    #[test]
    fn what_is_no_frame_is_left_out() {
        let check = |bytes: &[u8], expected: &[(&[u8], bool)]| {
            check(Dialect::Countersign, Mode::Receive, bytes, expected);
        };
        check(
            b"GET / HTTP/1.1",
            &[(b"GET / HT", true), (b"TP/1.1", false)],
        );
        // A PING of a megabyte, and a head that its own length cuts.
        check(
            b"\x20\0\0\0\0\x10\0\0secret",
            &[(b"\x20\0\0\0\0\x10\0\0", true), (b"secret", false)],
        );
        check(
            b"\x10\x01\0\0\0\0\0\x02ab",
            &[(b"\x10\x01\0\0\0\0\0\x02ab", true)],
        );
    }

    #[test]
    fn tlsstream_keeps_lengths_and_confirmations() {
        check(
            Dialect::TlsStream,
            Mode::Send,
            b"003!abc1!x",
            &[
                (b"003!", true),
                (b"abc", false),
                (b"1!", true),
                (b"x", false),
            ],
        );
        check(
            Dialect::TlsStream,
            Mode::Send,
            b"0!a",
            &[(b"0!", true), (b"a", false)],
        );
        check(
            Dialect::TlsStream,
            Mode::Send,
            b"12x!a",
            &[(b"12", true), (b"x!a", false)],
        );
        check(
            Dialect::TlsStream,
            Mode::Receive,
            b"OK!OK5!secret",
            &[(b"OK!OK", true), (b"5!secret", false)],
        );
    }
}
