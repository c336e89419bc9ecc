//! Mistakes that the project's tests plant.

use alloc::vec::Vec;

use super::SendHalf;

impl SendHalf {
    /// Swaps the messages to be replayed with those that were never on the wire.
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

    /// Treats every message as sent.
    pub(crate) fn replay_nothing(&mut self) {
        self.written = self.store.len();
        self.offset = 0;
        self.announced = self.next - 1;
        self.flight_bytes = self.store.iter().map(super::Entry::length).sum();
    }

    /// Renumbers the messages from 1.
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
