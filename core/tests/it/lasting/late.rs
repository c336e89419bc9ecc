//! Messages that are late where they would be taken.

use countersign_core::{Message, ReceiveError, Verdict};

use super::world::World;

impl World<'_> {
    /// Messages that are late are not taken, those that may be need not be, and others must be.
    pub(super) fn drop_late(
        &mut self,
        channel: usize,
        got: &Result<Option<Message>, ReceiveError>,
    ) -> bool {
        let mut dropped = false;
        let taken = got.as_ref().ok().and_then(Option::as_ref);
        while let Some((number, origin)) = self.receivers[channel].next() {
            let expires = self.senders[channel][origin.0].expires(origin.1);
            if taken.is_some_and(|message| message.sequence == number) {
                assert!(
                    expires.is_none_or(|expires| self.now < expires),
                    "taken late"
                );
                let accepted = self.senders[channel][origin.0].accepted(origin.1);
                self.receivers[channel].lease.take(self.now, accepted);
                break;
            }
            assert!(expires.is_some(), "message {number} is not taken");
            if self.receivers[channel].drop_late() {
                self.decide(channel, origin, Verdict::Expired);
            }
            dropped = true;
        }
        dropped
    }
}
