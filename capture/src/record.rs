//! The types of records.

use countersign_core::{
    ChannelConfig, CloseMode, CloseReason, Config, Disconnect, Instant, PeerId, Refusal, Role,
    Sequence, SessionLoss, TakeOver,
};

/// One record of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The link that it is about, counted from 1 in the order of their creation. Zero if it is
    /// about none.
    pub link: u64,
    /// The link's time, in microseconds from an epoch that all links of a capture share.
    pub time: Instant,
    /// The call, or what else happened.
    pub entry: Entry,
}

/// A call of a link and its outcome: `docs/capture.md`, Records. An outcome of `None` means that
/// the call did not return.
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
        reply: Option<Data>,
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
    /// With channels that are valid.
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
        outcome: Option<Option<RecordedEvent>>,
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
    /// Nothing: all messages that waited were late, and were dropped.
    Nothing,
}

/// The outcome of a command: a value, or the name of the error.
pub type Outcome<T> = Result<T, String>;

/// Bytes, of which some may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Data(pub Vec<Part>);

/// A part of [`Data`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A number of bytes of payload that are left out, which a replay takes for zeros.
    LeftOut(u64),
}

impl Data {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(Part::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Part {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::LeftOut(length) => *length,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The result of polling a link for output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// These bytes.
    Bytes(Data),
    /// Nothing for now.
    Idle,
    /// Nothing more on this connection.
    End,
    /// The output needs room for this many bytes.
    TooSmall(u64),
}

/// What is remembered of a session that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The session's id.
    pub session: [u8; 16],
    /// The identity that it was held with.
    pub peer: Option<PeerId>,
    /// The last number settled on each channel.
    pub channels: Vec<(String, Sequence)>,
}

/// An event of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the specification")]
pub enum RecordedEvent {
    /// An event without details.
    Plain { name: String },
    /// `lost` or `session-lost`, and how.
    Because { name: String, why: String },
    /// `readable`, `room`, `lease-held` or `lease-lapsed`.
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
        /// The reply, if a message that was handled has one.
        reply: Option<Data>,
        /// Code and reason, if it was rejected.
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
    /// The reason as a text.
    pub text: String,
}

impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Entry {
    /// Every name that [`Entry::name`] returns.
    pub const NAMES: [&'static str; 26] = [
        "new", "clock", "ask", "opened", "secured", "in", "eof", "lost", "timeout", "send", "take",
        "handle", "reject", "abandon", "close", "takeover", "declare", "admit", "refuse",
        "connect", "evict", "revoke", "out", "event", "gone", "end",
    ];

    /// Returns the record's name in the specification.
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

impl RecordedEvent {
    /// Returns the event's name.
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
