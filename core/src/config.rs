//! What an end declares before it connects: channels, limits and timeouts.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::channel::{ChannelConfig, SendChannel};
use crate::config_error::{ConfigError, ConfigProblem};
use crate::limits::{
    DEFAULT_CHANNEL, DEFAULT_FRAME_LIMIT, MAX_CHANNELS, MAX_LATENCY_BUDGET, MIN_LATENCY_BUDGET,
};
use crate::reconnect::Reconnect;
use crate::wire::{MAX_FRAME_LIMIT, MIN_FRAME_LIMIT};

/// The wire format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Dialect {
    /// `countersign/1`.
    #[default]
    Countersign,
    /// The Python original's: one channel, one message in flight, no handshake.
    TlsStream,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Countersign => "countersign/1",
            Self::TlsStream => "tlsstream",
        })
    }
}

/// Which end opened the transport connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// This end connected.
    Opener,
    /// This end listened.
    Acceptor,
}

/// The timeouts of a link.
///
/// ```
/// use core::time::Duration;
/// use countersign_core::{Config, SendChannel, Timeouts};
///
/// let timeouts = Timeouts {
///     ping: Duration::from_millis(500),
///     give_up: Duration::from_millis(1500),
///     ..Timeouts::default()
/// };
/// let config = Config::new().channel(SendChannel::new("drive")).timeouts(timeouts);
/// # assert!(config.check().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timeouts {
    /// From the opening of the transport connection to the end of the handshake. 10 s by default.
    pub handshake: Duration,
    /// Silence from the peer before a PING goes out. 5 s by default.
    pub ping: Duration,
    /// Silence from the peer before the connection counts as lost. 15 s by default; more than
    /// `ping`.
    pub give_up: Duration,
    /// How long an orderly close may go without progress: a message or a part of one sent or
    /// received, an answer, a message taken or settled by the application. 10 s by default.
    pub close: Duration,
    /// From the last byte written to the peer's end of the connection. 2 s by default.
    pub linger: Duration,
    /// How long an acknowledgement is delayed, to share a frame with others, while the application
    /// still has messages to handle. 1 ms by default.
    pub ack_delay: Duration,
    /// How long an acceptor keeps a session whose connection was lost, for its peer to come back. 5
    /// min by default. If zero, the link ends with its connection.
    pub retain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            ping: Duration::from_secs(5),
            give_up: Duration::from_secs(15),
            close: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            ack_delay: Duration::from_millis(1),
            retain: Duration::from_secs(300),
        }
    }
}

/// Everything that one end declares before it connects.
///
/// The default is one channel named [`DEFAULT_CHANNEL`], in send mode, as in the original.
/// Channels declared earlier go first when several have something to send.
///
/// ```
/// use countersign_core::{Config, ReceiveChannel, SendChannel};
///
/// let robot = Config::new()
///     .channel(ReceiveChannel::new("commands"))
///     .channel(SendChannel::new("video").latest());
/// robot.check()?;
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    pub(crate) channels: Vec<ChannelConfig>,
    pub(crate) dialect: Dialect,
    pub(crate) frame_limit: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) reconnect: Reconnect,
    pub(crate) single_session: bool,
    pub(crate) latency_budget: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            channels: vec![SendChannel::new(DEFAULT_CHANNEL).into()],
            ..Self::new()
        }
    }
}

impl Config {
    /// Returns a declaration without channels and with defaults for everything else.
    #[must_use]
    pub fn new() -> Self {
        Self {
            channels: Vec::new(),
            dialect: Dialect::default(),
            frame_limit: DEFAULT_FRAME_LIMIT,
            timeouts: Timeouts::default(),
            reconnect: Reconnect::default(),
            single_session: false,
            latency_budget: None,
        }
    }

    /// Adds a channel after the existing ones.
    #[must_use]
    pub fn channel(mut self, channel: impl Into<ChannelConfig>) -> Self {
        self.channels.push(channel.into());
        self
    }

    /// Sets the wire format.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Sets the largest frame that this end accepts and sends, in bytes with its header, from
    /// [`MIN_FRAME_LIMIT`] to [`MAX_FRAME_LIMIT`]; [`DEFAULT_FRAME_LIMIT`] by default. The smaller
    /// value of the two ends counts. Smaller frames let urgent channels in sooner on slow networks.
    #[must_use]
    pub fn frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// Sets the timeouts.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets whether and when an opener connects again. For ever by default.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Ends the link with its first connection: an opener does not connect again, an acceptor keeps
    /// no session. Call this after [`Config::timeouts`].
    #[must_use]
    pub fn single_connection(mut self) -> Self {
        self.reconnect = Reconnect::never();
        self.timeouts.retain = Duration::ZERO;
        self
    }

    /// Ends the link with its session: when the session can't be resumed, no other takes its place.
    /// This is for streams, in which what follows a gap is of no use. Connections may be lost and
    /// replaced any number of times. In the tlsstream dialect, which can't resume, the link ends
    /// with the first connection that is lost.
    ///
    /// An opener that finds its session gone ends as
    /// [`EndReason::SessionLost`](crate::EndReason::SessionLost) and notifies the peer. An acceptor
    /// ends when the peer that it waits for comes back without the session, and refuses it with
    /// [`refuse::SESSION_OVER`](crate::refuse::SESSION_OVER). Neither a peer that has not proved
    /// its identity nor a connection that was open before the session began can cause that. So a
    /// peer can have one such link at a time with an acceptor: beginning another while the first
    /// has no connection ends the first, and is refused once. So an opener that was restarted tries
    /// again, and an acceptor goes on accepting. One that waits for a peer that never comes back
    /// ends after [`Timeouts::retain`], which is minutes by default.
    #[must_use]
    pub fn single_session(mut self) -> Self {
        self.single_session = true;
        self
    }

    /// Bounds what this end has under way: messages wait before they are written while more bytes
    /// are on their way to the peer than the path delivers in its shortest round trip and this time
    /// together. So a message of a channel that is [urgent](SendChannel::urgent) waits behind others
    /// for no longer than about this time, whatever the buffers of kernels and routers would hold.
    /// From [`MIN_LATENCY_BUDGET`] to [`MAX_LATENCY_BUDGET`], 50 ms say; unbounded by default.
    ///
    /// The peer declares its own. Where both send much, both need one: otherwise verdicts wait
    /// behind what the peer has under way.
    ///
    /// The link measures its rate by PINGs among the messages: up to 36 for what is under way.
    /// `docs/protocol.md`, Latency budget.
    ///
    /// ```
    /// use core::time::Duration;
    /// use countersign_core::{Config, SendChannel};
    ///
    /// let config = Config::new()
    ///     .channel(SendChannel::new("stop").urgent())
    ///     .channel(SendChannel::new("video").latest())
    ///     .latency_budget(Duration::from_millis(50));
    /// # assert!(config.check().is_ok());
    /// ```
    #[must_use]
    pub fn latency_budget(mut self, time: Duration) -> Self {
        self.latency_budget = Some(time);
        self
    }

    /// Returns the latency budget, if any.
    #[must_use]
    pub fn get_latency_budget(&self) -> Option<Duration> {
        self.latency_budget
    }

    /// Whether a channel is urgent.
    pub(crate) fn has_urgent(&self) -> bool {
        self.channels.iter().any(ChannelConfig::is_urgent)
    }

    /// Whether the link ends with its session.
    #[must_use]
    pub fn is_single_session(&self) -> bool {
        self.single_session
    }

    /// Returns the largest frame that this end accepts and sends, in bytes with its header.
    #[must_use]
    pub fn get_frame_limit(&self) -> usize {
        self.frame_limit
    }

    /// Returns whether and when an opener connects again.
    #[must_use]
    pub fn get_reconnect(&self) -> &Reconnect {
        &self.reconnect
    }

    /// Returns the declared channels in order.
    #[must_use]
    pub fn channels(&self) -> &[ChannelConfig] {
        &self.channels
    }

    /// Returns the wire format.
    #[must_use]
    pub fn get_dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the timeouts.
    #[must_use]
    pub fn get_timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Checks that this declaration is valid in isolation from the peer's.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says which channel is wrong, if it is one channel's, and what is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let whole = |problem| ConfigError {
            channel: None,
            problem,
        };
        if self.channels.is_empty() {
            return Err(whole(ConfigProblem::NoChannels));
        }
        if self.channels.len() > MAX_CHANNELS {
            return Err(whole(ConfigProblem::TooManyChannels));
        }
        if !(MIN_FRAME_LIMIT..=MAX_FRAME_LIMIT).contains(&self.frame_limit) {
            return Err(whole(ConfigProblem::FrameLimit));
        }
        if self.timeouts.ping >= self.timeouts.give_up {
            return Err(whole(ConfigProblem::PingNotBeforeGivingUp));
        }
        let bounds = MIN_LATENCY_BUDGET..=MAX_LATENCY_BUDGET;
        if let Some(budget) = self.latency_budget
            && !bounds.contains(&budget)
        {
            return Err(whole(ConfigProblem::LatencyBudget));
        }
        if self.latency_budget.is_some() && self.dialect == Dialect::TlsStream {
            return Err(whole(ConfigProblem::BudgetTlsStream));
        }
        for (at, channel) in self.channels.iter().enumerate() {
            let named = |problem| ConfigError {
                channel: Some(channel.name().to_string()),
                problem,
            };
            channel.check().map_err(named)?;
            if self.channels[..at]
                .iter()
                .any(|earlier| earlier.name() == channel.name())
            {
                return Err(named(ConfigProblem::NameTaken));
            }
            if self.dialect == Dialect::TlsStream && channel.is_manual() {
                return Err(named(ConfigProblem::ManualTlsStream));
            }
            if self.dialect == Dialect::TlsStream && channel.wants_times() {
                return Err(named(ConfigProblem::LeaseTlsStream));
            }
        }
        if self.dialect == Dialect::TlsStream && self.channels.len() > 1 {
            return Err(whole(ConfigProblem::ManyTlsStream));
        }
        Ok(())
    }
}
