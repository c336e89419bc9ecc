//! The sending half when its connection is lost and the next one comes.

use super::{Entry, SendHalf};
use crate::channel::Policy;
use crate::spent::Spent;
use crate::verdict::Verdict;
use crate::{Instant, PeerMisbehaved, Sequence};

/// What a greeting that resumes says about one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResumePoint {
    pub(crate) handled: Sequence,
    pub(crate) received: Sequence,
    pub(crate) partial: u64,
}

impl SendHalf {
    /// Resumes where the receiver says. What it has not received is as if it had never been on the
    /// wire: it goes out before anything new, and until then it can expire, be superseded or be
    /// withdrawn.
    pub(crate) fn resume(
        &mut self,
        point: ResumePoint,
        spent: &mut Spent,
    ) -> Result<(), PeerMisbehaved> {
        let ResumePoint {
            handled,
            received,
            partial,
        } = point;
        self.check_received(handled, received)?;
        let partial = self.check_partial(received, partial)?;
        // Only announced messages are acknowledged here: the half is as the last connection left
        // it.
        self.acknowledge(handled, spent)
            .map_err(|_| PeerMisbehaved::Resume)?;
        self.clear_pending_notes();
        self.replayed -= self.pending_replays();
        self.begun_before = self.begun_before.max(self.announced);
        self.written = self
            .store
            .partition_point(|entry| entry.sequence <= received);
        self.offset = partial;
        self.received = received;
        self.announced = received + u64::from(partial > 0);
        let outstanding = self.store.range(..self.written);
        self.flight_bytes = outstanding.map(Entry::length).sum::<usize>() + partial;
        self.replayed += self.pending_replays();
        self.restore_expiries();
        self.supersede_unbegun(spent);
        Ok(())
    }

    /// Checks that the receiver claims neither more than was sent nor less than it has said before.
    fn check_received(&self, handled: Sequence, received: Sequence) -> Result<(), PeerMisbehaved> {
        let whole = self.announced - u64::from(self.offset > 0);
        let floor = self.received.max(self.acked);
        if handled > received || handled < self.acked || received > whole || received < floor {
            return Err(PeerMisbehaved::Resume);
        }
        Ok(())
    }

    /// Checks how much the receiver has of the message after `received`, which must have been
    /// begun.
    fn check_partial(&self, received: Sequence, partial: u64) -> Result<usize, PeerMisbehaved> {
        if partial == 0 {
            return Ok(0);
        }
        let found = self.find(received + 1).ok_or(PeerMisbehaved::Resume)?;
        let most = if found < self.written {
            self.store[found].length().saturating_sub(1)
        } else if found == self.written {
            self.offset
        } else {
            0
        };
        match usize::try_from(partial) {
            Ok(partial) if partial <= most => Ok(partial),
            _ => Err(PeerMisbehaved::Resume),
        }
    }

    /// Clears the pending notes: they belong to one connection, and the receiver repeats the
    /// answers that it wants noted.
    fn clear_pending_notes(&mut self) {
        for sequence in core::mem::take(&mut self.to_note) {
            let at = self.find(sequence);
            if let Some(answered) = at.and_then(|at| self.store[at].answered_mut()) {
                answered.note_pending = false;
            }
        }
    }

    /// Returns how many messages that were begun on an earlier connection have to be sent again.
    pub(super) fn pending_replays(&self) -> u64 {
        let begun = |entry: &&Entry| entry.sequence <= self.begun_before;
        self.store.iter().skip(self.unbegun()).filter(begun).count() as u64
    }

    fn restore_expiries(&mut self) {
        for entry in self.store.iter().skip(self.unbegun()) {
            if entry.expires != Instant::NEVER {
                self.expiries.insert((entry.expires, entry.sequence));
            }
        }
    }

    /// Keeps one unbegun message of a `Latest` channel: the newest.
    fn supersede_unbegun(&mut self, spent: &mut Spent) {
        if self.policy == Policy::Latest {
            let newest = self.store.back().map(|entry| entry.sequence);
            self.drop_all_unbegun(spent, |entry| {
                (Some(entry.sequence) != newest).then_some(Verdict::Superseded)
            });
        }
    }

    /// Ends the session and begins a new, empty one. `handled` is the last number that the receiver
    /// had settled, if it knows.
    pub(crate) fn start_over(
        &mut self,
        handled: Option<Sequence>,
        spent: &mut Spent,
    ) -> Result<(), PeerMisbehaved> {
        if let Some(handled) = handled {
            let whole = self.announced - u64::from(self.offset > 0);
            if handled < self.acked || handled > whole {
                return Err(PeerMisbehaved::Resume);
            }
            self.settle_rest(handled, spent);
        }
        self.end(spent);
        self.base += self.next - 1;
        self.next = 1;
        self.announced = 0;
        self.acked = 0;
        self.received = 0;
        self.last_answered = 0;
        self.begun_before = 0;
        self.last = None;
        self.max_message = self.own_max_message;
        Ok(())
    }

    /// Gives every message up to `through` that has no verdict the verdict `Handled`. Unlike an
    /// acknowledgement, this may pass any message: nothing of this session is on a connection any
    /// more.
    fn settle_rest(&mut self, through: Sequence, spent: &mut Spent) {
        let (first, mut last, mut count) = (self.acked + 1, 0, 0);
        while self
            .store
            .front()
            .is_some_and(|entry| entry.sequence <= through)
        {
            let Some(entry) = self.store.pop_front() else {
                break;
            };
            self.written -= 1;
            if entry.answered().is_none() {
                count += 1;
                last = entry.sequence;
            }
            spent.push(entry.into_payload());
        }
        self.count_handled(count, first, last);
    }
}
