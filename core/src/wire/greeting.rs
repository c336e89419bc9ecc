//! HELLO and WELCOME (`docs/protocol.md`, Handshake).

use alloc::vec::Vec;

use crate::channel::{Mode, Policy};
use crate::limits::{MAX_CHANNEL_NAME, MAX_CHANNELS};
use crate::wire::cursor::{Reader, Writer};
use crate::wire::{FrameType, HEADER_LEN, Header};
use crate::{BufferTooSmall, PeerMisbehaved};

/// The first four bytes of HELLO and WELCOME.
pub const MAGIC: [u8; 4] = *b"CSGN";
/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;
/// Stands for 'not known' in the `handled` field of an answer to a refused resume.
pub const NOT_KNOWN: u64 = u64::MAX;

const FIXED: usize = 50;
const ENTRY: usize = 52;
/// Flag of a channel: its receiver wants the times of every message.
const WANTS_TIMES: u8 = 0x01;
const ANY_POLICY: u8 = 0xFF;

/// What became of the session that a HELLO named, in a WELCOME; zero in a HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionOutcome {
    /// A new session; the HELLO named none.
    New,
    /// The named session is resumed.
    Resumed,
    /// The named session is not known: a new one begins.
    NotKnown,
    /// The named session is known to be gone: a new one begins.
    TooOld,
}

impl SessionOutcome {
    const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::New),
            1 => Some(Self::Resumed),
            2 => Some(Self::NotKnown),
            3 => Some(Self::TooOld),
            _ => None,
        }
    }
}

/// The fields of HELLO and WELCOME before their channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GreetingHead {
    /// HELLO: the lowest version spoken. WELCOME: the version chosen.
    pub version_min: u16,
    /// HELLO: the highest version spoken. WELCOME: the version chosen.
    pub version_max: u16,
    /// WELCOME: what became of the named session. HELLO: `New`.
    pub outcome: SessionOutcome,
    /// HELLO that names a session: the number of the attempt to resume it, from 1, modulo 2^24.
    /// Otherwise without meaning.
    pub attempt: u32,
    /// The largest frame that the sender of the greeting accepts, in bytes with the header.
    pub frame_limit: u32,
    /// HELLO: the session to resume, zeros for none. WELCOME: the session from here on.
    pub session: [u8; 16],
    /// When the greeting was written, by the clock of its sender, in microseconds.
    pub time: u64,
    /// WELCOME: when HELLO arrived, by the same clock. HELLO: zero.
    pub arrived: u64,
}

/// One channel in HELLO or WELCOME, as seen by the sender of the greeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelEntry<'a> {
    /// The mode of the sender of the greeting.
    pub mode: Mode,
    /// Send mode: the policy. Receive mode: the policy required of the sender, if any.
    pub policy: Option<Policy>,
    /// The name.
    pub name: &'a str,
    /// Receive mode: whether every message is to come with its times. Send mode: false.
    pub wants_times: bool,
    /// The longest reply to a message that the sender of the greeting accepts or gives, in bytes;
    /// zero for none.
    pub max_reply: u32,
    /// The largest message that the sender of the greeting sends or accepts, in bytes.
    pub max_message: u64,
    /// Receive mode: how many messages may be unacknowledged. Send mode: zero.
    pub window_messages: u32,
    /// Receive mode: how many bytes may be unacknowledged. Send mode: zero.
    pub window_bytes: u64,
    /// Receive mode: everything up to this number is settled. Send mode: zero.
    pub handled: u64,
    /// Receive mode: everything up to this number has arrived whole. Send mode: zero.
    pub received: u64,
    /// Receive mode: how many bytes have arrived of the message after `received`. Send mode: zero.
    pub partial: u64,
}

/// A decoded HELLO or WELCOME. The channels are numbered on the wire in the order of HELLO.
///
/// If the versions of a greeting do not include [`VERSION`], only the versions are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting<'a> {
    /// The fields before the channels.
    pub head: GreetingHead,
    count: u16,
    entries: &'a [u8],
}

impl<'a> Greeting<'a> {
    /// Reads the body of a HELLO or WELCOME and checks all of its channels.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, PeerMisbehaved> {
        let mut reader = Reader(body);
        if reader.array()? != MAGIC {
            return Err(PeerMisbehaved::NotCountersign);
        }
        let (version_min, version_max) = (reader.u16()?, reader.u16()?);
        if version_min > version_max {
            return Err(PeerMisbehaved::Greeting);
        }
        if !(version_min..=version_max).contains(&VERSION) {
            return Ok(Self::of_other_versions(version_min, version_max));
        }
        let outcome = SessionOutcome::from_u8(reader.u8()?).ok_or(PeerMisbehaved::Greeting)?;
        let [high, middle, low] = reader.array()?;
        let attempt = u32::from_be_bytes([0, high, middle, low]);
        let frame_limit = reader.u32()?;
        let session = reader.array()?;
        let (time, arrived) = (reader.u64()?, reader.u64()?);
        let count = reader.u16()?;
        if usize::from(count) > MAX_CHANNELS {
            return Err(PeerMisbehaved::Greeting);
        }
        let entries = reader.0;
        for _ in 0..count {
            reader.entry()?;
        }
        let head = GreetingHead {
            version_min,
            version_max,
            outcome,
            attempt,
            frame_limit,
            session,
            time,
            arrived,
        };
        Ok(Self {
            head,
            count,
            entries,
        })
    }

    /// Returns what can be known of a greeting in other versions: what follows the versions may
    /// have another layout.
    const fn of_other_versions(version_min: u16, version_max: u16) -> Self {
        let head = GreetingHead {
            version_min,
            version_max,
            outcome: SessionOutcome::New,
            attempt: 0,
            frame_limit: 0,
            session: [0; 16],
            time: 0,
            arrived: 0,
        };
        Self {
            head,
            count: 0,
            entries: &[],
        }
    }

    /// Returns the channels in order.
    pub fn channels(&self) -> impl Iterator<Item = ChannelEntry<'a>> + use<'a> {
        let mut reader = Reader(self.entries);
        // `decode` has checked every entry.
        (0..self.count).map_while(move |_| reader.entry().ok())
    }
}

/// A greeting that outlives the input that it arrived in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct OwnedGreeting {
    pub(crate) head: GreetingHead,
    count: u16,
    entries: Vec<u8>,
}

impl OwnedGreeting {
    pub(crate) fn new(greeting: &Greeting<'_>) -> Self {
        Self {
            head: greeting.head,
            count: greeting.count,
            entries: greeting.entries.to_vec(),
        }
    }

    pub(crate) fn greeting(&self) -> Greeting<'_> {
        Greeting {
            head: self.head,
            count: self.count,
            entries: &self.entries,
        }
    }
}

impl<'a> Reader<'a> {
    fn entry(&mut self) -> Result<ChannelEntry<'a>, PeerMisbehaved> {
        let mode = match self.u8()? {
            0 => Mode::Send,
            1 => Mode::Receive,
            _ => return Err(PeerMisbehaved::Greeting),
        };
        let policy = match (self.u8()?, mode) {
            (0, _) => Some(Policy::Reliable),
            (1, _) => Some(Policy::Latest),
            (ANY_POLICY, Mode::Receive) => None,
            _ => return Err(PeerMisbehaved::Greeting),
        };
        let wants_times = self.u8()? & WANTS_TIMES != 0 && mode == Mode::Receive;
        let name_len = usize::from(self.u8()?);
        if name_len > MAX_CHANNEL_NAME {
            return Err(PeerMisbehaved::Greeting);
        }
        let max_message = self.u64()?;
        let window_messages = self.u32()?;
        let window_bytes = self.u64()?;
        let (handled, received, partial) = (self.u64()?, self.u64()?, self.u64()?);
        let max_reply = self.u32()?;
        let name = self.text(name_len)?;
        Ok(ChannelEntry {
            mode,
            policy,
            name,
            wants_times,
            max_reply,
            max_message,
            window_messages,
            window_bytes,
            handled,
            received,
            partial,
        })
    }
}

/// Writes a HELLO or WELCOME to the front of `out` and returns its length.
///
/// # Errors
///
/// [`BufferTooSmall`] when `out` does not hold it; nothing is written then.
pub fn encode_greeting<'a>(
    kind: FrameType,
    head: &GreetingHead,
    channels: impl Iterator<Item = ChannelEntry<'a>> + Clone,
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let body = FIXED
        + channels
            .clone()
            .map(|entry| ENTRY + entry.name.len())
            .sum::<usize>();
    let needed = HEADER_LEN + body;
    if out.len() < needed {
        return Err(BufferTooSmall { needed });
    }
    let mut writer = Writer { out, at: 0 };
    let length = u32::try_from(body).unwrap_or(u32::MAX);
    writer.put(&Header::encode(kind, 0, 0, length));
    writer.put(&MAGIC);
    writer.put(&head.version_min.to_be_bytes());
    writer.put(&head.version_max.to_be_bytes());
    let [_, high, middle, low] = head.attempt.to_be_bytes();
    writer.put(&[head.outcome as u8, high, middle, low]);
    writer.put(&head.frame_limit.to_be_bytes());
    writer.put(&head.session);
    writer.put(&head.time.to_be_bytes());
    writer.put(&head.arrived.to_be_bytes());
    let count = u16::try_from(channels.clone().count()).unwrap_or(u16::MAX);
    writer.put(&count.to_be_bytes());
    for entry in channels {
        writer.entry(&entry);
    }
    Ok(writer.at)
}

impl Writer<'_> {
    fn entry(&mut self, entry: &ChannelEntry<'_>) {
        let mode = match entry.mode {
            Mode::Send => 0,
            Mode::Receive => 1,
        };
        let policy = match entry.policy {
            Some(Policy::Reliable) => 0,
            Some(Policy::Latest) => 1,
            None => ANY_POLICY,
        };
        let name_len = u8::try_from(entry.name.len()).unwrap_or(u8::MAX);
        let flags = if entry.wants_times { WANTS_TIMES } else { 0 };
        self.put(&[mode, policy, flags, name_len]);
        self.put(&entry.max_message.to_be_bytes());
        self.put(&entry.window_messages.to_be_bytes());
        self.put(&entry.window_bytes.to_be_bytes());
        self.put(&entry.handled.to_be_bytes());
        self.put(&entry.received.to_be_bytes());
        self.put(&entry.partial.to_be_bytes());
        self.put(&entry.max_reply.to_be_bytes());
        self.put(entry.name.as_bytes());
    }
}
