//! Messages with times: they may be late when the application would take them (`docs/protocol.md`,
//! Age).

use bytes::Bytes;

use super::{Answer, ReceiveHalf};
use crate::age::Timing;
use crate::reported::Reported;
use crate::verdict::{Rejection, reject};
use crate::wire::MessageHead;
use crate::{Instant, PeerMisbehaved, ReceiveError, Sequence};

/// What is known of a message that waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Timed {
    pub(super) sequence: Sequence,
    timing: Timing,
}

/// A message that the application takes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TakenMessage {
    pub(crate) sequence: Sequence,
    pub(crate) payload: Bytes,
    pub(crate) timing: Option<Timing>,
}

impl ReceiveHalf {
    /// Begins a message with times, as [`ReceiveHalf::begin`].
    pub(crate) fn begin_timed(
        &mut self,
        head: &MessageHead,
        timing: Timing,
        data: &[u8],
    ) -> Result<(), PeerMisbehaved> {
        let before = self.received;
        self.begin(head, data)?;
        self.arriving = Some(timing);
        if self.received > before {
            self.timed_arrived();
        }
        Ok(())
    }

    /// Notes that the message whose times came at its beginning has arrived whole.
    pub(super) fn timed_arrived(&mut self) {
        if let Some(timing) = self.arriving.take()
            && !self.abandoned
        {
            let sequence = self.received;
            self.timed.push_back(Timed { sequence, timing });
            self.takes_slowly = true;
        }
    }

    /// Returns the timing of a message that leaves the queue.
    pub(super) fn leave_timed(&mut self, sequence: Sequence) -> Option<Timing> {
        let first = self.timed.front()?;
        if first.sequence != sequence {
            return None;
        }
        self.timed.pop_front().map(|timed| timed.timing)
    }

    /// Whether a message left over from a lost session or one with times waits, or a border: they
    /// are taken by [`ReceiveHalf::take_slowly`].
    #[inline(always)]
    pub(crate) fn takes_slowly(&self) -> bool {
        self.takes_slowly
    }

    /// Takes the oldest message that the application has not taken and that is not late, or the
    /// border before it.
    pub(crate) fn take_slowly(
        &mut self,
        now: Instant,
    ) -> Result<Option<TakenMessage>, ReceiveError> {
        let taken = self.take_in_time(now);
        self.takes_slowly = !self.left_over.is_empty() || !self.timed.is_empty();
        if let Ok(Some(TakenMessage {
            timing: Some(timing),
            ..
        })) = &taken
        {
            self.renew_lease(now, timing);
            self.last_age = Reported(timing.age(now).or(self.last_age.0));
        }
        taken
    }

    fn take_in_time(&mut self, now: Instant) -> Result<Option<TakenMessage>, ReceiveError> {
        while let Some(left) = self.left_over.take()? {
            // Its sender has its verdict already.
            if !self.is_late(left.timing.as_ref(), now) {
                self.delivered += 1;
                return Ok(Some(left));
            }
            self.expired += 1;
        }
        while let Some((sequence, payload)) = self.queue.pop() {
            let timing = self.leave_timed(sequence);
            if self.is_late(timing.as_ref(), now) {
                self.expire(sequence, payload.len());
                continue;
            }
            self.deliver(now, sequence, payload.len());
            return Ok(Some(TakenMessage {
                sequence: self.base.saturating_add(sequence),
                payload,
                timing,
            }));
        }
        Ok(None)
    }

    fn is_late(&self, timing: Option<&Timing>, now: Instant) -> bool {
        #[cfg(planted)]
        if self.ignores_age {
            return false;
        }
        timing.is_some_and(|timing| timing.is_late(now))
    }

    /// Drops a late message, which is reported to its sender.
    fn expire(&mut self, sequence: Sequence, length: usize) {
        self.expired += 1;
        let rejection = Rejection::new(reject::EXPIRED, "");
        self.answer_untaken(sequence, length, Answer::Rejected(rejection));
    }

    /// Returns when the message that is taken next becomes late, if it has a limited life.
    pub(crate) fn late_at(&self) -> Option<Instant> {
        let waiting = match self.left_over.first() {
            Some(left) => left.timing,
            None => {
                let first = self.timed.front()?;
                (self.queue.first() == Some(first.sequence)).then_some(first.timing)
            }
        };
        waiting
            .map(|timing| timing.late_at)
            .filter(|at| *at != Instant::NEVER)
    }
}
