//! The life of a link's connection, as one table.

use core::fmt;

/// Where a link is in its life (`docs/protocol.md`, States of a connection).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkState {
    /// No transport connection: none yet, or the last one was lost and the next is awaited.
    Offline,
    /// The caller is to open a transport connection.
    Connecting,
    /// The transport connection is open, its security is being set up.
    Securing,
    /// HELLO and WELCOME are under way.
    Greeting,
    /// Messages flow.
    Open,
    /// One end has asked to close; what is on the wire gets its verdicts.
    Closing,
    /// Both ends have said that nothing more will come; the connection is read to its end.
    Finishing,
    /// Over.
    Ended,
}

/// What can happen to a link's life.
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
    CloseAsked,
    /// The peer's CLOSE came.
    CloseHeard,
    /// DONE went and came.
    Drained,
    /// The transport connection was lost, or could not be had, and another may come.
    ConnectionLost,
    /// Nothing can go on: a violation, a refusal, a limit, or a close before there was a session.
    Failed,
}

/// What the table says to an input.
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
    /// All states, in the order of a life.
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

    /// Whether the two ends are connected: the handshake is over, and the end has not come.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Open | Self::Closing | Self::Finishing)
    }

    /// The state's name in the specification.
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

    /// What an input does in this state: the whole table, one row a state.
    #[must_use]
    pub const fn step(self, input: Input) -> Step {
        use Step::{Invalid, Stay, To};
        // ConnectDue, Opened, Secured, Greeted, CloseAsked, CloseHeard, Drained, ConnectionLost,
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
        Self::CloseAsked,
        Self::CloseHeard,
        Self::Drained,
        Self::ConnectionLost,
        Self::Failed,
    ];

    /// The input's name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectDue => "connect due",
            Self::Opened => "opened",
            Self::Secured => "secured",
            Self::Greeted => "greeted",
            Self::CloseAsked => "close asked",
            Self::CloseHeard => "close heard",
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
