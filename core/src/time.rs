//! Time in the core: a number that the caller passes in.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment, in microseconds from an epoch that the caller chooses.
///
/// The core has no clock. Every call that depends on time takes an `Instant`; all of them must come
/// from one clock that never runs backwards. A moment earlier than one already seen is treated as
/// the one already seen.
///
/// ```
/// use core::time::Duration;
/// use countersign_core::Instant;
///
/// let start = Instant::from_micros(5);
/// assert_eq!(start + Duration::from_millis(1), Instant::from_micros(1_005));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The epoch.
    pub const ZERO: Self = Self(0);

    /// Stands for 'never' where an `Option` would take too much space.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Returns the moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the moment `duration` later; `None`, which is as good as never, if it is out of
    /// range.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let micros = u64::try_from(duration.as_micros()).ok()?;
        let at = self.0.checked_add(micros).map(Self);
        at.filter(|at| *at != Self::NEVER)
    }

    /// Returns how long after `earlier` this moment is, zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the last moment instead of overflowing.
    fn add(self, rhs: Duration) -> Self {
        self.checked_add(rhs).unwrap_or(Self::NEVER)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.0)
    }
}
