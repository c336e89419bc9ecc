//! The core's time from the machine's monotonic clock.

use std::time::Instant as StdInstant;

use countersign_core::Instant;

/// Turns the machine's monotonic time into the core's, counted from when the link was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(StdInstant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(StdInstant::now())
    }

    pub(crate) fn now(self) -> Instant {
        self.at(StdInstant::now())
    }

    /// The core's name for a moment of the machine's clock.
    pub(crate) fn at(self, moment: StdInstant) -> Instant {
        Instant::ZERO + moment.saturating_duration_since(self.0)
    }

    /// The machine's name for a moment of the core's; `None` for one beyond what it can name.
    pub(crate) fn to_std(self, moment: Instant) -> Option<StdInstant> {
        self.0.checked_add(moment.saturating_since(Instant::ZERO))
    }
}
