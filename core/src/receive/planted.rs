//! Mistakes that the project's tests plant.

use super::ReceiveHalf;

impl ReceiveHalf {
    /// Resets the counters, as if nothing had arrived.
    pub(crate) fn forget(&mut self) {
        self.received = 0;
        self.settled = 0;
        self.acked = 0;
        self.assembly = None;
    }
}
