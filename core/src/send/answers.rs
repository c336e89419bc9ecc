//! The peer's answers to messages: acknowledgements, rejections and replies.

use super::{Handled, SendHalf};
use crate::spent::Spent;
use crate::verdict::{Verdict, VerdictKind};
use crate::{PeerMisbehaved, Sequence};

impl SendHalf {
    /// Handles an acknowledgement of everything up to `through`.
    pub(crate) fn acknowledge(
        &mut self,
        through: Sequence,
        spent: &mut Spent,
    ) -> Result<(), PeerMisbehaved> {
        if through < self.acked {
            return Err(PeerMisbehaved::AckedBackwards);
        }
        if through > self.announced || self.is_partly_written(through) {
            return Err(PeerMisbehaved::AckedTooMuch);
        }
        let first = self.acked + 1;
        // The cost depends on what this settles only: a peer may repeat an acknowledgement at will.
        let settled = self
            .store
            .partition_point(|entry| entry.sequence <= through);
        let (answered, answered_bytes) = self.check_answered(settled)?;
        let mut acked_bytes = 0;
        spent.extend(self.store.range_mut(..settled).map(|entry| {
            acked_bytes += entry.length();
            entry.take_payload()
        }));
        self.store.drain(..settled);
        self.stored_bytes -= acked_bytes - answered_bytes;
        self.flight_bytes -= acked_bytes;
        self.written -= settled;
        self.acked = through;
        self.count_handled((settled - answered) as u64, first, through);
        Ok(())
    }

    /// Counts messages of this session that were handled, from `first` to `last`, for
    /// [`Event::Handled`](crate::Event::Handled).
    pub(super) fn count_handled(&mut self, count: u64, first: Sequence, last: Sequence) {
        if count == 0 {
            return;
        }
        self.counts[VerdictKind::Handled] += count;
        let handled = self.handled.get_or_insert(Handled {
            first: self.base + first,
            last: 0,
            count: 0,
        });
        handled.last = self.base + last;
        handled.count += count;
    }

    /// Returns how many of the `first` messages in `store` have an answer, and their bytes.
    fn check_answered(&self, first: usize) -> Result<(usize, usize), PeerMisbehaved> {
        let (mut count, mut bytes) = (0, 0);
        let oldest = self.store.front().map_or(0, |entry| entry.sequence);
        if oldest > self.last_answered {
            return Ok((count, bytes));
        }
        for entry in self.store.range(..first) {
            let Some(answered) = entry.answered() else {
                continue;
            };
            if answered.blocks_ack() {
                return Err(PeerMisbehaved::AckedTooMuch);
            }
            count += 1;
            bytes += entry.length();
        }
        Ok((count, bytes))
    }

    fn is_partly_written(&self, sequence: Sequence) -> bool {
        self.offset > 0
            && self
                .store
                .get(self.written)
                .is_some_and(|e| e.sequence <= sequence)
    }

    /// Checks that a reply is within the limit of the channel.
    pub(crate) fn check_reply(&self, reply: &[u8]) -> Result<(), PeerMisbehaved> {
        let (length, limit) = (reply.len(), self.max_reply);
        if length > limit {
            return Err(PeerMisbehaved::ReplyTooLong { length, limit });
        }
        Ok(())
    }

    /// Handles the answer to one message: its verdict, which has content.
    pub(crate) fn answered(
        &mut self,
        sequence: Sequence,
        verdict: Verdict,
        spent: &mut Spent,
    ) -> Result<(), PeerMisbehaved> {
        let at = self
            .find(sequence)
            .filter(|at| *at < self.written)
            .ok_or(PeerMisbehaved::NothingToSettle)?;
        self.received = self.received.max(sequence);
        let entry = &mut self.store[at];
        let payload = entry.answer();
        let length = entry.length();
        // An answer may be repeated on a later connection, but one note at a time is enough.
        if let Some(answered) = entry.answered_mut().filter(|one| !one.note_pending) {
            answered.note_pending = true;
            self.to_note.push_back(sequence);
        }
        if payload.is_some() {
            self.last_answered = self.last_answered.max(sequence);
            spent.push(payload);
            self.stored_bytes -= length;
            self.settle(sequence, verdict);
        }
        Ok(())
    }

    /// Records that the next note was written.
    pub(crate) fn note_written(&mut self) {
        let noted = self.to_note.pop_front();
        let at = noted.and_then(|sequence| self.find(sequence));
        if let Some(answered) = at.and_then(|at| self.store[at].answered_mut()) {
            answered.note_pending = false;
            answered.noted = true;
        }
    }
}
