//! Errors of a declaration, and of one that is made too late.

use alloc::string::String;
use core::fmt;

use crate::escaped::Escaped;
use crate::limits::{
    DEFAULT_MAX_MESSAGE, MAX_CHANNEL_NAME, MAX_CHANNELS, MAX_LATENCY_BUDGET, MAX_REPLY,
    MIN_LATENCY_BUDGET,
};
use crate::wire::{MAX_FRAME_LIMIT, MIN_FRAME_LIMIT};

/// An invalid declaration.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The channel, if the problem is one channel's.
    pub channel: Option<String>,
    /// What is wrong.
    pub problem: ConfigProblem,
}

/// What is wrong with a declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The link has no channels; it needs at least one.
    NoChannels,
    /// The link has more than [`MAX_CHANNELS`] channels.
    TooManyChannels,
    /// A channel's name is longer than [`MAX_CHANNEL_NAME`] bytes.
    NameTooLong,
    /// Two channels have the same name.
    NameTaken,
    /// The named limit is zero, which would let nothing through.
    Zero(&'static str),
    /// The frame limit is outside [`MIN_FRAME_LIMIT`] to [`MAX_FRAME_LIMIT`].
    FrameLimit,
    /// The send queue does not hold one message of the largest size.
    QueueTooSmall,
    /// The receive window does not hold one message of the largest size.
    WindowTooSmall,
    /// `max_reply()` is above [`MAX_REPLY`].
    ReplyTooLong,
    /// The latency budget is outside [`MIN_LATENCY_BUDGET`] to [`MAX_LATENCY_BUDGET`].
    LatencyBudget,
    /// The messages of `tlsstream` have no times, so it can't have a lease.
    LeaseTlsStream,
    /// `tlsstream` has no PING, by which a latency budget is kept.
    BudgetTlsStream,
    /// `tlsstream` confirms on arrival, so it can't be `Manual`.
    ManualTlsStream,
    /// `tlsstream` has exactly one channel.
    ManyTlsStream,
    /// `ping` is not shorter than `give_up`: the ping must go out before the connection is given
    /// up.
    PingNotBeforeGivingUp,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChannels => f.write_str("a link needs at least one channel"),
            Self::TooManyChannels => write!(f, "a link has {MAX_CHANNELS} channels at most"),
            Self::NameTooLong => write!(f, "a name has {MAX_CHANNEL_NAME} bytes at most"),
            Self::NameTaken => f.write_str("another channel has the same name"),
            Self::Zero(what) => write!(f, "{what} must be more than zero"),
            Self::FrameLimit => {
                write!(
                    f,
                    "frame_limit must be from {MIN_FRAME_LIMIT} to {MAX_FRAME_LIMIT} bytes"
                )
            }
            Self::QueueTooSmall => write!(
                f,
                "the bytes of queue() must be no fewer than max_message(), which is \
                 {DEFAULT_MAX_MESSAGE} unless it is set"
            ),
            Self::WindowTooSmall => write!(
                f,
                "the bytes of window() must be no fewer than max_message(), which is \
                 {DEFAULT_MAX_MESSAGE} unless it is set"
            ),
            Self::ReplyTooLong => {
                write!(f, "max_reply() must be no more than {MAX_REPLY} bytes")
            }
            Self::LatencyBudget => write!(
                f,
                "latency_budget() must be from {MIN_LATENCY_BUDGET:?} to {MAX_LATENCY_BUDGET:?}"
            ),
            Self::LeaseTlsStream => f.write_str(
                "the messages of the tlsstream dialect don't say when they were sent, so it has no \
                 leases",
            ),
            Self::BudgetTlsStream => f.write_str(
                "the tlsstream dialect can't measure its rate, so it has no latency budget",
            ),
            Self::ManualTlsStream => {
                f.write_str("the tlsstream dialect confirms on arrival and can't be manual")
            }
            Self::ManyTlsStream => f.write_str("the tlsstream dialect has exactly one channel"),
            Self::PingNotBeforeGivingUp => {
                f.write_str("timeouts.ping must be shorter than timeouts.give_up")
            }
        }
    }
}

crate::debug_as_display!(ConfigError, DeclareError);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.channel {
            Some(name) => write!(f, "channel '{}': {}", Escaped::new(name), self.problem),
            None => write!(f, "{}", self.problem),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Why [`Incoming::declare`](crate::Incoming::declare) fails.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeclareError {
    /// No peer is waiting to be admitted.
    NoRequest,
    /// The declaration is invalid.
    Config(ConfigError),
}

impl fmt::Display for DeclareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRequest => f.write_str("no peer waits to be admitted"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeclareError {}
