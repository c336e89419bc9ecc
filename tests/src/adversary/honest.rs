//! The frames of the protocol, built by hand, for attackers that know them.

use countersign_core::wire::{
    ChannelEntry, Decoder, Frame, FrameType, GreetingHead, MAX_GREETING, MessageHead, Piece,
    SessionOutcome, VERSION, encode_greeting,
};
use countersign_core::{DEFAULT_FRAME_LIMIT, Mode, Policy, Role, SessionId};

/// An attacker's greeting, with one channel called `data`. By default a new session, in which the
/// opener sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// Whether the opener sends: what a HELLO says, and of what a WELCOME says the opposite.
    pub mode: Mode,
    /// The session that it names, or zeros.
    pub session: SessionId,
    /// HELLO: which attempt to resume this is.
    pub attempt: u32,
    /// WELCOME: what became of the session that a HELLO named.
    pub outcome: SessionOutcome,
    /// Where it receives: the last number that it has settled.
    pub handled: u64,
    /// Where it receives: the last number that it has whole.
    pub received: u64,
    /// Where it receives: how many bytes it has of the next one.
    pub partial: u64,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            mode: Mode::Send,
            session: [0; 16],
            attempt: 0,
            outcome: SessionOutcome::New,
            handled: 0,
            received: 0,
            partial: 0,
        }
    }
}

impl Words {
    /// The HELLO frame.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let words = Self {
            outcome: SessionOutcome::New,
            ..*self
        };
        words.greeting(FrameType::Hello)
    }

    /// The WELCOME frame. Its session must not be zeros, so those stand for some other.
    #[must_use]
    pub fn welcome(&self) -> Vec<u8> {
        let session = match self.session == [0; 16] {
            true => [7; 16],
            false => self.session,
        };
        let words = Self {
            session,
            mode: self.mode.opposite(),
            ..*self
        };
        words.greeting(FrameType::Welcome)
    }

    /// What a victim in this role waits for.
    #[must_use]
    pub fn to(&self, victim: Role) -> Vec<u8> {
        match victim {
            Role::Acceptor => self.hello(),
            Role::Opener => self.welcome(),
        }
    }

    fn greeting(&self, kind: FrameType) -> Vec<u8> {
        let head = GreetingHead {
            version_min: VERSION,
            version_max: VERSION,
            outcome: self.outcome,
            attempt: self.attempt,
            frame_limit: DEFAULT_FRAME_LIMIT as u32,
            session: self.session,
            time: 0,
            arrived: 0,
        };
        let receives = self.mode == Mode::Receive;
        let entry = ChannelEntry {
            mode: self.mode,
            policy: Some(Policy::Reliable),
            name: "data",
            wants_times: false,
            max_reply: 256,
            max_message: 1 << 20,
            window_messages: if receives { 64 } else { 0 },
            window_bytes: if receives { 1 << 20 } else { 0 },
            handled: self.handled,
            received: self.received,
            partial: self.partial,
        };
        let mut frame = vec![0; MAX_GREETING];
        let length = encode_greeting(kind, &head, std::iter::once(entry), &mut frame);
        frame.truncate(length.unwrap());
        frame
    }
}

/// A message in one frame, on the first channel.
#[must_use]
pub fn message(number: u64, payload: &[u8]) -> Vec<u8> {
    fragments(number, payload, payload.len().max(1)).remove(0)
}

/// Returns a message on the first channel in frames with `each` bytes of payload.
#[must_use]
pub fn fragments(number: u64, payload: &[u8], each: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<_> = match payload {
        [] => vec![payload],
        _ => payload.chunks(each).collect(),
    };
    let count = pieces.len();
    let frame = |(at, piece): (usize, &&[u8])| {
        let head = MessageHead {
            channel: 0,
            first: at == 0,
            last: at + 1 == count,
            sequence: number as u32,
            total: (at == 0 && count > 1).then_some(payload.len() as u64),
            times: None,
            length: piece.len(),
        };
        let mut frame = vec![0; head.encoded_len()];
        head.encode(&mut frame);
        frame.extend_from_slice(piece);
        frame
    };
    pieces.iter().enumerate().map(frame).collect()
}

/// Any other frame.
#[must_use]
pub fn frame(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; MAX_GREETING];
    let length = frame.encode(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Everything through this number is settled, on the first channel.
#[must_use]
pub fn ack(handled: u64) -> Vec<u8> {
    frame(&Frame::Ack {
        channel: 0,
        handled,
    })
}

/// Reads a whole frame.
pub fn read<R>(mut frame: &[u8], look: impl FnOnce(Piece<'_>) -> R) -> R {
    let mut decoder = Decoder::new(DEFAULT_FRAME_LIMIT);
    let piece = decoder.next(&mut frame).unwrap();
    look(piece.expect("a whole frame"))
}
