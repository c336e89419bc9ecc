//! Finds the payloads in a connection's bytes, so that they can be left out.
//!
//! Bytes that can't be frames are left out too, from where that shows: the link ends there and
//! processes nothing after it, and a peer that speaks another protocol may send anything.

use countersign_core::wire::{
    FIRST, FIRST_HEAD, FrameType, HEADER_LEN, Header, LAST, MAX_FRAME_LIMIT, MESSAGE_HEAD, REPLY,
    TIMES, TIMES_LEN,
};
use countersign_core::{Dialect, MAX_REASON, Mode};

/// The length of what precedes the reply in a VERDICT.
const REPLY_FIELDS: usize = 8;
/// The longest body of a VERDICT without a reply.
const LONGEST_REJECTION: usize = 12 + MAX_REASON;
const CONFIRMATION: &[u8] = b"OK!";
const MAX_DIGITS: usize = 20;

/// The state of one direction of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Split(State);

#[derive(Clone, Debug)]
enum State {
    /// The beginning of a frame: what has arrived of its header.
    Header { bytes: [u8; HEADER_LEN], at: usize },
    /// The body of a frame: how many bytes are missing of its fields, and of the payload behind
    /// them.
    Body { fields: usize, payload: usize },
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
            State::Header { bytes: header, at } => {
                let taken = (HEADER_LEN - *at).min(bytes.len());
                header[*at..*at + taken].copy_from_slice(&bytes[..taken]);
                *at += taken;
                if *at == HEADER_LEN {
                    self.0 = after_header(header);
                }
                (taken, true)
            }
            State::Body { fields, payload } => {
                let keep = *fields > 0;
                let left = if keep { &mut *fields } else { &mut *payload };
                let taken = (*left).min(bytes.len());
                *left -= taken;
                if *fields + *payload == 0 {
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
    let bytes = [0; HEADER_LEN];
    State::Header { bytes, at: 0 }
}

/// Returns the state after a complete header.
fn after_header(bytes: &[u8; HEADER_LEN]) -> State {
    let Ok(header) = Header::decode(bytes, MAX_FRAME_LIMIT) else {
        return State::Ignored;
    };
    match fields_len(&header) {
        None => State::Ignored,
        Some(_) if header.length == 0 => frame_start(),
        Some(fields) => State::Body {
            fields,
            payload: header.length - fields,
        },
    }
}

/// Returns how much of a frame's body is to be kept; `None` if the body can't be one.
fn fields_len(header: &Header) -> Option<usize> {
    let fields = match header.kind {
        Some(FrameType::Message) => {
            let with_total = header.flags & (FIRST | LAST) == FIRST;
            let head = if with_total { FIRST_HEAD } else { MESSAGE_HEAD };
            let times = if header.flags & TIMES > 0 {
                TIMES_LEN
            } else {
                0
            };
            head - HEADER_LEN + times
        }
        Some(FrameType::Verdict) if header.flags & REPLY > 0 => REPLY_FIELDS,
        // Whoever forgets the flag sends a reply too.
        Some(FrameType::Verdict) if header.length > LONGEST_REJECTION => return None,
        Some(_) => header.length,
        None => 0,
    };
    (fields <= header.length).then_some(fields)
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
    fn times_are_kept_and_replies_are_not() {
        let bytes = b"\x10\x07\0\0\0\0\0\x17\0\0\0\x01acceptedexpires.abc\
            \x10\x05\0\0\0\0\0\x1e\0\0\0\x02\0\0\0\0\0\0\0\x05acceptedexpires.ab\
            \x13\x01\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x03de\
            \x13\x01\0\0\0\0\0\x08\0\0\0\0\0\0\0\x04\
            \x13\0\0\0\0\0\0\x0e\0\0\0\0\0\0\0\x05\0\0\0\x07no";
        let expected: &[(&[u8], bool)] = &[
            (b"\x10\x07\0\0\0\0\0\x17\0\0\0\x01acceptedexpires.", true),
            (b"abc", false),
            (
                b"\x10\x05\0\0\0\0\0\x1e\0\0\0\x02\0\0\0\0\0\0\0\x05acceptedexpires.",
                true,
            ),
            (b"ab", false),
            (b"\x13\x01\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x03", true),
            (b"de", false),
            // A reply of no bytes, and a rejection with its reason.
            (
                b"\x13\x01\0\0\0\0\0\x08\0\0\0\0\0\0\0\x04\
                  \x13\0\0\0\0\0\0\x0e\0\0\0\0\0\0\0\x05\0\0\0\x07no",
                true,
            ),
        ];
        check(Dialect::Countersign, Mode::Send, bytes, expected);
    }

    /// A frame of this kind, with these flags, whose body is `secret` as often as it fits.
    fn secrets(kind: u8, flags: u8, length: usize) -> ([u8; HEADER_LEN], Vec<u8>) {
        let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let body = b"secret".iter().copied().cycle().take(length).collect();
        ([kind, flags, 0, 0, a, b, c, d], body)
    }

    /// Checks that only the header is kept of such a frame, and nothing of what follows it.
    fn check_left_out(kind: u8, flags: u8, length: usize) {
        let (header, mut body) = secrets(kind, flags, length);
        body.extend_from_slice(b"\x20\0\0\0\0\0\0\x08pingping");
        let bytes = [&header[..], &body].concat();
        let expected: &[(&[u8], bool)] = &[(&header, true), (&body, false)];
        check(Dialect::Countersign, Mode::Receive, &bytes, expected);
    }

    /// Checks that so much is kept of such a frame, and all of what follows it.
    fn check_kept(kind: u8, flags: u8, length: usize, kept: usize) {
        let ping = b"\x20\0\0\0\0\0\0\x08pingping";
        let (header, body) = secrets(kind, flags, length);
        let (fields, payload) = body.split_at(kept);
        let bytes = [&header[..], &body, ping].concat();
        let beginning = [&header[..], fields].concat();
        let expected: &[(&[u8], bool)] = &[(&beginning, true), (payload, false), (ping, true)];
        check(Dialect::Countersign, Mode::Receive, &bytes, expected);
    }

    #[test]
    fn what_is_no_frame_is_left_out() {
        check(
            Dialect::Countersign,
            Mode::Receive,
            b"GET / HTTP/1.1",
            &[(b"GET / HT", true), (b"TP/1.1", false)],
        );
        // A PING of a byte too much.
        check_left_out(0x20, 0, 9);
        // A message whose fields its own length cuts: the number, the length, the times.
        for (flags, fields) in [(FIRST | LAST, 4), (FIRST, 12), (FIRST | LAST | TIMES, 20)] {
            check_left_out(0x10, flags, fields - 1);
            check_kept(0x10, flags, fields + 1, fields);
        }
        // Times where the message does not begin, and flags that nobody knows.
        check_left_out(0x10, LAST | TIMES, 30);
        check_left_out(0x10, FIRST | LAST | 0x08, 30);
        check_left_out(0x13, REPLY | 0x02, 30);
    }

    #[test]
    fn a_verdict_is_left_out_where_it_is_longer_than_one() {
        use countersign_core::MAX_REPLY;

        check_kept(0x13, REPLY, 8 + MAX_REPLY, 8);
        check_left_out(0x13, REPLY, 8 + MAX_REPLY + 1);
        check_left_out(0x13, REPLY, 7);
        // A reply without its flag.
        check_left_out(0x13, 0, 12 + MAX_REASON + 1);
        let (header, body) = secrets(0x13, 0, 12 + MAX_REASON);
        let bytes = [&header[..], &body].concat();
        check(
            Dialect::Countersign,
            Mode::Receive,
            &bytes,
            &[(&bytes, true)],
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
