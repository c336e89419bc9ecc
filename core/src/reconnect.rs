//! Whether, and when, an opener connects again.

use core::time::Duration;

use crate::Instant;
use crate::rng::Rng;

/// What an opener does after a connection was lost or could not be opened.
///
/// The delay before an attempt is drawn uniformly from zero to a bound (full jitter), so that many
/// openers that lost the same peer do not return all at once. The bound is
/// [`first_delay`](Self::first_delay) and doubles with each failure in a row, up to
/// [`longest_delay`](Self::longest_delay). The row ends when any byte arrives from the peer after
/// its greeting.
///
/// What another attempt can't fix (a pin that does not match, declarations that don't fit, a
/// violation) ends the link at once, whatever the limit.
///
/// ```
/// use core::time::Duration;
/// use countersign_core::{Config, Reconnect, RetryLimit};
///
/// let reconnect = Reconnect {
///     limit: RetryLimit::For(Duration::from_secs(600)),
///     longest_delay: Duration::from_secs(5),
///     ..Reconnect::default()
/// };
/// let config = Config::new().reconnect(reconnect);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reconnect {
    /// How often, or for how long, to try again.
    pub limit: RetryLimit,
    /// The upper bound of the delay after the first failure. 100 ms by default.
    pub first_delay: Duration,
    /// The upper bound of all delays. 10 s by default.
    pub longest_delay: Duration,
}

/// How often, or for how long, to try again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RetryLimit {
    /// Until the application closes the link.
    Forever,
    /// Never: the link ends with its first connection.
    Never,
    /// This many times in a row, after the attempt or connection that failed first.
    Attempts(u32),
    /// For this long after the first failure in a row; the last attempt begins when the time is
    /// over.
    For(Duration),
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            limit: RetryLimit::Forever,
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
        }
    }
}

impl Reconnect {
    /// Returns the default delays with this limit.
    #[must_use]
    pub fn limited(limit: RetryLimit) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Returns a policy that never connects again.
    #[must_use]
    pub fn never() -> Self {
        Self::limited(RetryLimit::Never)
    }
}

/// Counts the failures in a row.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    since: Instant,
}

impl Backoff {
    /// Ends the row: the next failure is the first.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Records a failure. Returns when to try again, or `None` if there is no further attempt.
    pub(crate) fn fail(
        &mut self,
        now: Instant,
        policy: &Reconnect,
        rng: &mut Rng,
    ) -> Option<Instant> {
        if self.failures == 0 {
            self.since = now;
        }
        let goes_on = match policy.limit {
            RetryLimit::Forever => true,
            RetryLimit::Never => false,
            RetryLimit::Attempts(most) => self.failures < most,
            RetryLimit::For(time) => now < self.since + time,
        };
        if !goes_on {
            return None;
        }
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let bound = policy
            .first_delay
            .saturating_mul(doubled)
            .min(policy.longest_delay);
        self.failures = self.failures.saturating_add(1);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let drawn = rng.next_u64() % micros.saturating_add(1).max(1);
        let at = now + Duration::from_micros(drawn);
        Some(match policy.limit {
            // The last attempt is made when the time is over, and not after it.
            RetryLimit::For(time) => at.min(self.since + time),
            _ => at,
        })
    }
}
