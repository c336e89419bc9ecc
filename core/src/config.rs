//! What an end declares before it connects: its channels, its limits, its time-outs.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::channel::{ChannelConfig, SendChannel};
use crate::config_error::{ConfigError, ConfigProblem};
use crate::reconnect::Reconnect;
use crate::wire::{MAX_FRAME_LIMIT, MIN_FRAME_LIMIT};

/// The most channels that one link can have.
pub const MAX_CHANNELS: usize = 64;
/// The name of the channel of [`Config::default`].
pub const DEFAULT_CHANNEL: &str = "main";
/// The largest frame by default, in bytes with its header: what one TLS record holds.
pub const DEFAULT_FRAME_LIMIT: usize = 16_384;

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

/// How long an end waits for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timeouts {
    /// From the opened transport connection to the finished handshake. 10 s by default.
    pub handshake: Duration,
    /// Silence from the peer before a PING goes out. 5 s by default.
    pub ping: Duration,
    /// Silence from the peer before the connection counts as lost. 15 s by default; more than
    /// `ping`.
    pub give_up: Duration,
    /// How long an orderly close may go without anything moving: a message or a part of one going
    /// or coming, an answer, the application taking or settling one. 10 s by default.
    pub close: Duration,
    /// From the last byte written to the peer's end of the connection. 2 s by default.
    pub linger: Duration,
    /// How long an acknowledgement waits for others to share a frame with while the application
    /// still has messages to handle. 1 ms by default.
    pub ack_delay: Duration,
    /// How long an acceptor keeps a session whose connection was lost, for its peer to come back.
    /// 5 min by default; with zero the link ends with its connection.
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
    /// No channels yet, everything else at its default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            channels: Vec::new(),
            dialect: Dialect::default(),
            frame_limit: DEFAULT_FRAME_LIMIT,
            timeouts: Timeouts::default(),
            reconnect: Reconnect::default(),
            single_session: false,
        }
    }

    /// Adds a channel, after those already there.
    #[must_use]
    pub fn channel(mut self, channel: impl Into<ChannelConfig>) -> Self {
        self.channels.push(channel.into());
        self
    }

    /// Chooses the wire format.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The largest frame that this end takes and sends, in bytes with its header, from
    /// [`MIN_FRAME_LIMIT`] to [`MAX_FRAME_LIMIT`]; [`DEFAULT_FRAME_LIMIT`] by default. The
    /// smaller figure of the two ends counts. Smaller frames let urgent channels in sooner on
    /// slow networks.
    #[must_use]
    pub fn frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// How long to wait for what.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Whether and when to connect again, as an opener. For ever by default.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// The link ends with its first connection: as an opener it does not connect again, as an
    /// acceptor it keeps no session. To be called after [`Config::timeouts`].
    #[must_use]
    pub fn single_connection(mut self) -> Self {
        self.reconnect = Reconnect::never();
        self.timeouts.retain = Duration::ZERO;
        self
    }

    /// The link ends with its session: where that can't be resumed, no other takes its place. For
    /// streams, in which what follows a gap is of no use. Connections may be lost and replaced as
    /// often as they like; in the tlsstream dialect, which can't resume, the link ends with the
    /// first that is lost.
    ///
    /// An opener that finds its session gone ends as
    /// [`EndReason::SessionLost`](crate::EndReason::SessionLost), and tells the peer so. An acceptor
    /// ends when the peer that it waits for comes back without the session, and refuses it with
    /// [`refuse::SESSION_OVER`](crate::refuse::SESSION_OVER); a peer that has not proved its
    /// identity can't bring that about, and neither can a connection that was open before the
    /// session began. So a peer has one such link at a time with an acceptor: who begins another
    /// while the first has no connection ends the first.
    #[must_use]
    pub fn single_session(mut self) -> Self {
        self.single_session = true;
        self
    }

    /// Whether the link ends with its session.
    #[must_use]
    pub fn is_single_session(&self) -> bool {
        self.single_session
    }

    /// The largest frame that this end takes and sends, in bytes with its header.
    #[must_use]
    pub fn get_frame_limit(&self) -> usize {
        self.frame_limit
    }

    /// Whether and when to connect again, as an opener.
    #[must_use]
    pub fn get_reconnect(&self) -> &Reconnect {
        &self.reconnect
    }

    /// The declared channels, in order.
    #[must_use]
    pub fn channels(&self) -> &[ChannelConfig] {
        &self.channels
    }

    /// The wire format.
    #[must_use]
    pub fn get_dialect(&self) -> Dialect {
        self.dialect
    }

    /// How long to wait for what.
    #[must_use]
    pub fn get_timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Whether this declaration makes sense by itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the channel and what is wrong with it.
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
        }
        if self.dialect == Dialect::TlsStream && self.channels.len() > 1 {
            return Err(whole(ConfigProblem::ManyTlsStream));
        }
        Ok(())
    }
}
