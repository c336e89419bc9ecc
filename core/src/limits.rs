//! The limits of declarations, and their defaults.

use core::time::Duration;

/// The most channels that one link can have.
pub const MAX_CHANNELS: usize = 64;
/// The name of the channel of [`Config::default`](crate::Config::default).
pub const DEFAULT_CHANNEL: &str = "main";
/// The largest frame by default, in bytes with its header: what one TLS record holds.
pub const DEFAULT_FRAME_LIMIT: usize = 16_384;

/// The longest name of a channel, in bytes of UTF-8.
pub const MAX_CHANNEL_NAME: usize = 64;
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
/// The longest reply to a message that a channel may be declared with, in bytes.
pub const MAX_REPLY: usize = 4096;
/// The longest reply to a message by default, in bytes.
pub const DEFAULT_MAX_REPLY: usize = 256;
/// The shortest latency budget.
pub const MIN_LATENCY_BUDGET: Duration = Duration::from_millis(1);
/// The longest latency budget.
pub const MAX_LATENCY_BUDGET: Duration = Duration::from_secs(10);
/// How many messages a `Latest` channel keeps unacknowledged by default.
pub const DEFAULT_LATEST_IN_FLIGHT: u32 = 2;
