//! A peer's clock beside a link's.

use countersign_core::Instant;

/// What a clock shows, by the link's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerClock {
    /// What it shows where the link's shows zero.
    pub(crate) ahead: u64,
    /// By how much it is too fast, in millionths.
    pub(crate) drift: i64,
}

impl PeerClock {
    /// What it shows now, modulo 2^64.
    pub(crate) fn shows(&self, now: Instant) -> u64 {
        let gained = i128::from(now.as_micros()) * i128::from(self.drift) / 1_000_000;
        // Less than the link's clock shows.
        let gained = i64::try_from(gained).expect("a small part");
        let time = now.as_micros().wrapping_add(self.ahead);
        time.wrapping_add(gained.cast_unsigned())
    }

    /// How many microseconds ago it showed a time, by the link's clock.
    pub(crate) fn since(&self, now: Instant, time: u64) -> u64 {
        let passed = i128::from(self.shows(now).wrapping_sub(time));
        let passed = passed * 1_000_000 / i128::from(1_000_000 + self.drift);
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}
