//! The declaration of a channel at one end.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::config_error::ConfigProblem;
use crate::limits::{
    DEFAULT_LATEST_IN_FLIGHT, DEFAULT_MAX_MESSAGE, DEFAULT_QUEUE_BYTES, DEFAULT_QUEUE_MESSAGES,
    DEFAULT_WINDOW_BYTES, DEFAULT_WINDOW_MESSAGES, MAX_CHANNEL_NAME,
};

/// Which end of a channel this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Messages leave here.
    Send,
    /// Messages arrive here.
    Receive,
}

impl Mode {
    /// Returns the mode that the other end must have.
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

/// What a channel does when messages are accepted faster than they can be sent.
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
pub(crate) enum Acking {
    /// When the application takes it.
    Auto,
    /// When the application says so.
    Manual,
}

/// A channel that this end sends on.
///
/// ```
/// use countersign_core::{Config, SendChannel};
///
/// let video = SendChannel::new("video").latest().max_message(1 << 20);
/// let config = Config::new().channel(video);
/// # assert!(config.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SendChannel {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) max_message: usize,
    pub(crate) queue_messages: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) in_flight: u32,
}

impl SendChannel {
    /// Returns a `Reliable` channel with the default limits.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            policy: Policy::Reliable,
            max_message: DEFAULT_MAX_MESSAGE,
            queue_messages: DEFAULT_QUEUE_MESSAGES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            in_flight: u32::MAX,
        }
    }

    /// Sets policy `Latest`: a newer message replaces one that is not on the wire yet, and at most
    /// [`DEFAULT_LATEST_IN_FLIGHT`] messages are unacknowledged.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.policy = Policy::Latest;
        if self.in_flight == u32::MAX {
            self.in_flight = DEFAULT_LATEST_IN_FLIGHT;
        }
        self
    }

    /// Sets policy `Reliable`, the default.
    #[must_use]
    pub fn reliable(mut self) -> Self {
        self.policy = Policy::Reliable;
        self
    }

    /// Sets the largest message in bytes, [`DEFAULT_MAX_MESSAGE`] by default. The smaller value of
    /// the two ends counts. Raises the queue's bytes to hold one such message: to set fewer, call
    /// [`queue`](Self::queue) afterwards, with no fewer than this.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self.queue_bytes = self.queue_bytes.max(bytes);
        self
    }

    /// Sets how many messages, and how many bytes of them, may wait for their verdicts: at least one
    /// of [`max_message`](Self::max_message). Defaults: [`DEFAULT_QUEUE_MESSAGES`],
    /// [`DEFAULT_QUEUE_BYTES`].
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue_messages = messages;
        self.queue_bytes = bytes;
        self
    }

    /// Sets how many messages may be on the wire without an acknowledgement, where the receiver's
    /// window allows more. Unbounded by default, [`DEFAULT_LATEST_IN_FLIGHT`] with
    /// [`latest`](Self::latest).
    #[must_use]
    pub fn in_flight(mut self, messages: u32) -> Self {
        self.in_flight = messages;
        self
    }

    /// Returns the name, by which the two ends match their declarations of the channel.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what happens to messages that are accepted faster than they can be sent.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Returns the largest message in bytes.
    #[must_use]
    pub fn get_max_message(&self) -> usize {
        self.max_message
    }

    /// Returns how many messages, and how many bytes of them, may wait for their verdicts.
    #[must_use]
    pub fn get_queue(&self) -> (usize, usize) {
        (self.queue_messages, self.queue_bytes)
    }

    /// Returns how many messages may be on the wire without an acknowledgement.
    #[must_use]
    pub fn get_in_flight(&self) -> u32 {
        self.in_flight
    }

    fn check(&self) -> Result<(), ConfigProblem> {
        if self.queue_messages == 0 {
            return Err(ConfigProblem::Zero("the messages of queue()"));
        }
        if self.in_flight == 0 {
            return Err(ConfigProblem::Zero("in_flight()"));
        }
        if self.queue_bytes < self.max_message {
            return Err(ConfigProblem::QueueTooSmall);
        }
        Ok(())
    }
}

/// A channel that this end receives on.
///
/// ```
/// use core::time::Duration;
/// use countersign_core::{Config, ReceiveChannel};
///
/// let commands = ReceiveChannel::new("commands")
///     .manual()
///     .silence(Duration::from_millis(1500));
/// let config = Config::new().channel(commands);
/// # assert!(config.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReceiveChannel {
    pub(crate) name: String,
    pub(crate) policy: Option<Policy>,
    pub(crate) acking: Acking,
    pub(crate) max_message: usize,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: usize,
    pub(crate) silence: Option<Duration>,
}

impl ReceiveChannel {
    /// Returns a channel with the default limits. A message counts as handled when it is taken, and
    /// the sender may have any policy.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            policy: None,
            acking: Acking::Auto,
            max_message: DEFAULT_MAX_MESSAGE,
            window_messages: DEFAULT_WINDOW_MESSAGES,
            window_bytes: DEFAULT_WINDOW_BYTES,
            silence: None,
        }
    }

    /// Requires the sender to have policy `Latest`.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.policy = Some(Policy::Latest);
        self
    }

    /// Requires the sender to have policy `Reliable`.
    #[must_use]
    pub fn reliable(mut self) -> Self {
        self.policy = Some(Policy::Reliable);
        self
    }

    /// Makes a message count as handled when the application says so, not when it takes it.
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.acking = Acking::Manual;
        self
    }

    /// Sets the largest message in bytes, [`DEFAULT_MAX_MESSAGE`] by default. The smaller value of
    /// the two ends counts. Raises the window's bytes to hold one such message: to set fewer, call
    /// [`window`](Self::window) afterwards, with no fewer than this.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self.window_bytes = self.window_bytes.max(bytes);
        self
    }

    /// Sets how many messages, and how many bytes of them, may be held unhandled: at least one of
    /// [`max_message`](Self::max_message). Defaults: [`DEFAULT_WINDOW_MESSAGES`],
    /// [`DEFAULT_WINDOW_BYTES`].
    #[must_use]
    pub fn window(mut self, messages: u32, bytes: usize) -> Self {
        self.window_messages = messages;
        self.window_bytes = bytes;
        self
    }

    /// Reports [`Event::Silent`](crate::Event::Silent) when no message has arrived for this long,
    /// counted from the moment at which the link is first up.
    #[must_use]
    pub fn silence(mut self, after: Duration) -> Self {
        self.silence = Some(after);
        self
    }

    /// Returns the name, by which the two ends match their declarations of the channel.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the policy that the sender must have, or `None` if it may have any.
    #[must_use]
    pub fn required_policy(&self) -> Option<Policy> {
        self.policy
    }

    /// Whether the application says when a message is handled.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.acking == Acking::Manual
    }

    /// Returns the largest message in bytes.
    #[must_use]
    pub fn get_max_message(&self) -> usize {
        self.max_message
    }

    /// Returns how many messages, and how many bytes of them, may be held unhandled.
    #[must_use]
    pub fn get_window(&self) -> (u32, usize) {
        (self.window_messages, self.window_bytes)
    }

    /// Returns the time without a message after which silence is reported, or `None` if it is not.
    #[must_use]
    pub fn get_silence(&self) -> Option<Duration> {
        self.silence
    }

    fn check(&self) -> Result<(), ConfigProblem> {
        if self.window_messages == 0 {
            return Err(ConfigProblem::Zero("the messages of window()"));
        }
        if self.window_bytes < self.max_message {
            return Err(ConfigProblem::WindowTooSmall);
        }
        if self.silence == Some(Duration::ZERO) {
            return Err(ConfigProblem::Zero("silence()"));
        }
        Ok(())
    }
}

/// One channel of a [`Config`](crate::Config), in either direction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ChannelConfig {
    /// This end sends.
    Send(SendChannel),
    /// This end receives.
    Receive(ReceiveChannel),
}

impl From<SendChannel> for ChannelConfig {
    fn from(channel: SendChannel) -> Self {
        Self::Send(channel)
    }
}

impl From<ReceiveChannel> for ChannelConfig {
    fn from(channel: ReceiveChannel) -> Self {
        Self::Receive(channel)
    }
}

impl ChannelConfig {
    /// Returns the name, by which the two ends match their declarations of the channel.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Send(channel) => &channel.name,
            Self::Receive(channel) => &channel.name,
        }
    }

    /// Returns the mode of this end.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::Send(_) => Mode::Send,
            Self::Receive(_) => Mode::Receive,
        }
    }

    /// Returns the policy of a send channel, or the policy that a receive channel requires of the
    /// sender, if any.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        match self {
            Self::Send(channel) => Some(channel.policy),
            Self::Receive(channel) => channel.policy,
        }
    }

    /// Returns the largest message in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        match self {
            Self::Send(channel) => channel.max_message,
            Self::Receive(channel) => channel.max_message,
        }
    }

    /// Whether the application says when a received message is handled.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Receive(channel) if channel.is_manual())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigProblem> {
        if self.name().len() > MAX_CHANNEL_NAME {
            return Err(ConfigProblem::NameTooLong);
        }
        if self.max_message() == 0 {
            return Err(ConfigProblem::Zero("max_message()"));
        }
        match self {
            Self::Send(channel) => channel.check(),
            Self::Receive(channel) => channel.check(),
        }
    }
}
