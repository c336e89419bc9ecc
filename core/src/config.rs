//! What an end declares before it connects: its channels, its limits, its patience.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::config_error::{ConfigError, ConfigProblem};
use crate::reconnect::Reconnect;
use crate::wire::{MAX_FRAME_LIMIT, MIN_FRAME_LIMIT};

/// The most channels that one link can have.
pub const MAX_CHANNELS: usize = 64;
/// The longest name of a channel, in bytes of UTF-8.
pub const MAX_CHANNEL_NAME: usize = 64;
/// The name of the channel of [`Config::default`].
pub const DEFAULT_CHANNEL: &str = "main";
/// The largest message by default, in bytes.
pub const DEFAULT_MAX_MESSAGE: usize = 16 << 20;
/// How many messages a receive channel holds unhandled by default.
pub const DEFAULT_WINDOW_MESSAGES: u32 = 8192;
/// How many bytes of unhandled messages a receive channel holds by default.
pub const DEFAULT_WINDOW_BYTES: usize = 16 << 20;
/// How many messages without a verdict a send channel holds by default.
pub const DEFAULT_QUEUE_MESSAGES: usize = 16_384;
/// How many bytes of messages without a verdict a send channel holds by default.
pub const DEFAULT_QUEUE_BYTES: usize = 32 << 20;
/// How many messages a `Latest` channel keeps unacknowledged by default.
pub const DEFAULT_LATEST_IN_FLIGHT: u32 = 2;
/// The largest frame by default, in bytes with its header: what one TLS record holds.
pub const DEFAULT_FRAME_LIMIT: usize = 16_384;

/// Which end of a channel this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Messages leave here.
    Send,
    /// Messages arrive here.
    Receive,
}

impl Mode {
    /// The mode that the other end must have.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send mode",
            Self::Receive => "receive mode",
        })
    }
}

/// What a channel does when messages come faster than they can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Policy {
    /// Every message, in order, once.
    Reliable,
    /// The newest message: it replaces one that has not been put on the wire.
    Latest,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reliable => "reliable",
            Self::Latest => "latest",
        })
    }
}

/// When a received message counts as handled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Acking {
    /// When the application takes it.
    Auto,
    /// When the application says so.
    Manual,
}

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

/// One channel as this end declares it.
///
/// ```
/// use core::time::Duration;
/// use countersign_core::ChannelConfig;
///
/// let video = ChannelConfig::send("video").latest();
/// let commands = ChannelConfig::receive("commands")
///     .manual()
///     .silence(Duration::from_millis(1500));
/// assert_eq!(video.name(), "video");
/// assert_eq!(commands.mode(), countersign_core::Mode::Receive);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChannelConfig {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    /// Send mode: the policy. Receive mode: the policy that the sender must have, if any.
    pub(crate) policy: Option<Policy>,
    pub(crate) acking: Acking,
    pub(crate) max_message: usize,
    pub(crate) queue_messages: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: usize,
    pub(crate) in_flight: u32,
    pub(crate) silence: Option<Duration>,
}

impl ChannelConfig {
    /// A channel in send mode, `Reliable`.
    #[must_use]
    pub fn send(name: impl Into<String>) -> Self {
        Self::new(name.into(), Mode::Send, Some(Policy::Reliable))
    }

    /// A channel in receive mode, handled when taken, whatever the sender's policy.
    #[must_use]
    pub fn receive(name: impl Into<String>) -> Self {
        Self::new(name.into(), Mode::Receive, None)
    }

    fn new(name: String, mode: Mode, policy: Option<Policy>) -> Self {
        Self {
            name,
            mode,
            policy,
            acking: Acking::Auto,
            max_message: DEFAULT_MAX_MESSAGE,
            queue_messages: DEFAULT_QUEUE_MESSAGES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            window_messages: DEFAULT_WINDOW_MESSAGES,
            window_bytes: DEFAULT_WINDOW_BYTES,
            in_flight: u32::MAX,
            silence: None,
        }
    }

    /// Policy `Latest`: in send mode a newer message replaces one not yet on the wire, and at
    /// most [`DEFAULT_LATEST_IN_FLIGHT`] messages are unacknowledged; in receive mode the sender
    /// is required to have that policy.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.policy = Some(Policy::Latest);
        if self.in_flight == u32::MAX {
            self.in_flight = DEFAULT_LATEST_IN_FLIGHT;
        }
        self
    }

    /// Policy `Reliable`. The default in send mode; in receive mode the sender is required to
    /// have that policy.
    #[must_use]
    pub fn reliable(mut self) -> Self {
        self.policy = Some(Policy::Reliable);
        self
    }

    /// Receive mode: a message is handled when the application says so, not when it takes it.
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.acking = Acking::Manual;
        self
    }

    /// The largest message in bytes, [`DEFAULT_MAX_MESSAGE`] by default. What goes over a channel
    /// is bounded by the smaller figure of its two ends. Raises the queue's or window's bytes
    /// where they would not hold one such message.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self.queue_bytes = self.queue_bytes.max(bytes);
        self.window_bytes = self.window_bytes.max(bytes);
        self
    }

    /// Send mode: how many messages, and how many bytes of them, wait for their verdicts at most.
    /// Defaults: [`DEFAULT_QUEUE_MESSAGES`], [`DEFAULT_QUEUE_BYTES`].
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue_messages = messages;
        self.queue_bytes = bytes;
        self
    }

    /// Receive mode: how many messages, and how many bytes of them, are held unhandled at most.
    /// Defaults: [`DEFAULT_WINDOW_MESSAGES`], [`DEFAULT_WINDOW_BYTES`].
    #[must_use]
    pub fn window(mut self, messages: u32, bytes: usize) -> Self {
        self.window_messages = messages;
        self.window_bytes = bytes;
        self
    }

    /// Send mode: how many messages are on the wire without acknowledgement at most, where the
    /// receiver's window allows more. Unbounded by default, [`DEFAULT_LATEST_IN_FLIGHT`] with
    /// [`ChannelConfig::latest`].
    #[must_use]
    pub fn in_flight(mut self, messages: u32) -> Self {
        self.in_flight = messages;
        self
    }

    /// Receive mode: raise [`Event::Silent`](crate::Event::Silent) when no message has come for
    /// this long while the link is up.
    #[must_use]
    pub fn silence(mut self, after: Duration) -> Self {
        self.silence = Some(after);
        self
    }

    /// The name, by which the two ends of a channel find each other.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Send mode: how many messages wait for their verdicts at most.
    #[must_use]
    pub fn queue_messages(&self) -> usize {
        self.queue_messages
    }

    /// Which end this is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Send mode: the policy. Receive mode: the policy required of the sender, if any.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// The figures that bound what the channel holds.
    #[must_use]
    pub fn limits(&self) -> ChannelLimits {
        ChannelLimits {
            max_message: self.max_message,
            queue_messages: self.queue_messages,
            queue_bytes: self.queue_bytes,
            window_messages: self.window_messages,
            window_bytes: self.window_bytes,
            in_flight: self.in_flight,
        }
    }

    /// Receive mode: after how long without a message silence is reported, if it is.
    #[must_use]
    pub fn silent_after(&self) -> Option<Duration> {
        self.silence
    }

    /// When a received message counts as handled.
    #[must_use]
    pub fn acking(&self) -> Acking {
        self.acking
    }

    fn check(&self) -> Result<(), ConfigProblem> {
        if self.name.len() > MAX_CHANNEL_NAME {
            return Err(ConfigProblem::NameTooLong);
        }
        if self.max_message == 0 {
            return Err(ConfigProblem::Zero("max_message"));
        }
        match self.mode {
            Mode::Send => self.check_send(),
            Mode::Receive => self.check_receive(),
        }
    }

    fn check_send(&self) -> Result<(), ConfigProblem> {
        if self.acking == Acking::Manual {
            return Err(ConfigProblem::ManualSender);
        }
        if self.silence.is_some() {
            return Err(ConfigProblem::SilentSender);
        }
        if self.queue_messages == 0 || self.in_flight == 0 {
            return Err(ConfigProblem::Zero("queue_messages and in_flight"));
        }
        if self.queue_bytes < self.max_message {
            return Err(ConfigProblem::QueueTooSmall);
        }
        Ok(())
    }

    fn check_receive(&self) -> Result<(), ConfigProblem> {
        if self.window_messages == 0 {
            return Err(ConfigProblem::Zero("window_messages"));
        }
        if self.window_bytes < self.max_message {
            return Err(ConfigProblem::WindowTooSmall);
        }
        if self.silence == Some(Duration::ZERO) {
            return Err(ConfigProblem::Zero("silence"));
        }
        Ok(())
    }
}

/// The figures that bound what a channel holds, as declared by [`ChannelConfig`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelLimits {
    /// The largest message in bytes.
    pub max_message: usize,
    /// Send mode: how many messages wait for their verdicts at most.
    pub queue_messages: usize,
    /// Send mode: how many bytes of messages wait for their verdicts at most.
    pub queue_bytes: usize,
    /// Receive mode: how many messages are held unhandled at most.
    pub window_messages: u32,
    /// Receive mode: how many bytes of messages are held unhandled at most.
    pub window_bytes: usize,
    /// Send mode: how many messages are on the wire without acknowledgement at most.
    pub in_flight: u32,
}

/// How long an end waits for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Patience {
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

impl Default for Patience {
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
/// use countersign_core::{ChannelConfig, Config};
///
/// let robot = Config::new()
///     .channel(ChannelConfig::receive("commands"))
///     .channel(ChannelConfig::send("video").latest());
/// robot.check()?;
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    pub(crate) channels: Vec<ChannelConfig>,
    pub(crate) dialect: Dialect,
    pub(crate) frame_limit: usize,
    pub(crate) patience: Patience,
    pub(crate) reconnect: Reconnect,
    pub(crate) single_session: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            channels: vec![ChannelConfig::send(DEFAULT_CHANNEL)],
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
            patience: Patience::default(),
            reconnect: Reconnect::default(),
            single_session: false,
        }
    }

    /// Adds a channel, after those already there.
    #[must_use]
    pub fn channel(mut self, channel: ChannelConfig) -> Self {
        self.channels.push(channel);
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
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Whether and when to connect again, as an opener. For ever by default.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// The link ends with its first connection: as an opener it does not connect again, as an
    /// acceptor it keeps no session. To be called after [`Config::patience`].
    #[must_use]
    pub fn single_connection(mut self) -> Self {
        self.reconnect = Reconnect::never();
        self.patience.retain = Duration::ZERO;
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
    pub fn largest_frame(&self) -> usize {
        self.frame_limit
    }

    /// Whether and when to connect again, as an opener.
    #[must_use]
    pub fn reconnects(&self) -> &Reconnect {
        &self.reconnect
    }

    /// The declared channels, in order.
    #[must_use]
    pub fn channels(&self) -> &[ChannelConfig] {
        &self.channels
    }

    /// The wire format.
    #[must_use]
    pub fn wire_dialect(&self) -> Dialect {
        self.dialect
    }

    /// How long to wait for what.
    #[must_use]
    pub fn waits(&self) -> &Patience {
        &self.patience
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
        if self.patience.ping >= self.patience.give_up {
            return Err(whole(ConfigProblem::PingNotBeforeGivingUp));
        }
        for (at, channel) in self.channels.iter().enumerate() {
            let named = |problem| ConfigError {
                channel: Some(channel.name.to_string()),
                problem,
            };
            channel.check().map_err(named)?;
            if self.channels[..at]
                .iter()
                .any(|earlier| earlier.name == channel.name)
            {
                return Err(named(ConfigProblem::NameTaken));
            }
            if self.dialect == Dialect::TlsStream && channel.acking == Acking::Manual {
                return Err(named(ConfigProblem::ManualTlsStream));
            }
        }
        if self.dialect == Dialect::TlsStream && self.channels.len() > 1 {
            return Err(whole(ConfigProblem::ManyTlsStream));
        }
        Ok(())
    }
}
