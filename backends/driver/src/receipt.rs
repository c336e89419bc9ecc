//! Receipts: what a send returns, and how verdicts reach them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use countersign_core::{Sequence, Verdict, VerdictCounts, VerdictKind};

use crate::lock::ToWake;
use crate::sync::{Mutex, MutexGuard};

/// The capacity in receipts that a channel keeps once none are outstanding.
const KEPT_CAPACITY: usize = 256;

/// What [`Sender::send`](crate::Sender::send) returns: a future of the message's verdict.
///
/// Every message gets exactly one verdict. Dropping a receipt does not affect the message.
///
/// Cancel-safe: wait for `&mut receipt` to keep the receipt when the wait is cancelled. Once ready,
/// it stays ready.
///
/// ```
/// use countersign_core::NotHandled;
/// # use countersign_driver::Receipt;
/// # async fn example(receipt: Receipt) -> Result<(), NotHandled> {
/// receipt.await.into_result()?; // an error unless the message was handled
/// # Ok(())
/// # }
/// ```
#[must_use = "a receipt says what became of the message; drop it if that does not matter"]
#[derive(Debug)]
pub struct Receipt {
    cell: Arc<Cell>,
    sequence: Sequence,
}

/// What [`Sender::send_batch`](crate::Sender::send_batch) returns: a future of the counts of a
/// batch's verdicts.
///
/// Cancel-safe as [`Receipt`].
#[must_use = "a receipt says what became of the messages; drop it if that does not matter"]
#[derive(Debug)]
pub struct BatchReceipt {
    cell: Arc<Cell>,
}

impl Receipt {
    /// Returns the message's sequence number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Returns the verdict, if it is known.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let state = self.cell.lock();
        state.is_settled().then(|| state.single())
    }
}

impl Future for Receipt {
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        self.cell.poll(context, |state| state.single())
    }
}

impl BatchReceipt {
    /// Returns how many messages have each verdict so far.
    #[must_use]
    pub fn counts(&self) -> VerdictCounts {
        self.cell.lock().counts
    }

    /// Returns the first message so far that was not handled, and its verdict, with the peer's
    /// reason if it was rejected. Returns a superseded one only while there is no other.
    #[must_use]
    pub fn exception(&self) -> Option<(Sequence, Verdict)> {
        self.cell.lock().exception.clone()
    }
}

impl Future for BatchReceipt {
    type Output = VerdictCounts;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<VerdictCounts> {
        self.cell.poll(context, |state| state.counts)
    }
}

/// Collects the verdicts of one message or one batch.
#[derive(Debug)]
struct Cell(Mutex<CellState>);

#[derive(Debug)]
struct CellState {
    /// How many verdicts are missing.
    missing: u64,
    counts: VerdictCounts,
    /// The first message that was not handled. A superseded one counts only while there is no
    /// other.
    exception: Option<(Sequence, Verdict)>,
    waker: Option<Waker>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, CellState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll<R>(&self, context: &Context<'_>, read: impl FnOnce(&mut CellState) -> R) -> Poll<R> {
        let mut state = self.lock();
        if state.is_settled() {
            return Poll::Ready(read(&mut state));
        }
        // Dropping the old waker may drop its task, and with it a receipt or the last handle of the
        // link: not under the lock.
        let old = state.waker.replace(context.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl CellState {
    fn is_settled(&self) -> bool {
        self.missing == 0
    }

    fn single(&self) -> Verdict {
        match &self.exception {
            Some((_, verdict)) => verdict.clone(),
            None => Verdict::HANDLED,
        }
    }

    /// Counts a verdict other than `Handled` without a reply.
    fn record_exception(&mut self, sequence: Sequence, verdict: Verdict) {
        self.missing -= 1;
        self.counts[verdict.kind()] += 1;
        let rank = |sequence: Sequence, verdict: &Verdict| {
            let is_failure = !matches!(
                verdict.kind(),
                VerdictKind::Handled | VerdictKind::Superseded
            );
            (!is_failure, sequence)
        };
        let known = self.exception.as_ref();
        if known.is_none_or(|(at, known)| rank(sequence, &verdict) < rank(*at, known)) {
            self.exception = Some((sequence, verdict));
        }
    }

    /// Takes the waker if the last verdict has arrived.
    fn settled(&mut self) -> Option<Waker> {
        if self.is_settled() {
            self.waker.take()
        } else {
            None
        }
    }
}

/// The receipts of one channel whose verdicts are missing, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    outstanding: VecDeque<Outstanding>,
    /// How many of those are complete and not removed yet.
    complete: usize,
}

/// Messages with consecutive numbers and one receipt.
#[derive(Debug)]
struct Outstanding {
    first: Sequence,
    last: Sequence,
    /// How many of them have no verdict.
    missing: u64,
    /// `None` once all have one.
    cell: Option<Arc<Cell>>,
}

impl Outstanding {
    /// Counts this many of them as handled.
    fn handle(&mut self, count: u64, wakers: &mut ToWake) {
        let Some(cell) = &self.cell else {
            return;
        };
        let mut state = cell.lock();
        state.missing -= count;
        state.counts[VerdictKind::Handled] += count;
        wakers.extend(state.settled());
        drop(state);
        self.missing -= count;
        if self.missing == 0 {
            self.cell = None;
        }
    }
}

/// A batch that is still being sent: its receipt cannot be ready before it is complete.
#[derive(Debug)]
pub(crate) struct OpenBatch(Arc<Cell>);

impl OpenBatch {
    pub(crate) fn new() -> Self {
        // One more than the messages, until the batch is complete.
        Self(new_cell(1))
    }

    /// Completes the batch once everything was sent.
    pub(crate) fn complete(self) -> BatchReceipt {
        self.0.lock().missing -= 1;
        BatchReceipt { cell: self.0 }
    }
}

/// Collects the verdicts of the messages of a sink.
#[derive(Debug)]
pub(crate) struct Tally(Arc<Cell>);

impl Tally {
    pub(crate) fn new() -> Self {
        Self(new_cell(0))
    }

    /// Returns `Ready` when no verdict is missing, with the first message that was neither handled
    /// nor superseded since this was last ready.
    pub(crate) fn poll_settled(&self, context: &Context<'_>) -> Poll<Option<(Sequence, Verdict)>> {
        let exception = self.0.poll(context, |state| state.exception.take());
        let is_failure =
            |verdict: &Verdict| *verdict != Verdict::Superseded && !verdict.is_handled();
        exception.map(|first| first.filter(|(_, verdict)| is_failure(verdict)))
    }
}

impl Receipts {
    /// Returns an upper bound of the memory used with this many messages without a verdict, in
    /// bytes: a cell for each, and a list that grows by doubling, a quarter of which may be
    /// complete.
    pub(crate) const fn memory_bound(messages: usize) -> usize {
        let cell = size_of::<Cell>() + 2 * size_of::<usize>();
        let place = 4 * size_of::<Outstanding>();
        (cell + place).saturating_mul(messages)
    }

    /// Makes the receipt of one message that was just accepted.
    pub(crate) fn single(&mut self, sequence: Sequence) -> Receipt {
        let cell = new_cell(0);
        self.add(&cell, sequence, 1);
        Receipt { cell, sequence }
    }

    /// Adds messages that were just accepted to a batch.
    pub(crate) fn extend(&mut self, batch: &OpenBatch, first: Sequence, count: u64) {
        if count > 0 {
            self.add(&batch.0, first, count);
        }
    }

    /// Adds a message that was just accepted to a sink's tally.
    pub(crate) fn count(&mut self, tally: &Tally, sequence: Sequence) {
        self.add(&tally.0, sequence, 1);
    }

    fn add(&mut self, cell: &Arc<Cell>, first: Sequence, count: u64) {
        cell.lock().missing += count;
        let last = first + count - 1;
        self.outstanding.push_back(Outstanding {
            first,
            last,
            missing: count,
            cell: Some(cell.clone()),
        });
    }

    /// Records a verdict other than `Handled` without a reply.
    pub(crate) fn settle(&mut self, sequence: Sequence, verdict: Verdict, wakers: &mut ToWake) {
        let at = self
            .outstanding
            .partition_point(|outstanding| outstanding.last < sequence);
        let found = self.outstanding.get_mut(at);
        let Some(outstanding) = found.filter(|found| found.first <= sequence) else {
            return;
        };
        let Some(cell) = &outstanding.cell else {
            return;
        };
        outstanding.missing -= 1;
        let mut state = cell.lock();
        state.record_exception(sequence, verdict);
        wakers.extend(state.settled());
        drop(state);
        if outstanding.missing == 0 {
            outstanding.cell = None;
            self.complete += 1;
            self.sweep();
        }
    }

    /// Records that all messages up to `last` whose verdicts are missing were handled, or the first
    /// `count` of them where there are more.
    pub(crate) fn handled(&mut self, last: Sequence, mut count: u64, wakers: &mut ToWake) {
        let is_due = |first: &Outstanding| first.last <= last;
        while self.outstanding.front().is_some_and(is_due) {
            let Some(mut first) = self.outstanding.pop_front() else {
                break;
            };
            self.complete -= usize::from(first.cell.is_none());
            count -= first.missing;
            first.handle(first.missing, wakers);
        }
        // The rest are the first messages of a batch whose others are not handled yet.
        if count > 0
            && let Some(first) = self.outstanding.front_mut()
        {
            first.handle(count, wakers);
            self.complete += usize::from(first.cell.is_none());
        }
        self.sweep();
    }

    /// Removes the complete entries, once they are a quarter: removing each one from the middle
    /// would cost more the longer the list is, and the peer controls the order of verdicts.
    fn sweep(&mut self) {
        if self.complete > self.outstanding.len() / 4 {
            self.outstanding.retain(|one| one.cell.is_some());
            self.complete = 0;
        }
        // Growing again costs little compared with sending that many messages.
        if self.outstanding.is_empty() && self.outstanding.capacity() > KEPT_CAPACITY {
            self.outstanding = VecDeque::new();
        }
    }

    /// Settles the rest after the link has ended: all verdicts other than `Handled` were reported,
    /// so the missing ones were handled.
    pub(crate) fn end(&mut self, wakers: &mut ToWake) {
        let missing = self.outstanding.iter().map(|one| one.missing).sum::<u64>();
        self.handled(Sequence::MAX, missing, wakers);
    }
}

fn new_cell(missing: u64) -> Arc<Cell> {
    let counts = VerdictCounts::default();
    Arc::new(Cell(Mutex::new(CellState {
        missing,
        counts,
        exception: None,
        waker: None,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_was_busy_keeps_little_room() {
        let mut receipts = Receipts::default();
        for last in [100 * KEPT_CAPACITY as u64, 10] {
            for sequence in 1..=last {
                drop(receipts.single(sequence));
            }
            receipts.handled(last - 1, last - 1, &mut ToWake::default());
            assert_eq!(receipts.outstanding.len(), 1);
            receipts.handled(last, 1, &mut ToWake::default());
            assert!(
                receipts.outstanding.capacity() <= KEPT_CAPACITY,
                "{}",
                receipts.outstanding.capacity()
            );
        }
        assert!(
            receipts.outstanding.capacity() > 0,
            "a few cost no new room each time"
        );
    }

    #[test]
    fn the_verdicts_of_a_batch_come_in_any_parts_and_order() {
        // The first of three was handled, and the others were not.
        for acked_at in 0..3 {
            let mut receipts = Receipts::default();
            let batch = OpenBatch::new();
            receipts.extend(&batch, 1, 3);
            let receipt = batch.complete();
            for at in 0..3 {
                match at == acked_at {
                    true => receipts.handled(1, 1, &mut ToWake::default()),
                    false => {
                        let sequence = if at < acked_at { 2 + at } else { 1 + at };
                        receipts.settle(sequence, Verdict::Expired, &mut ToWake::default());
                    }
                }
            }
            let state = receipt.cell.lock();
            assert!(state.is_settled(), "{acked_at}");
            assert_eq!(state.counts.to_string(), "1 handled, 2 expired");
            assert!(receipts.outstanding.is_empty());
            assert_eq!(receipts.complete, 0);
        }
    }

    #[test]
    fn verdicts_in_any_order_leave_little_behind() {
        const MANY: u64 = 1000;
        let mut receipts = Receipts::default();
        let made: Vec<_> = (1..=MANY)
            .map(|sequence| receipts.single(sequence))
            .collect();
        // From the middle outwards, and some not at all.
        let inner = (1..MANY / 2).flat_map(|away| [MANY / 2 - away, MANY / 2 + away]);
        let settled: Vec<_> = inner.filter(|sequence| sequence % 10 != 0).collect();
        for (count, sequence) in (1..).zip(&settled) {
            receipts.settle(*sequence, Verdict::Expired, &mut ToWake::default());
            let missing = MANY as usize - count;
            assert!(receipts.outstanding.len() <= missing + missing / 3 + 1);
        }
        let handled = MANY - settled.len() as u64;
        receipts.handled(MANY, handled, &mut ToWake::default());
        assert!(receipts.outstanding.is_empty());
        assert_eq!(receipts.complete, 0);
        for receipt in &made {
            let state = receipt.cell.lock();
            let expired = settled.contains(&receipt.sequence);
            let expected = if expired {
                Verdict::Expired
            } else {
                Verdict::HANDLED
            };
            assert!(state.is_settled());
            assert_eq!(state.single(), expected, "{}", receipt.sequence);
        }
    }
}
