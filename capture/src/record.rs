//! What a record says.

use countersign_core::{
    ChannelConfig, CloseMode, CloseReason, Config, Disconnect, Instant, PeerId, Refusal, Role,
    Sequence, SessionLoss, TakeOver,
};

/// One record of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which link it is about: they are counted from 1 in the order of their beginning. Zero for
    /// what is about none.
    pub link: u64,
    /// The link's time, in microseconds from an epoch that all links of a capture share.
    pub time: Instant,
    /// What was done.
    pub entry: Entry,
}

/// What was done with a link, and what came of it: `docs/capture.md`, Records. An outcome of `None`
/// means that the call did not return.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the specification")]
pub enum Entry {
    New {
        role: Role,
        seed: [u8; 16],
        config: Box<Config>,
    },
    Clock {
        unix_micros: u64,
    },
    Ask,
    Opened {
        in_order: Option<bool>,
    },
    Secured {
        peer: Option<PeerId>,
        in_order: Option<bool>,
    },
    In(Data),
    Eof,
    Lost(Disconnect),
    Timeout,
    Send {
        channel: u16,
        message: Data,
        expires: Option<Instant>,
        outcome: Option<Outcome<Sequence>>,
    },
    Take {
        channel: u16,
        outcome: Option<Taken>,
    },
    Handle {
        channel: u16,
        sequence: Sequence,
        outcome: Option<Outcome<()>>,
    },
    Reject {
        channel: u16,
        sequence: Sequence,
        code: u32,
        reason: String,
        outcome: Option<Outcome<()>>,
    },
    Abandon {
        channel: u16,
        outcome: Option<Outcome<()>>,
    },
    Close {
        mode: CloseMode,
        reason: CloseReason,
    },
    TakeOver {
        incoming: Option<u64>,
        outcome: Option<TakeOver>,
    },
    /// With channels that make sense.
    Declare(Vec<ChannelConfig>),
    Admit {
        gone: Option<Gone>,
    },
    Refuse(Refusal),
    Connect,
    Evict,
    Revoke,
    Out {
        space: u64,
        outcome: Option<Said>,
    },
    Event {
        outcome: Option<Option<Happened>>,
    },
    Gone,
    End {
        why: String,
    },
}

/// What was taken from a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// A message: its number and its length in bytes.
    Message(Sequence, u64),
    /// The border between two sessions, and why the older one was lost.
    SessionBorder(SessionLoss),
}

/// What came of a command: a figure, or the name of what was wrong.
pub type Outcome<T> = Result<T, String>;

/// Bytes, of which some may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Data(pub Vec<Part>);

/// A part of [`Data`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of payload, which a replay takes for zeros.
    LeftOut(u64),
}

impl Data {
    /// How many bytes these are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(Part::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Part {
    /// How many bytes these are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::LeftOut(length) => *length,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a link said when it was asked for output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// These bytes.
    Bytes(Data),
    /// Nothing for now.
    Idle,
    /// Nothing ever again on this connection.
    End,
    /// So many bytes of room are needed.
    TooSmall(u64),
}

/// What is remembered of a session that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// Its id.
    pub session: [u8; 16],
    /// Whom it was held with.
    pub peer: Option<PeerId>,
    /// The last number settled on each channel.
    pub channels: Vec<(String, Sequence)>,
}

/// What a link told.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the specification")]
pub enum Happened {
    /// What has no details.
    Plain { name: String },
    /// `lost` or `session-lost`, and how.
    Because { name: String, why: String },
    /// `readable`, `room` or `silent`.
    OnChannel { name: String, channel: u16 },
    /// `handled`.
    Handled {
        channel: u16,
        first: Sequence,
        last: Sequence,
    },
    /// `verdict`.
    Verdict {
        channel: u16,
        sequence: Sequence,
        kind: String,
        rejection: Option<(u32, String)>,
    },
    /// `ended`.
    Ended(Ended),
}

/// How a link ended. Its text is for people: two that differ by that alone are equal.
#[derive(Clone, Eq, Debug)]
pub struct Ended {
    /// The reason's name.
    pub name: String,
    /// The reason in words.
    pub text: String,
}

impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Entry {
    /// Every name that [`Entry::name`] gives.
    pub const NAMES: [&'static str; 26] = [
        "new", "clock", "ask", "opened", "secured", "in", "eof", "lost", "timeout", "send", "take",
        "handle", "reject", "abandon", "close", "takeover", "declare", "admit", "refuse",
        "connect", "evict", "revoke", "out", "event", "gone", "end",
    ];

    /// The record's name in the specification.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::Clock { .. } => "clock",
            Self::Ask => "ask",
            Self::Opened { .. } => "opened",
            Self::Secured { .. } => "secured",
            Self::In(_) => "in",
            Self::Eof => "eof",
            Self::Lost(_) => "lost",
            Self::Timeout => "timeout",
            Self::Send { .. } => "send",
            Self::Take { .. } => "take",
            Self::Handle { .. } => "handle",
            Self::Reject { .. } => "reject",
            Self::Abandon { .. } => "abandon",
            Self::Close { .. } => "close",
            Self::TakeOver { .. } => "takeover",
            Self::Declare(_) => "declare",
            Self::Admit { .. } => "admit",
            Self::Refuse(_) => "refuse",
            Self::Connect => "connect",
            Self::Evict => "evict",
            Self::Revoke => "revoke",
            Self::Out { .. } => "out",
            Self::Event { .. } => "event",
            Self::Gone => "gone",
            Self::End { .. } => "end",
        }
    }
}

impl Happened {
    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plain { name } | Self::Because { name, .. } | Self::OnChannel { name, .. } => {
                name
            }
            Self::Handled { .. } => "handled",
            Self::Verdict { .. } => "verdict",
            Self::Ended(_) => "ended",
        }
    }
}
