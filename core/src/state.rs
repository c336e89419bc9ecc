//! The states of a link's connection and the table of their transitions.

use core::fmt;

/// The state of a link (`docs/protocol.md`, States of a connection).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkState {
    /// No transport connection: none yet, or the last one was lost and the next is awaited.
    Offline,
    /// The caller should open a transport connection.
    Connecting,
    /// The transport connection is open and its security is being set up.
    Securing,
    /// HELLO and WELCOME are being exchanged.
    Greeting,
    /// Messages flow.
    Open,
    /// One end has asked to close; messages on the wire get their verdicts.
    Closing,
    /// Both ends have sent DONE; the connection is read to its end.
    Finishing,
    /// The link has ended.
    Ended,
}

/// An input of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Input {
    /// It is time to open a transport connection.
    ConnectDue,
    /// The transport connection is open.
    Opened,
    /// The connection is secured and its peer known.
    Secured,
    /// The handshake is complete.
    Greeted,
    /// This end's application asked to close.
    CloseRequested,
    /// The peer's CLOSE arrived.
    CloseReceived,
    /// DONE was sent and received.
    Drained,
    /// The transport connection was lost or could not be opened, and another may follow.
    ConnectionLost,
    /// The link ends: a violation, a refusal, a limit, or a close before there was a session.
    Failed,
}

/// The table's answer to an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Go to this state.
    To(LinkState),
    /// Nothing to do.
    Stay,
    /// Not allowed.
    Invalid,
}

impl LinkState {
    /// All states, in the order in which they follow each other.
    pub const ALL: [Self; 8] = [
        Self::Offline,
        Self::Connecting,
        Self::Securing,
        Self::Greeting,
        Self::Open,
        Self::Closing,
        Self::Finishing,
        Self::Ended,
    ];

    /// Whether the two ends are connected: the handshake is complete, and the link has not ended.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Open | Self::Closing | Self::Finishing)
    }

    /// Whether messages may pass: both ends are connected, and neither is done.
    pub(crate) const fn carries_messages(self) -> bool {
        matches!(self, Self::Open | Self::Closing)
    }

    /// Returns the state's name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "Offline",
            Self::Connecting => "Connecting",
            Self::Securing => "Securing",
            Self::Greeting => "Greeting",
            Self::Open => "Open",
            Self::Closing => "Closing",
            Self::Finishing => "Finishing",
            Self::Ended => "Ended",
        }
    }

    /// Returns what an input does in this state: the whole table, one row a state.
    #[must_use]
    pub const fn step(self, input: Input) -> Step {
        use Step::{Invalid, Stay, To};
        // ConnectDue, Opened, Secured, Greeted, CloseRequested, CloseReceived, Drained, ConnectionLost,
        // Failed
        let row = match self {
            Self::Offline => [
                To(Self::Connecting),
                To(Self::Securing),
                Invalid,
                Invalid,
                Stay,
                Invalid,
                Invalid,
                Stay,
                To(Self::Ended),
            ],
            Self::Connecting => [
                Invalid,
                To(Self::Securing),
                Invalid,
                Invalid,
                Stay,
                Invalid,
                Invalid,
                To(Self::Offline),
                To(Self::Ended),
            ],
            Self::Securing => [
                Invalid,
                Invalid,
                To(Self::Greeting),
                Invalid,
                Stay,
                Invalid,
                Invalid,
                To(Self::Offline),
                To(Self::Ended),
            ],
            Self::Greeting => [
                Invalid,
                Invalid,
                Invalid,
                To(Self::Open),
                Stay,
                Invalid,
                Invalid,
                To(Self::Offline),
                To(Self::Ended),
            ],
            Self::Open => [
                Invalid,
                Invalid,
                Invalid,
                Invalid,
                To(Self::Closing),
                To(Self::Closing),
                Invalid,
                To(Self::Offline),
                To(Self::Ended),
            ],
            Self::Closing => [
                Invalid,
                Invalid,
                Invalid,
                Invalid,
                Stay,
                Stay,
                To(Self::Finishing),
                To(Self::Offline),
                To(Self::Ended),
            ],
            Self::Finishing => [
                Invalid,
                Invalid,
                Invalid,
                Invalid,
                Stay,
                Invalid,
                Invalid,
                To(Self::Ended),
                To(Self::Ended),
            ],
            Self::Ended => [
                Invalid, Invalid, Invalid, Invalid, Stay, Invalid, Invalid, Stay, Stay,
            ],
        };
        row[input as usize]
    }
}

impl Input {
    /// All inputs, in the order of the table's columns.
    pub const ALL: [Self; 9] = [
        Self::ConnectDue,
        Self::Opened,
        Self::Secured,
        Self::Greeted,
        Self::CloseRequested,
        Self::CloseReceived,
        Self::Drained,
        Self::ConnectionLost,
        Self::Failed,
    ];

    /// Returns the input's name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectDue => "connect due",
            Self::Opened => "opened",
            Self::Secured => "secured",
            Self::Greeted => "greeted",
            Self::CloseRequested => "close requested",
            Self::CloseReceived => "close received",
            Self::Drained => "drained",
            Self::ConnectionLost => "connection lost",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
