//! Upper bounds of the memory that a link takes (`docs/limits.md`).

use core::mem::size_of;

use crate::channel::ChannelConfig;
use crate::config::Config;
use crate::link::Link;
use crate::pace::Pace;
use crate::receive::ReceiveHalf;
use crate::send::SendHalf;

/// What `bytes` keeps beside memory that several messages share.
pub(crate) const SHARED: usize = 6 * size_of::<usize>();
/// The fewest entries that a list allocates room for.
const LEAST_ENTRIES: usize = 4;

/// A sum of bytes, saturating at the largest `usize`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bound {
    held: usize,
    /// What the longest list holds: it is in memory twice while the list is moved to grow.
    moving: usize,
}

impl Bound {
    /// Adds `count` bytes.
    pub(crate) const fn bytes(mut self, count: usize) -> Self {
        self.held = self.held.saturating_add(count);
        self
    }

    /// Adds a list of up to `entries` entries. It grows by doubling, so it has room for up to twice
    /// as many.
    pub(crate) fn list<T>(mut self, entries: usize) -> Self {
        let entries = entries.max(LEAST_ENTRIES);
        let filled = entries.saturating_mul(size_of::<T>());
        self.moving = self.moving.max(filled);
        self.bytes(filled.saturating_mul(2))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            held: self.held.saturating_add(other.held),
            moving: self.moving.max(other.moving),
        }
    }

    const fn total(self) -> usize {
        self.held.saturating_add(self.moving)
    }
}

impl Config {
    /// Returns how many bytes of memory a [`Link`] with this declaration takes at most, itself
    /// included, whatever its peer and its application do; `usize::MAX` stands for that and more.
    /// `docs/limits.md` says what counts and what does not.
    ///
    /// The largest parts are the queues and windows of its channels: where memory is short, begin
    /// with those.
    ///
    /// ```
    /// use countersign_core::{Config, ReceiveChannel, SendChannel};
    ///
    /// let sensor = Config::new()
    ///     .channel(SendChannel::new("values").max_message(64).queue(32, 1024))
    ///     .channel(ReceiveChannel::new("commands").max_message(64).window(4, 256));
    /// assert!(sensor.memory_bound() < 54 * 1024);
    /// ```
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let channels = self.channels.iter();
        let of_channels = channels.map(|channel| self.channel_bound(channel));
        let paced = self.latency_budget.map(|_| Pace::memory_bound());
        of_channels
            .chain(paced)
            .fold(Link::memory_bound(self.channels.len()), Bound::and)
            .total()
    }

    fn channel_bound(&self, channel: &ChannelConfig) -> Bound {
        let half = match channel {
            ChannelConfig::Send(channel) => SendHalf::memory_bound(channel),
            ChannelConfig::Receive(channel) => ReceiveHalf::memory_bound(channel, self.dialect),
        };
        half.bytes(size_of::<ChannelConfig>() + channel.name().len())
    }
}
