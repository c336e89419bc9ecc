//! Frames written by hand, independently of the crate's encoder, and hex.

use core::sync::atomic::{AtomicU32, Ordering};

/// A frame: header and body.
pub(crate) fn frame(kind: u8, flags: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend(channel.to_be_bytes());
    out.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
    out.extend(body);
    out
}

/// A message in one frame.
pub(crate) fn message(channel: u16, number: u32, payload: &[u8]) -> Vec<u8> {
    frame(
        0x10,
        3,
        channel,
        &[&number.to_be_bytes()[..], payload].concat(),
    )
}

/// The first of several fragments.
pub(crate) fn first(channel: u16, number: u32, total: u64, payload: &[u8]) -> Vec<u8> {
    let body = [&number.to_be_bytes()[..], &total.to_be_bytes()[..], payload];
    frame(0x10, 1, channel, &body.concat())
}

/// A fragment that is not the first.
pub(crate) fn next(channel: u16, number: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    let flags = if last { 2 } else { 0 };
    let body = [&number.to_be_bytes()[..], payload];
    frame(0x10, flags, channel, &body.concat())
}

/// A frame whose body is one number: SKIP, ACK, NOTED, PING.
pub(crate) fn number(kind: u8, channel: u16, value: u64) -> Vec<u8> {
    frame(kind, 0, channel, &value.to_be_bytes())
}

pub(crate) fn skip(channel: u16, through: u64) -> Vec<u8> {
    number(0x11, channel, through)
}

pub(crate) fn ack(channel: u16, handled: u64) -> Vec<u8> {
    number(0x12, channel, handled)
}

/// A PONG.
pub(crate) fn pong(echo: u64, arrived: u64, time: u64) -> Vec<u8> {
    let body = [echo, arrived, time].map(u64::to_be_bytes);
    frame(0x21, 0, 0, body.as_flattened())
}

/// A message in one frame, with the times at which it was accepted and is late.
pub(crate) fn timed(channel: u16, number: u32, times: [u64; 2], payload: &[u8]) -> Vec<u8> {
    let times = times.map(u64::to_be_bytes);
    let body = [&number.to_be_bytes()[..], times.as_flattened(), payload];
    frame(0x10, 7, channel, &body.concat())
}

/// A VERDICT with a reply.
pub(crate) fn reply(channel: u16, number: u64, reply: &[u8]) -> Vec<u8> {
    frame(
        0x13,
        1,
        channel,
        &[&number.to_be_bytes()[..], reply].concat(),
    )
}

pub(crate) fn noted(channel: u16, number_: u64) -> Vec<u8> {
    number(0x14, channel, number_)
}

pub(crate) fn reject(channel: u16, number: u64, code: u32, reason: &str) -> Vec<u8> {
    let body = [
        &number.to_be_bytes()[..],
        &code.to_be_bytes(),
        reason.as_bytes(),
    ];
    frame(0x13, 0, channel, &body.concat())
}

/// A CLOSE that says that all is well.
pub(crate) fn close(last: &[(u16, u64)]) -> Vec<u8> {
    closing(0, 0, last, b"")
}

/// A CLOSE with all of its fields.
pub(crate) fn closing(flags: u8, code: u32, last: &[(u16, u64)], text: &[u8]) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    body.extend(u16::try_from(last.len()).expect("short").to_be_bytes());
    for (channel, number) in last {
        body.extend(channel.to_be_bytes());
        body.extend(number.to_be_bytes());
    }
    body.extend(text);
    frame(0x30, flags, 0, &body)
}

/// That of an end that has withdrawn something.
pub(crate) fn withdrawing(last: &[(u16, u64)]) -> Vec<u8> {
    closing(0, countersign_core::close::WITHDRAWN, last, b"")
}

pub(crate) fn done() -> Vec<u8> {
    frame(0x31, 0, 0, &[])
}

/// REFUSE and ABORT.
pub(crate) fn coded(kind: u8, channel: u16, code: u16, text: &[u8]) -> Vec<u8> {
    frame(
        kind,
        0,
        channel,
        &[&code.to_be_bytes()[..], &[0, 0], text].concat(),
    )
}

/// REFUSE with the flag that another attempt can help.
pub(crate) fn for_now(code: u16, text: &[u8]) -> Vec<u8> {
    let mut bytes = coded(0x03, 0xFFFF, code, text);
    bytes[1] = 1;
    bytes
}

/// One channel of a greeting, every field free.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) mode: u8,
    pub(crate) policy: u8,
    pub(crate) reserved: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) max_message: u64,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u64,
    pub(crate) resume: [u64; 3],
    pub(crate) max_reply: u32,
}

impl Entry {
    pub(crate) fn send(name: &str) -> Self {
        Self {
            mode: 0,
            policy: 0,
            reserved: 0,
            name: name.as_bytes().to_vec(),
            max_message: 1 << 20,
            window_messages: 0,
            window_bytes: 0,
            resume: [0; 3],
            max_reply: 256,
        }
    }

    pub(crate) fn receive(name: &str) -> Self {
        Self {
            mode: 1,
            policy: 0xFF,
            window_messages: 100,
            window_bytes: 1 << 20,
            ..Self::send(name)
        }
    }

    /// With what a greeting that resumes says: handled, received, partial.
    pub(crate) fn having(mut self, figures: [u64; 3]) -> Self {
        self.resume = figures;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let name_len = u8::try_from(self.name.len()).expect("short");
        let mut out = vec![self.mode, self.policy, self.reserved, name_len];
        out.extend(self.max_message.to_be_bytes());
        out.extend(self.window_messages.to_be_bytes());
        out.extend(self.window_bytes.to_be_bytes());
        for figure in self.resume {
            out.extend(figure.to_be_bytes());
        }
        out.extend(self.max_reply.to_be_bytes());
        out.extend(&self.name);
        out
    }
}

/// A greeting, every field free.
#[derive(Clone)]
pub(crate) struct Greeting {
    pub(crate) kind: u8,
    pub(crate) magic: [u8; 4],
    pub(crate) versions: (u16, u16),
    pub(crate) outcome: u8,
    pub(crate) reserved: [u8; 3],
    pub(crate) frame_limit: u32,
    pub(crate) session: [u8; 16],
    /// When it was written, and when the HELLO arrived that it answers.
    pub(crate) times: [u64; 2],
    pub(crate) count: Option<u16>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) tail: Vec<u8>,
}

impl Greeting {
    pub(crate) fn hello(entries: &[Entry]) -> Self {
        Self {
            kind: 1,
            magic: *b"CSGN",
            versions: (1, 1),
            outcome: 0,
            reserved: [0; 3],
            frame_limit: 16_384,
            session: [0; 16],
            times: [0; 2],
            count: None,
            entries: entries.to_vec(),
            tail: Vec::new(),
        }
    }

    pub(crate) fn welcome(entries: &[Entry]) -> Self {
        Self {
            kind: 2,
            session: [7; 16],
            ..Self::hello(entries)
        }
    }

    /// A HELLO that names a session.
    pub(crate) fn naming(session: [u8; 16], entries: &[Entry]) -> Self {
        // Newer than any before it, whichever test it is in.
        static ATTEMPTS: AtomicU32 = AtomicU32::new(1);
        let [_, high, middle, low] = ATTEMPTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self {
            reserved: [high, middle, low],
            session,
            ..Self::hello(entries)
        }
    }

    /// A WELCOME that goes on with the session of [`Greeting::welcome`].
    pub(crate) fn resumed(entries: &[Entry]) -> Self {
        Self {
            outcome: 1,
            ..Self::welcome(entries)
        }
    }

    /// A WELCOME with another session, because the old one is not known (2) or too old (3).
    pub(crate) fn anew(outcome: u8, entries: &[Entry]) -> Self {
        Self {
            outcome,
            session: [8; 16],
            ..Self::welcome(entries)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.versions.0.to_be_bytes());
        out.extend(self.versions.1.to_be_bytes());
        out.push(self.outcome);
        out.extend(self.reserved);
        out.extend(self.frame_limit.to_be_bytes());
        out.extend(self.session);
        for time in self.times {
            out.extend(time.to_be_bytes());
        }
        let count = u16::try_from(self.entries.len()).expect("few");
        out.extend(self.count.unwrap_or(count).to_be_bytes());
        for entry in &self.entries {
            out.extend(entry.bytes());
        }
        out.extend(&self.tail);
        frame(self.kind, 0, 0, &out)
    }
}

/// The bytes of hex digits, spaces between them ignored.
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hex digit")).expect("one digit"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text:?}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// The hex digits of bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
