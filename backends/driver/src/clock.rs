//! The core's time from the machine's monotonic clock.

use std::sync::LazyLock;
use std::time::Instant as StdInstant;

use countersign_core::Instant;

/// When the core's time begins: for all links, since a connection may go from one to another.
static EPOCH: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);

/// Turns the machine's monotonic time into the core's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(StdInstant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(*EPOCH)
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
