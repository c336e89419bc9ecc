//! The declaration of a channel at one end.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::config_error::ConfigProblem;
use crate::limits::{
    DEFAULT_LATEST_IN_FLIGHT, DEFAULT_MAX_MESSAGE, DEFAULT_MAX_REPLY, DEFAULT_QUEUE_BYTES,
    DEFAULT_QUEUE_MESSAGES, DEFAULT_WINDOW_BYTES, DEFAULT_WINDOW_MESSAGES, MAX_CHANNEL_NAME,
    MAX_REPLY,
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
    pub(crate) max_reply: usize,
    pub(crate) urgent: bool,
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
            max_reply: DEFAULT_MAX_REPLY,
            urgent: false,
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

    /// Sets the longest reply to a message that this end accepts, in bytes, up to [`MAX_REPLY`];
    /// [`DEFAULT_MAX_REPLY`] by default, zero for none. The smaller value of the two ends counts.
    #[must_use]
    pub fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = bytes;
        self
    }

    /// Makes the channel urgent: its messages go before those of all channels that are not, and
    /// don't wait for a [latency budget](crate::Config::latency_budget). Keep them few and short.
    #[must_use]
    pub fn urgent(mut self) -> Self {
        self.urgent = true;
        self
    }

    /// Whether the channel is urgent.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.urgent
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

    /// Returns the longest reply to a message, in bytes.
    #[must_use]
    pub fn get_max_reply(&self) -> usize {
        self.max_reply
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
///     .lease(Duration::from_millis(300));
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
    pub(crate) max_reply: usize,
    pub(crate) lease: Option<Duration>,
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
            max_reply: DEFAULT_MAX_REPLY,
            lease: None,
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

    /// Sets the longest reply that this end gives to a message of a [`manual`](Self::manual)
    /// channel, in bytes, up to [`MAX_REPLY`]; [`DEFAULT_MAX_REPLY`] by default, zero for none. The
    /// smaller value of the two ends counts.
    #[must_use]
    pub fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = bytes;
        self
    }

    /// Makes the channel's messages carry authority that lapses: the newest message that was taken
    /// holds it for this long from the moment at which its *sender* accepted it, as far as this end
    /// can know ([`Message::age`](crate::Message::age)). Nothing else prolongs it: not the network,
    /// not the queues, not a process that stands still. [`Event::LeaseHeld`](crate::Event::LeaseHeld)
    /// and [`Event::LeaseLapsed`](crate::Event::LeaseLapsed) report the changes.
    ///
    /// The lease is not held before the first message. A message that is older than this when it is
    /// taken renews nothing. The sender adds the times of every message on such a channel, also of
    /// those without a limited life.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = Some(time);
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

    /// Returns the longest reply to a message, in bytes.
    #[must_use]
    pub fn get_max_reply(&self) -> usize {
        self.max_reply
    }

    /// Returns for how long a message's authority lasts, or `None` if the channel has no lease.
    #[must_use]
    pub fn get_lease(&self) -> Option<Duration> {
        self.lease
    }

    fn check(&self) -> Result<(), ConfigProblem> {
        if self.window_messages == 0 {
            return Err(ConfigProblem::Zero("the messages of window()"));
        }
        if self.window_bytes < self.max_message {
            return Err(ConfigProblem::WindowTooSmall);
        }
        if self.lease == Some(Duration::ZERO) {
            return Err(ConfigProblem::Zero("lease()"));
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

    /// Whether its messages go before those of others.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Send(channel) if channel.urgent)
    }

    /// Whether the sender is to add the times of every message.
    pub(crate) fn wants_times(&self) -> bool {
        matches!(self, Self::Receive(channel) if channel.lease.is_some())
    }

    /// Returns the longest reply to a message, in bytes; zero for a receiver that gives none.
    pub(crate) fn max_reply(&self) -> u32 {
        let most = match self {
            Self::Send(channel) => channel.max_reply,
            Self::Receive(channel) if channel.is_manual() => channel.max_reply,
            Self::Receive(_) => 0,
        };
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigProblem> {
        if self.name().len() > MAX_CHANNEL_NAME {
            return Err(ConfigProblem::NameTooLong);
        }
        if usize::try_from(self.max_reply()).is_ok_and(|most| most > MAX_REPLY) {
            return Err(ConfigProblem::ReplyTooLong);
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
