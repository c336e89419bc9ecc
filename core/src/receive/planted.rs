//! Mistakes that the project's own tests plant.

use super::ReceiveHalf;

impl ReceiveHalf {
    /// As if nothing had come yet.
    pub(crate) fn forget(&mut self) {
        self.received = 0;
        self.settled = 0;
        self.acked = 0;
        self.assembly = None;
    }
}
