//! The eight bytes that every frame begins with (`docs/protocol.md`, Frames).

use crate::PeerMisbehaved;
use crate::wire::cursor::{Reader, Writer};

/// The length of the header of every frame, in bytes.
pub const HEADER_LEN: usize = 8;
/// The length of what precedes the payload in a MESSAGE frame that is not the first of several.
pub const MESSAGE_HEAD: usize = HEADER_LEN + 4;
/// The length of what precedes the payload in the first of several MESSAGE frames.
pub const FIRST_HEAD: usize = MESSAGE_HEAD + 8;
/// The length of the times of a message, in bytes.
pub const TIMES_LEN: usize = 16;
/// The length of the longest head: that of the first of several MESSAGE frames, with times.
pub const LONGEST_HEAD: usize = FIRST_HEAD + TIMES_LEN;
/// The smallest frame limit that an end may declare, in bytes with the header.
pub const MIN_FRAME_LIMIT: usize = 512;
/// The largest frame limit that an end may declare, in bytes with the header.
pub const MAX_FRAME_LIMIT: usize = 1 << 24;
/// The longest HELLO or WELCOME, in bytes without the header.
pub const MAX_GREETING: usize = 8192;
/// The longest text in REFUSE, CLOSE and ABORT, in bytes.
pub const MAX_TEXT: usize = 256;

/// MESSAGE flag: the message begins here.
pub const FIRST: u8 = 0x01;
/// MESSAGE flag: the message ends here.
pub const LAST: u8 = 0x02;
/// MESSAGE flag: the frame has the message's times. Only where the message begins.
pub const TIMES: u8 = 0x04;
/// VERDICT flag: the message was handled, and the body is the receiver's reply.
pub const REPLY: u8 = 0x01;
/// REFUSE and CLOSE flag: another attempt, or another link, may succeed.
pub const AGAIN: u8 = 0x01;

/// Types from here on may be skipped by an end that does not know them.
const IGNORABLE: u8 = 0x80;

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        /// The type of a frame.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum FrameType { $($(#[$doc])* $name = $value),+ }

        impl FrameType {
            /// Every type of `countersign/1`.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Returns the type with this number, if there is one.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

frame_types! {
    /// The opener's first frame.
    Hello = 0x01,
    /// The acceptor's answer to HELLO.
    Welcome = 0x02,
    /// The acceptor refuses the link.
    Refuse = 0x03,
    /// A message or a fragment of one.
    Message = 0x10,
    /// Sequence numbers that will not be sent.
    Skip = 0x11,
    /// Everything up to a number is settled.
    Ack = 0x12,
    /// What became of one message, where that has content: a rejection or a reply.
    Verdict = 0x13,
    /// The sender knows of a verdict.
    Noted = 0x14,
    /// Asks the peer for a PONG.
    Ping = 0x20,
    /// Answers a PING.
    Pong = 0x21,
    /// No more messages after these numbers.
    Close = 0x30,
    /// The sender will send nothing more.
    Done = 0x31,
    /// The connection ends because the peer misbehaved.
    Abort = 0x32,
}

impl FrameType {
    /// Returns the shortest and longest body of a frame of this type; MESSAGE is bounded by the
    /// negotiated frame limit instead.
    const fn body_bounds(self) -> (usize, usize) {
        match self {
            Self::Hello | Self::Welcome => (50, MAX_GREETING),
            Self::Refuse | Self::Abort => (4, 4 + MAX_TEXT),
            Self::Message => (4, MAX_FRAME_LIMIT - HEADER_LEN),
            Self::Skip | Self::Ack | Self::Noted | Self::Ping => (8, 8),
            Self::Pong => (24, 24),
            Self::Verdict => (8, 8 + crate::limits::MAX_REPLY),
            Self::Close => (6, 6 + 10 * crate::limits::MAX_CHANNELS + MAX_TEXT),
            Self::Done => (0, 0),
        }
    }
}

/// A decoded header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The type, `None` for one that this version does not know but may skip.
    pub kind: Option<FrameType>,
    /// The flags.
    pub flags: u8,
    /// The channel, zero where the frame concerns none.
    pub channel: u16,
    /// The length of the body in bytes.
    pub length: usize,
}

impl Header {
    /// Reads a header and checks all that can be checked without the body.
    ///
    /// # Errors
    ///
    /// Unknown types that may not be skipped, unknown flags, and bodies outside the type's bounds
    /// or above `frame_limit`.
    pub fn decode(bytes: &[u8; HEADER_LEN], frame_limit: usize) -> Result<Self, PeerMisbehaved> {
        let [kind_byte, flags, c0, c1, l0, l1, l2, l3] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let kind = FrameType::from_u8(kind_byte);
        let allowed = match kind {
            Some(FrameType::Message) if flags & FIRST != 0 => FIRST | LAST | TIMES,
            Some(FrameType::Message) => LAST,
            Some(FrameType::Verdict) => REPLY,
            Some(FrameType::Refuse | FrameType::Close) => AGAIN,
            Some(_) => 0,
            None if kind_byte >= IGNORABLE => u8::MAX,
            None => return Err(PeerMisbehaved::UnknownFrame(kind_byte)),
        };
        if flags & !allowed != 0 {
            return Err(PeerMisbehaved::UnknownFlags {
                kind: kind_byte,
                flags,
            });
        }
        let (least, most) = match kind {
            Some(FrameType::Message) | None => (0, frame_limit.saturating_sub(HEADER_LEN)),
            Some(kind) => kind.body_bounds(),
        };
        let least = if kind == Some(FrameType::Message) {
            4
        } else {
            least
        };
        if length < least || length > most {
            return Err(PeerMisbehaved::FrameLength {
                kind: kind_byte,
                length,
            });
        }
        Ok(Self {
            kind,
            flags,
            channel: u16::from_be_bytes([c0, c1]),
            length,
        })
    }

    /// Writes a header.
    #[must_use]
    pub fn encode(kind: FrameType, flags: u8, channel: u16, length: u32) -> [u8; HEADER_LEN] {
        let [c0, c1] = channel.to_be_bytes();
        let [l0, l1, l2, l3] = length.to_be_bytes();
        [kind as u8, flags, c0, c1, l0, l1, l2, l3]
    }
}

/// When a message was accepted and when it is late, by the clock of its sender, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Times {
    /// When the sender accepted the message.
    pub accepted: u64,
    /// When it is late; [`Times::NEVER`] for a message without a limited life.
    pub expires: u64,
}

impl Times {
    /// Stands for 'never' in [`expires`](Self::expires).
    pub const NEVER: u64 = u64::MAX;
}

/// The fields that precede the payload in a MESSAGE frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageHead {
    /// The channel.
    pub channel: u16,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
    /// The low 32 bits of the message's sequence number.
    pub sequence: u32,
    /// The length of the whole message in bytes, if it begins here and does not end here.
    pub total: Option<u64>,
    /// The message's times, if it begins here and has any.
    pub times: Option<Times>,
    /// The length of this frame's part of the payload in bytes.
    pub length: usize,
}

impl MessageHead {
    /// Returns the length of the encoded head in bytes, from [`MESSAGE_HEAD`] to [`LONGEST_HEAD`].
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let head = if self.total.is_some() {
            FIRST_HEAD
        } else {
            MESSAGE_HEAD
        };
        if self.times.is_some() {
            head + TIMES_LEN
        } else {
            head
        }
    }

    /// Writes the head to the front of `out`, which must hold [`MessageHead::encoded_len`] bytes.
    ///
    /// # Panics
    ///
    /// If `out` is too short, or if the frame is above [`MAX_FRAME_LIMIT`].
    pub fn encode(&self, out: &mut [u8]) {
        let body = self.encoded_len() - HEADER_LEN + self.length;
        assert!(
            body <= MAX_FRAME_LIMIT,
            "a frame is bounded by the negotiated limit"
        );
        let flag = |set, flag| if set { flag } else { 0 };
        let times = flag(self.times.is_some(), TIMES);
        let flags = flag(self.first, FIRST) | flag(self.last, LAST) | times;
        // The assertion bounds it.
        #[expect(clippy::cast_possible_truncation)]
        let header = Header::encode(FrameType::Message, flags, self.channel, body as u32);
        let mut writer = Writer { out, at: 0 };
        writer.put(&header);
        writer.put(&self.sequence.to_be_bytes());
        if let Some(total) = self.total {
            writer.put(&total.to_be_bytes());
        }
        if let Some(times) = self.times {
            writer.put(&times.accepted.to_be_bytes());
            writer.put(&times.expires.to_be_bytes());
        }
    }

    /// Writes the head of a message that fits one frame, [`MESSAGE_HEAD`] bytes, to the front of
    /// `out`.
    #[inline]
    pub(crate) fn encode_whole(channel: u16, sequence: u32, length: usize, out: &mut [u8]) {
        let body = MESSAGE_HEAD - HEADER_LEN + length;
        let [c0, c1] = channel.to_be_bytes();
        // A frame is bounded by the negotiated limit.
        let [l0, l1, l2, l3] = u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes();
        let [s0, s1, s2, s3] = sequence.to_be_bytes();
        let kind = FrameType::Message as u8;
        let head = [kind, FIRST | LAST, c0, c1, l0, l1, l2, l3, s0, s1, s2, s3];
        out[..MESSAGE_HEAD].copy_from_slice(&head);
    }

    /// Reads the head of a message that fits one frame from the front of `input`; `None` for
    /// everything else, valid or not.
    #[inline]
    pub(crate) fn decode_whole(input: &[u8], frame_limit: usize) -> Option<Self> {
        const WHOLE: [u8; 2] = [FrameType::Message as u8, FIRST | LAST];
        let head = input.first_chunk::<MESSAGE_HEAD>()?;
        let [k, f, c0, c1, l0, l1, l2, l3, s0, s1, s2, s3] = *head;
        let body = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
        let length = body.checked_sub(MESSAGE_HEAD - HEADER_LEN)?;
        let bounded = body <= frame_limit.saturating_sub(HEADER_LEN);
        ([k, f] == WHOLE && bounded).then_some(Self {
            channel: u16::from_be_bytes([c0, c1]),
            first: true,
            last: true,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            total: None,
            times: None,
            length,
        })
    }

    /// Returns the length of the payload behind a head that [`MessageHead::decode_whole`] has read.
    #[inline]
    pub(crate) fn whole_length(head: &[u8]) -> usize {
        let Some([_, _, _, _, l0, l1, l2, l3]) = head.first_chunk() else {
            return 0;
        };
        let body = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        body.saturating_sub(MESSAGE_HEAD - HEADER_LEN)
    }

    /// Reads the head that follows `header` from the front of `body`; `None` if `body` is still
    /// too short.
    pub(crate) fn decode(header: &Header, body: &[u8]) -> Option<Result<Self, PeerMisbehaved>> {
        let first = header.flags & FIRST != 0;
        let last = header.flags & LAST != 0;
        let rest = Self::encoded_rest(header);
        if header.length < rest {
            let (kind, length) = (FrameType::Message as u8, header.length);
            return Some(Err(PeerMisbehaved::FrameLength { kind, length }));
        }
        let mut reader = Reader(body.get(..rest)?);
        // The body holds all fields, so none of these is `None`.
        let sequence = reader.u32().ok()?;
        let total = if first && !last {
            Some(reader.u64().ok()?)
        } else {
            None
        };
        let times = if header.flags & TIMES != 0 {
            let (accepted, expires) = (reader.u64().ok()?, reader.u64().ok()?);
            Some(Times { accepted, expires })
        } else {
            None
        };
        let length = header.length - rest;
        Some(Ok(Self {
            channel: header.channel,
            first,
            last,
            sequence,
            total,
            times,
            length,
        }))
    }

    /// Returns the length of what follows the header of a MESSAGE before its payload.
    pub(crate) const fn encoded_rest(header: &Header) -> usize {
        let with_total = header.flags & (FIRST | LAST) == FIRST;
        let total = if with_total { 8 } else { 0 };
        let times = if header.flags & TIMES != 0 {
            TIMES_LEN
        } else {
            0
        };
        4 + total + times
    }
}
