//! Reads the bytes of one direction of a connection as frames.

use countersign::capture::wire::{
    Decoder, Frame, FrameType, Greeting, MAX_FRAME_LIMIT, MessageHead, NO_CHANNEL, Piece, Pong,
    Times,
};
use countersign::capture::{Data, Part};
use countersign::{Dialect, Mode, Policy};

use super::line::{PREVIEW, Payload};

/// What replaces payloads that were left out, piece by piece.
const ZEROS: &[u8] = &[0; 1 << 16];

/// The specification's `time`, when a frame was written: each line has a time of its own.
const WRITTEN: &str = "written";

/// What was found in a direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A frame: its type, its channel's number, its fields, its payload.
    Frame {
        kind: String,
        channel: Option<u16>,
        fields: Vec<Field>,
        payload: Option<Payload>,
        note: Note,
    },
    /// From here on the bytes are not frames.
    Rubbish(String),
}

/// What a frame says that later ones are read by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Note {
    Nothing,
    /// HELLO: the names of the channels, and the time.
    Hello {
        names: Vec<String>,
        time: u64,
    },
    Welcome {
        arrived: u64,
        time: u64,
    },
    Ping(u64),
    Pong(Pong),
    /// It has the reply to a message.
    Reply,
}

/// A field of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Number(&'static str, u64),
    /// Microseconds, which are shown in milliseconds.
    Millis(&'static str, u64),
    Text(&'static str, String),
    Hex(&'static str, Vec<u8>),
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) enum Direction {
    Frames(Decoder),
    /// tlsstream: the length so far and its digits, then what is missing of the message.
    Stream {
        length: u64,
        digits: usize,
        left: u64,
    },
    Confirmations(usize),
    Rubbish,
}

impl Direction {
    /// Returns the state for a new connection. `mode` is that of the first channel at the end that
    /// sends these bytes.
    pub(super) fn new(dialect: Dialect, mode: Mode) -> Self {
        match (dialect, mode) {
            (Dialect::Countersign, _) => Self::Frames(Decoder::new(MAX_FRAME_LIMIT)),
            (Dialect::TlsStream, Mode::Send) => Self::Stream {
                length: 0,
                digits: 0,
                left: 0,
            },
            (Dialect::TlsStream, Mode::Receive) => Self::Confirmations(0),
        }
    }

    pub(super) fn read(&mut self, data: &Data) -> Vec<Found> {
        let mut found = Vec::new();
        for part in &data.0 {
            match part {
                Part::Bytes(bytes) => self.feed(bytes, true, &mut found),
                Part::LeftOut(length) => {
                    let mut left = *length;
                    while left > 0 {
                        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                        self.feed(&ZEROS[..piece], false, &mut found);
                        left -= piece as u64;
                    }
                }
            }
        }
        found
    }

    fn feed(&mut self, bytes: &[u8], known: bool, found: &mut Vec<Found>) {
        match self {
            Self::Frames(decoder) => {
                if let Err(wrong) = frames(decoder, bytes, known, found) {
                    found.push(Found::Rubbish(wrong));
                    *self = Self::Rubbish;
                }
            }
            Self::Stream {
                length,
                digits,
                left,
            } => {
                if !messages(length, digits, left, bytes, known, found) {
                    found.push(Found::Rubbish("neither a length nor a message".to_owned()));
                    *self = Self::Rubbish;
                }
            }
            Self::Confirmations(at) => {
                for byte in bytes {
                    if b"OK!"[*at] != *byte {
                        found.push(Found::Rubbish("no confirmation".to_owned()));
                        *self = Self::Rubbish;
                        return;
                    }
                    *at = (*at + 1) % 3;
                    if *at == 0 {
                        found.push(frame("OK", None));
                    }
                }
            }
            Self::Rubbish => {}
        }
    }
}

fn frame(kind: &str, channel: Option<u16>) -> Found {
    Found::Frame {
        kind: kind.to_owned(),
        channel,
        fields: Vec::new(),
        payload: None,
        note: Note::Nothing,
    }
}

/// Adds to what is shown of the last payload found.
fn more(found: &mut [Found], data: &[u8], known: bool) {
    if let Some(Found::Frame {
        payload: Some(payload),
        ..
    }) = found.last_mut()
    {
        let shown = payload.bytes.as_ref().map_or(0, Vec::len);
        if known {
            let data = &data[..data.len().min(PREVIEW - shown.min(PREVIEW))];
            payload
                .bytes
                .get_or_insert_default()
                .extend_from_slice(data);
        }
    }
}

fn frames(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    known: bool,
    found: &mut Vec<Found>,
) -> Result<(), String> {
    while let Some(piece) = decoder
        .next(&mut bytes)
        .map_err(|wrong| wrong.to_string())?
    {
        match piece {
            Piece::Message { head, data } => {
                found.push(message(&head));
                more(found, data, known && !data.is_empty());
            }
            Piece::More(data) => more(found, data, known),
            Piece::Frame(frame) => found.push(other(&frame, known)),
        }
    }
    Ok(())
}

fn message(head: &MessageHead) -> Found {
    let mut fields = vec![Field::Number("number", head.sequence.into())];
    let part = match (head.first, head.last) {
        (true, true) => None,
        (true, false) => Some("first"),
        (false, true) => Some("last"),
        (false, false) => Some("middle"),
    };
    fields.extend(part.map(|part| Field::Text("part", part.to_owned())));
    fields.extend(head.total.map(|total| Field::Number("length", total)));
    if let Some(Times { accepted, expires }) = head.times {
        fields.push(Field::Number("accepted", accepted));
        fields.push(match expires {
            Times::NEVER => Field::Text("life", "unlimited".to_owned()),
            // One that is over when it begins is none.
            _ => match expires.wrapping_sub(accepted).cast_signed() {
                life @ 0.. => Field::Millis("life_ms", life.cast_unsigned()),
                _ => Field::Millis("life_ms", 0),
            },
        });
    }
    Found::Frame {
        kind: "MESSAGE".to_owned(),
        channel: Some(head.channel),
        fields,
        payload: Some(Payload {
            length: head.length as u64,
            bytes: (head.length == 0).then(Vec::new),
        }),
        note: Note::Nothing,
    }
}

/// Returns the type's name, as the specification writes it.
pub(super) fn name(kind: &FrameType) -> String {
    format!("{kind:?}").to_uppercase()
}

/// Returns what a frame that is no MESSAGE says. `known` is false where a reply was left out.
fn other(frame: &Frame<'_>, known: bool) -> Found {
    let (channel, fields) = fields(frame);
    let payload = match *frame {
        Frame::Reply { reply, .. } => Some(Payload {
            length: reply.len() as u64,
            bytes: (known || reply.is_empty()).then(|| reply[..reply.len().min(PREVIEW)].to_vec()),
        }),
        _ => None,
    };
    Found::Frame {
        kind: name(&frame.kind()),
        channel,
        fields,
        payload,
        note: note(frame),
    }
}

fn note(frame: &Frame<'_>) -> Note {
    match frame {
        Frame::Hello(greeting) => Note::Hello {
            names: greeting
                .channels()
                .map(|entry| entry.name.to_owned())
                .collect(),
            time: greeting.head.time,
        },
        Frame::Welcome(greeting) => Note::Welcome {
            arrived: greeting.head.arrived,
            time: greeting.head.time,
        },
        Frame::Ping(time) => Note::Ping(*time),
        Frame::Pong(pong) => Note::Pong(*pong),
        Frame::Reply { .. } => Note::Reply,
        _ => Note::Nothing,
    }
}

/// Returns the number of the frame's channel, and its fields under their names in the specification.
fn fields(frame: &Frame<'_>) -> (Option<u16>, Vec<Field>) {
    use Field::{Number, Text};

    match *frame {
        Frame::Hello(ref greeting) => (None, greeting_fields(greeting, None)),
        Frame::Welcome(ref greeting) => {
            let arrived = Number("arrived", greeting.head.arrived);
            (None, greeting_fields(greeting, Some(arrived)))
        }
        Frame::Refuse {
            channel,
            code,
            again,
            text,
        } => (
            (channel != NO_CHANNEL).then_some(channel),
            said(code.into(), again, text),
        ),
        Frame::Skip { channel, through } => (Some(channel), vec![Number("through", through)]),
        Frame::Ack { channel, handled } => (Some(channel), vec![Number("handled", handled)]),
        Frame::Reject {
            channel,
            sequence,
            code,
            reason,
        } => (
            Some(channel),
            vec![
                Number("number", sequence),
                Number("code", code.into()),
                Text("reason", reason.to_owned()),
            ],
        ),
        Frame::Reply {
            channel, sequence, ..
        }
        | Frame::Noted { channel, sequence } => (Some(channel), vec![Number("number", sequence)]),
        Frame::Ping(time) => (None, vec![Number(WRITTEN, time)]),
        Frame::Pong(Pong {
            echo,
            arrived,
            time,
        }) => {
            let (echo, arrived) = (Number("echo", echo), Number("arrived", arrived));
            (None, vec![echo, arrived, Number(WRITTEN, time)])
        }
        Frame::Close { head, list } => {
            let mut fields = said(head.code.into(), head.again, head.text);
            let last = list
                .entries()
                .map(|(channel, last)| format!("{channel}:{last}"));
            let last = last.collect::<Vec<_>>().join(",");
            fields.push(Text("last", last));
            (None, fields)
        }
        Frame::Done => (None, Vec::new()),
        Frame::Abort { code, text } => (
            None,
            vec![Number("code", code.into()), Text("text", text.to_owned())],
        ),
    }
}

/// Returns the fields of REFUSE and CLOSE.
fn said(code: u64, again: bool, text: &str) -> Vec<Field> {
    let mut fields = vec![Field::Number("code", code)];
    if again {
        fields.push(Field::Text("again", "yes".to_owned()));
    }
    if code > 0 || !text.is_empty() {
        fields.push(Field::Text("text", text.to_owned()));
    }
    fields
}

fn greeting_fields(greeting: &Greeting<'_>, arrived: Option<Field>) -> Vec<Field> {
    let head = &greeting.head;
    let mut fields = vec![
        Field::Number("lowest", head.version_min.into()),
        Field::Number("highest", head.version_max.into()),
        Field::Text("outcome", format!("{:?}", head.outcome)),
        Field::Number("frame_limit", head.frame_limit.into()),
        Field::Hex("session", head.session.to_vec()),
        Field::Number(WRITTEN, head.time),
    ];
    fields.extend(arrived);
    if head.attempt > 0 {
        fields.push(Field::Number("attempt", head.attempt.into()));
    }
    for entry in greeting.channels() {
        let mode = match entry.mode {
            Mode::Send => "send",
            Mode::Receive => "receive",
        };
        let policy = match entry.policy {
            Some(Policy::Reliable) => "Reliable",
            Some(Policy::Latest) => "Latest",
            None => "any",
        };
        let mut text = format!(
            "{} {mode} {policy} max={} reply={}",
            entry.name, entry.max_message, entry.max_reply
        );
        if entry.wants_times {
            text.push_str(" times");
        }
        if entry.mode == Mode::Receive {
            let figures = format!(
                " window={}/{} handled={} received={} partial={}",
                entry.window_messages,
                entry.window_bytes,
                entry.handled,
                entry.received,
                entry.partial
            );
            text.push_str(&figures);
        }
        fields.push(Field::Text("channel", text));
    }
    fields
}

/// Reads messages of the tlsstream dialect; returns false if the bytes are none.
fn messages(
    length: &mut u64,
    digits: &mut usize,
    left: &mut u64,
    mut bytes: &[u8],
    known: bool,
    found: &mut Vec<Found>,
) -> bool {
    while let Some((byte, rest)) = bytes.split_first() {
        if *left > 0 {
            let taken = usize::try_from(*left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            more(found, &bytes[..taken], known);
            *left -= taken as u64;
            bytes = &bytes[taken..];
            continue;
        }
        match byte {
            b'0'..=b'9' if *digits < 20 => {
                *digits += 1;
                *length = length
                    .saturating_mul(10)
                    .saturating_add(u64::from(byte - b'0'));
            }
            b'!' if *length > 0 => {
                let payload = Some(Payload {
                    length: *length,
                    bytes: None,
                });
                let mut message = frame("MESSAGE", Some(0));
                if let Found::Frame { payload: place, .. } = &mut message {
                    *place = payload;
                }
                found.push(message);
                (*left, *length, *digits) = (*length, 0, 0);
            }
            _ => return false,
        }
        bytes = rest;
    }
    true
}
