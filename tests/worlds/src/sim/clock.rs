//! Clocks that agree neither on the time nor on how fast it passes.

use countersign_core::Instant;

/// One host's clock. The world's time is in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows when the world begins.
    pub epoch: u64,
    /// How many of its milliseconds pass in a second of the world's.
    pub rate: u64,
}

impl Clock {
    /// Returns a clock that is right.
    pub const RIGHT: Self = Self {
        epoch: 0,
        rate: 1000,
    };

    /// Returns what it shows at a moment of the world.
    #[must_use]
    pub fn at(self, world: u64) -> Instant {
        Instant::from_micros(self.epoch + world * self.rate / 1000)
    }

    /// Returns the first moment of the world at which it shows `local` or more.
    #[must_use]
    pub fn when(self, local: Instant) -> u64 {
        let passed = local.as_micros().saturating_sub(self.epoch);
        passed.saturating_mul(1000).div_ceil(self.rate)
    }
}
