//! Ages of messages (`docs/protocol.md`, Age).

use core::fmt;
use core::time::Duration;

use crate::Instant;

/// The most by which the clocks of two ends drift apart, in microseconds for each second: each may
/// be wrong by half of it, the most by which Linux corrects the frequency of its clock.
pub(crate) const DRIFT_PPM: u64 = 1000;

/// Returns by how much a time can be wrong that two clocks have measured, in microseconds.
pub(crate) const fn drift(micros: u64) -> u64 {
    // Rounded up, and without an overflow for any time.
    micros / (1_000_000 / DRIFT_PPM) + 1
}

/// The age of a message: how long ago its sender accepted it. The true age is between the two
/// bounds, whatever the network, the queues and the processes of both ends did, as long as neither
/// clock jumps (`docs/live.md`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Age {
    /// The message is at least this old.
    pub at_least: Duration,
    /// The message is at most this old. This is what counts where a message may be late.
    pub at_most: Duration,
}

impl fmt::Display for Age {
    /// Writes both bounds in milliseconds, with a decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |bound: Duration| bound.as_micros() / 100;
        let (least, most) = (tenths(self.at_least), tenths(self.at_most));
        write!(
            f,
            "{}.{} to {}.{} ms",
            least / 10,
            least % 10,
            most / 10,
            most % 10
        )
    }
}

/// How far this end's clock is ahead of its peer's, in microseconds: between two bounds. Both clocks
/// have epochs of their own, so the number itself means little; how close its bounds are says how
/// well the age of messages is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClockOffset {
    /// This end's clock is ahead by at least this much; less than zero where it is behind.
    pub at_least: i64,
    /// This end's clock is ahead by at most this much.
    pub at_most: i64,
}

impl ClockOffset {
    /// Returns how far the two bounds are apart: what is not known of a message's age, apart from
    /// the drift.
    #[must_use]
    pub fn uncertainty(&self) -> Duration {
        let apart = self.at_most.wrapping_sub(self.at_least);
        Duration::from_micros(u64::try_from(apart).unwrap_or(0))
    }
}

/// When a message that has arrived was accepted and when it is late, as far as this end knows, by
/// its clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Timing {
    /// When it arrived.
    arrived: Instant,
    /// How old it was then, in microseconds.
    at_least: u64,
    at_most: u64,
    /// When it is late; [`Instant::NEVER`] if it never is.
    pub(crate) late_at: Instant,
}

impl Timing {
    /// Returns the timing of a message that arrives now, of this age and good for `life`, all in
    /// microseconds. Without an age, nothing is known of it.
    pub(crate) fn arriving(now: Instant, ages: Option<(u64, u64)>, life: Option<u64>) -> Self {
        let (at_least, at_most) = ages.unwrap_or((0, u64::MAX));
        let mut timing = Self {
            arrived: now,
            at_least,
            at_most,
            late_at: Instant::NEVER,
        };
        if let Some(life) = life {
            timing.late_at = timing.reaches(life);
        }
        timing
    }

    /// Returns the first moment at which the message may have this age, in microseconds.
    pub(crate) fn reaches(&self, age: u64) -> Instant {
        let left = age.saturating_sub(self.at_most);
        // This end's clock may be slow too.
        let left = left.saturating_sub(drift(left));
        self.arrived + Duration::from_micros(left)
    }

    /// Whether the message may be too old now.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.late_at <= now
    }

    /// Returns the message's age now, if anything is known of it.
    pub(crate) fn age(&self, now: Instant) -> Option<Age> {
        if self.at_most == u64::MAX {
            return None;
        }
        let waited = now.saturating_since(self.arrived).as_micros();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        let at_least = self
            .at_least
            .saturating_add(waited.saturating_sub(drift(waited)));
        let at_most = self
            .at_most
            .saturating_add(waited)
            .saturating_add(drift(waited));
        Some(Age {
            at_least: Duration::from_micros(at_least),
            at_most: Duration::from_micros(at_most),
        })
    }
}
