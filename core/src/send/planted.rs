//! Mistakes that the project's own tests plant.

use alloc::vec::Vec;

use super::SendHalf;

impl SendHalf {
    /// What has to go out again changes places with what has not been on the wire.
    pub(crate) fn replay_last(&mut self) {
        let again = usize::try_from(self.pending_replays()).unwrap_or(0);
        let from = self.unbegun();
        let numbers: Vec<_> = self.store.iter().map(|entry| entry.sequence).collect();
        let mut rest = self.store.split_off(from);
        rest.rotate_left(again);
        self.store.append(&mut rest);
        for (entry, number) in self.store.iter_mut().zip(numbers) {
            entry.sequence = number;
        }
    }

    /// What is left counts as sent.
    pub(crate) fn replay_nothing(&mut self) {
        self.written = self.store.len();
        self.offset = 0;
        self.announced = self.next - 1;
        self.flight_bytes = self.store.iter().map(|entry| entry.length).sum();
    }

    /// The first message that is left becomes number 1.
    pub(crate) fn count_anew(&mut self) {
        for (number, entry) in (1..).zip(&mut self.store) {
            entry.sequence = number;
        }
        self.announced = 0;
        self.received = 0;
        self.acked = 0;
        self.next = self.store.len() as u64 + 1;
    }
}
