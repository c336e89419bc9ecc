//! Frames as values with owned fields, and their bytes.

use countersign_core::wire::{
    ChannelEntry, CloseHead, Decoder, Frame, FrameType, Greeting, GreetingHead, HEADER_LEN, Header,
    MessageHead, Piece, Pong, SessionOutcome, Times, VERSION, encode_close, encode_greeting,
};
use countersign_core::{Mode, PeerMisbehaved, Policy};
use proptest::prelude::*;

/// One channel of a greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) mode: Mode,
    pub(crate) policy: Option<Policy>,
    pub(crate) name: String,
    /// In the order of the format; the second is cut to four bytes.
    pub(crate) figures: [u64; 6],
    pub(crate) wants_times: bool,
    pub(crate) max_reply: u32,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    Greeting(FrameType, GreetingHead, Vec<Entry>),
    Refuse(u16, u16, bool, String),
    Skip(u16, u64),
    Ack(u16, u64),
    Reject(u16, u64, u32, String),
    Noted(u16, u64),
    Ping(u64),
    Pong(Pong),
    Reply(u16, u64, Vec<u8>),
    Close(u32, bool, String, Vec<(u16, u64)>),
    Done,
    Abort(u16, String),
    Message(MessageHead, Vec<u8>),
    /// A type that may be skipped: the header's first two bytes and channel, then the body.
    Unknown(u8, u8, u16, Vec<u8>),
}

impl Entry {
    fn lend(&self) -> ChannelEntry<'_> {
        let [
            max_message,
            messages,
            window_bytes,
            handled,
            received,
            partial,
        ] = self.figures;
        ChannelEntry {
            mode: self.mode,
            policy: self.policy,
            name: &self.name,
            wants_times: self.wants_times,
            max_reply: self.max_reply,
            max_message,
            window_messages: u32::try_from(messages & 0xFFFF_FFFF).expect("masked"),
            window_bytes,
            handled,
            received,
            partial,
        }
    }

    fn from_lent(entry: &ChannelEntry<'_>) -> Self {
        Self {
            wants_times: entry.wants_times,
            max_reply: entry.max_reply,
            mode: entry.mode,
            policy: entry.policy,
            name: entry.name.into(),
            figures: [
                entry.max_message,
                entry.window_messages.into(),
                entry.window_bytes,
                entry.handled,
                entry.received,
                entry.partial,
            ],
        }
    }
}

impl Item {
    /// Appends the frame's bytes, after checking that `needed` is reported correctly.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut buffer = vec![0; 20_000];
        let length = match self {
            Self::Message(head, payload) => {
                head.encode(&mut buffer);
                let end = head.encoded_len() + payload.len();
                buffer[head.encoded_len()..end].copy_from_slice(payload);
                end
            }
            Self::Unknown(kind, flags, channel, body) => {
                let length = u32::try_from(body.len()).expect("short");
                let header = Header::encode(FrameType::Done, *flags, *channel, length);
                buffer[..HEADER_LEN].copy_from_slice(&header);
                buffer[0] = *kind;
                buffer[HEADER_LEN..][..body.len()].copy_from_slice(body);
                HEADER_LEN + body.len()
            }
            other => {
                let length = other.write(&mut buffer).expect("room");
                let small = other.write(&mut buffer.clone()[..length - 1]);
                assert_eq!(small.map_err(|small| small.needed), Err(length));
                length
            }
        };
        out.extend_from_slice(&buffer[..length]);
    }

    fn write(&self, out: &mut [u8]) -> Result<usize, countersign_core::BufferTooSmall> {
        match self {
            Self::Greeting(kind, head, entries) => {
                encode_greeting(*kind, head, entries.iter().map(Entry::lend), out)
            }
            Self::Close(code, again, text, list) => {
                let (code, again) = (*code, *again);
                let head = CloseHead { code, again, text };
                encode_close(&head, list.iter().copied(), out)
            }
            other => other.frame().encode(out),
        }
    }

    fn frame(&self) -> Frame<'_> {
        match *self {
            Self::Refuse(channel, code, again, ref text) => Frame::Refuse {
                channel,
                code,
                again,
                text,
            },
            Self::Skip(channel, through) => Frame::Skip { channel, through },
            Self::Ack(channel, handled) => Frame::Ack { channel, handled },
            Self::Reject(channel, sequence, code, ref reason) => Frame::Reject {
                channel,
                sequence,
                code,
                reason,
            },
            Self::Noted(channel, sequence) => Frame::Noted { channel, sequence },
            Self::Ping(value) => Frame::Ping(value),
            Self::Pong(pong) => Frame::Pong(pong),
            Self::Reply(channel, sequence, ref reply) => Frame::Reply {
                channel,
                sequence,
                reply,
            },
            Self::Done => Frame::Done,
            Self::Abort(code, ref text) => Frame::Abort { code, text },
            _ => unreachable!("written otherwise"),
        }
    }

    fn from_frame(frame: &Frame<'_>) -> Self {
        let greeting = |kind, greeting: &Greeting<'_>| {
            let entries = greeting.channels().map(|entry| Entry::from_lent(&entry));
            Self::Greeting(kind, greeting.head, entries.collect())
        };
        match *frame {
            Frame::Hello(ref hello) => greeting(FrameType::Hello, hello),
            Frame::Welcome(ref welcome) => greeting(FrameType::Welcome, welcome),
            Frame::Refuse {
                channel,
                code,
                again,
                text,
            } => Self::Refuse(channel, code, again, text.into()),
            Frame::Skip { channel, through } => Self::Skip(channel, through),
            Frame::Ack { channel, handled } => Self::Ack(channel, handled),
            Frame::Reject {
                channel,
                sequence,
                code,
                reason,
            } => Self::Reject(channel, sequence, code, reason.into()),
            Frame::Noted { channel, sequence } => Self::Noted(channel, sequence),
            Frame::Ping(value) => Self::Ping(value),
            Frame::Pong(pong) => Self::Pong(pong),
            Frame::Reply {
                channel,
                sequence,
                reply,
            } => Self::Reply(channel, sequence, reply.into()),
            Frame::Close { head, list } => {
                let text = head.text.into();
                Self::Close(head.code, head.again, text, list.entries().collect())
            }
            Frame::Done => Self::Done,
            Frame::Abort { code, text } => Self::Abort(code, text.into()),
        }
    }
}

/// What a decoder made of a stream.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Decoded {
    pub(crate) items: Vec<Item>,
    pub(crate) error: Option<PeerMisbehaved>,
    /// Whether it ends between frames, if there was no error.
    pub(crate) whole: Option<bool>,
}

/// Feeds pieces to a decoder.
pub(crate) fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, frame_limit: usize) -> Decoded {
    let mut decoder = Decoder::new(frame_limit);
    let mut items = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(Piece::Message { head, data })) => {
                    items.push(Item::Message(head, data.to_vec()));
                }
                Ok(Some(Piece::More(data))) => match items.last_mut() {
                    Some(Item::Message(_, payload)) => payload.extend_from_slice(data),
                    other => panic!("more of {other:?}"),
                },
                Ok(Some(Piece::Frame(frame))) => items.push(Item::from_frame(&frame)),
                Ok(None) => break,
                Err(error) => {
                    let error = Some(error);
                    return Decoded {
                        items,
                        error,
                        whole: None,
                    };
                }
            }
        }
        assert!(piece.is_empty(), "input left over");
    }
    let whole = Some(decoder.is_between_frames());
    Decoded {
        items,
        error: None,
        whole,
    }
}

/// Cuts a stream; `cuts` are the lengths of the pieces, over and over.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = cuts.iter().cycle();
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = lengths
            .next()
            .map_or(rest.len(), |length| (*length).min(rest.len()));
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}

// Strategies. Small numbers are those that a link may believe.

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..6_u64, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1)]
}

fn channel() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..3_u16, 1 => any::<u16>()]
}

/// Codes of a close: half of them say that all is well.
fn code() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => 1..4_u32, 1 => any::<u32>()]
}

/// Texts of up to `limit` bytes, in characters of one or two.
fn text(limit: usize) -> impl Strategy<Value = String> {
    let most = limit / 2;
    let character = || prop::char::ranges(vec!['a'..='z', 'é'..='é'].into());
    let lengths = prop_oneof![3 => 0..11_usize, 1 => most - most / 8..=most];
    lengths.prop_flat_map(move |length| {
        prop::collection::vec(character(), length).prop_map(String::from_iter)
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let policy = prop_oneof![Just(Policy::Reliable), Just(Policy::Latest)];
    let figures = [number(), number(), number(), number(), number(), number()];
    let more = (any::<bool>(), any::<u32>());
    (
        any::<bool>(),
        prop::option::of(policy),
        text(64),
        figures,
        more,
    )
        .prop_map(
            |(receives, policy, name, mut figures, (times, max_reply))| {
                figures[1] &= 0xFFFF_FFFF;
                let (mode, policy) = if receives {
                    (Mode::Receive, policy)
                } else {
                    // A sender always has a policy.
                    (Mode::Send, policy.or(Some(Policy::Reliable)))
                };
                Entry {
                    mode,
                    policy,
                    name,
                    figures,
                    wants_times: receives && times,
                    max_reply,
                }
            },
        )
}

fn greeting() -> impl Strategy<Value = Item> {
    let outcome = prop_oneof![
        Just(SessionOutcome::New),
        Just(SessionOutcome::Resumed),
        Just(SessionOutcome::NotKnown),
        Just(SessionOutcome::TooOld),
    ];
    // Around the version spoken here: in a greeting with other versions, only the versions are
    // read.
    let versions = (0..=VERSION, VERSION..4);
    let entries = prop::collection::vec(entry(), 0..5);
    (
        any::<bool>(),
        versions,
        outcome,
        any::<u32>(),
        any::<[u8; 16]>(),
        entries,
    )
        .prop_map(
            |(hello, (version_min, version_max), outcome, frame_limit, session, entries)| {
                let kind = if hello {
                    FrameType::Hello
                } else {
                    FrameType::Welcome
                };
                let head = GreetingHead {
                    version_min,
                    version_max,
                    outcome,
                    attempt: frame_limit >> 8,
                    frame_limit,
                    session,
                    time: u64::from(frame_limit) << 32,
                    arrived: u64::from(session[0]) << 56,
                };
                Item::Greeting(kind, head, entries)
            },
        )
}

fn message() -> impl Strategy<Value = Item> {
    let sequence = prop_oneof![4 => 0..6_u32, 1 => any::<u32>()];
    let payload = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..900),
    ];
    let flags = prop_oneof![2 => Just((true, true)), 1 => any::<(bool, bool)>()];
    (channel(), flags, sequence, number(), payload).prop_map(
        |(channel, (first, last), sequence, total, payload)| {
            let times = (first && total % 3 == 1).then_some(Times {
                accepted: total,
                expires: !total,
            });
            let total = (first && !last).then_some(total);
            let length = payload.len();
            let head = MessageHead {
                channel,
                first,
                last,
                sequence,
                total,
                times,
                length,
            };
            Item::Message(head, payload)
        },
    )
}

/// Any frame that the format allows.
pub(crate) fn item() -> impl Strategy<Value = Item> {
    let list = prop::collection::vec((channel(), number()), 0..5);
    let body = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        1 => greeting(),
        1 => (channel(), any::<u16>(), any::<bool>(), text(256))
            .prop_map(|(c, n, a, t)| Item::Refuse(c, n, a, t)),
        2 => (channel(), number()).prop_map(|(c, n)| Item::Skip(c, n)),
        3 => (channel(), number()).prop_map(|(c, n)| Item::Ack(c, n)),
        2 => (channel(), number(), any::<u32>(), text(256))
            .prop_map(|(c, n, code, t)| Item::Reject(c, n, code, t)),
        1 => (channel(), number()).prop_map(|(c, n)| Item::Noted(c, n)),
        1 => any::<u64>().prop_map(Item::Ping),
        1 => (number(), number(), any::<u64>()).prop_map(|(echo, arrived, time)| {
            Item::Pong(Pong { echo, arrived, time })
        }),
        2 => (channel(), number(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(c, n, r)| Item::Reply(c, n, r)),
        1 => (code(), any::<bool>(), text(256), list)
            .prop_map(|(n, a, t, l)| Item::Close(n, a, t, l)),
        1 => Just(Item::Done),
        1 => (any::<u16>(), text(256)).prop_map(|(n, t)| Item::Abort(n, t)),
        10 => message(),
        1 => (0x80..=0xFF_u8, any::<u8>(), any::<u16>(), body)
            .prop_map(|(k, f, c, b)| Item::Unknown(k, f, c, b)),
    ]
}

/// Frames in a row.
pub(crate) fn items(most: usize) -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(item(), 0..most)
}

/// Lengths of pieces.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        prop::collection::vec(1..30_usize, 1..6),
        prop::collection::vec(1..2000_usize, 1..6),
    ]
}

/// Bytes of frames with some of them changed, left out or doubled; or any bytes.
pub(crate) fn damaged(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let frames = (items(most), prop::collection::vec(change, 0..5)).prop_map(|(items, changes)| {
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        for (at, value, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, value),
            }
        }
        bytes
    });
    prop_oneof![4 => frames, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// What a peer that nearly keeps to the rules does; channel 0 is its own, channel 1 the link's.
#[derive(Clone, Debug)]
enum Step {
    /// The next message, cut into this many frames.
    Next(usize, usize),
    Skip(u64),
    Other(Item),
}

fn step() -> impl Strategy<Value = Step> {
    let small = || 0..6_u64;
    prop_oneof![
        8 => (0..700_usize, 1..5_usize).prop_map(|(length, frames)| Step::Next(length, frames)),
        1 => prop_oneof![1..4_u64, Just(u64::MAX)].prop_map(Step::Skip),
        3 => small().prop_map(|n| Step::Other(Item::Ack(1, n))),
        2 => (small(), text(256)).prop_map(|(n, t)| Step::Other(Item::Reject(1, n, 4, t))),
        2 => small().prop_map(|n| Step::Other(Item::Noted(0, n))),
        1 => (0..12_u64, code()).prop_map(|(n, code)| {
            Step::Other(Item::Close(code, false, String::new(), vec![(0, n)]))
        }),
        1 => Just(Step::Other(Item::Done)),
        1 => Just(Step::Other(Item::Ping(1))),
        1 => item().prop_map(Step::Other),
    ]
}

/// Rounds of bytes from a peer that nearly keeps to the rules.
pub(crate) fn plausible() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let rounds = prop::collection::vec(prop::collection::vec(step(), 0..8), 1..6);
    rounds.prop_map(|rounds| {
        let mut sequence = 0_u64;
        let mut write = |steps: Vec<Step>| {
            let mut bytes = Vec::new();
            for step in steps {
                match step {
                    Step::Next(length, frames) => {
                        sequence = sequence.wrapping_add(1);
                        next_message(sequence, length, frames, &mut bytes);
                    }
                    Step::Skip(count) => {
                        sequence = sequence.saturating_add(count);
                        Item::Skip(0, sequence).encode(&mut bytes);
                    }
                    Step::Other(item) => item.encode(&mut bytes),
                }
            }
            bytes
        };
        rounds.into_iter().map(&mut write).collect()
    })
}

fn next_message(sequence: u64, length: usize, frames: usize, bytes: &mut Vec<u8>) {
    let parts = frames.min(length.max(1));
    for part in 0..parts {
        let (first, last) = (part == 0, part + 1 == parts);
        let from = length * part / parts;
        let payload = vec![part.to_le_bytes()[0]; length * (part + 1) / parts - from];
        let head = MessageHead {
            channel: 0,
            first,
            last,
            sequence: u32::try_from(sequence & 0xFFFF_FFFF).expect("masked"),
            total: (first && !last).then_some(length as u64),
            times: None,
            length: payload.len(),
        };
        Item::Message(head, payload).encode(bytes);
    }
}
