//! How verdicts reach the receipts that wait for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use countersign_core::{Sequence, Verdict, VerdictCounts};

/// The verdicts of one message or one batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell(Arc<Mutex<CellState>>);

#[derive(Debug, Default)]
pub(super) struct CellState {
    missing: u64,
    pub(super) counts: VerdictCounts,
    /// The last verdict other than `Handled` without a reply.
    exception: Option<Verdict>,
}

impl Cell {
    pub(super) fn lock(&self) -> MutexGuard<'_, CellState> {
        self.0.lock().unwrap()
    }

    fn settle(&self, verdict: Verdict) {
        let mut state = self.lock();
        state.missing -= 1;
        state.counts[verdict.kind()] += 1;
        if verdict != Verdict::HANDLED {
            state.exception = Some(verdict);
        }
    }
}

impl CellState {
    pub(super) fn is_settled(&self) -> bool {
        self.missing == 0
    }

    /// One message's verdict.
    pub(super) fn single(&self) -> Option<Verdict> {
        let settled = self.is_settled();
        settled.then(|| self.exception.clone().unwrap_or(Verdict::HANDLED))
    }
}

/// The messages of a channel whose verdicts are missing.
#[derive(Debug, Default)]
pub(super) struct Receipts(BTreeMap<Sequence, Cell>);

impl Receipts {
    pub(super) fn add(&mut self, sequence: Sequence, cell: &Cell) {
        cell.lock().missing += 1;
        self.0.insert(sequence, cell.clone());
    }

    /// A verdict other than `Handled` without a reply.
    pub(super) fn settle(&mut self, sequence: Sequence, verdict: Verdict) {
        if let Some(cell) = self.0.remove(&sequence) {
            cell.settle(verdict);
        }
    }

    /// All up to this number whose verdicts are missing were handled.
    pub(super) fn handled(&mut self, last: Sequence) {
        let later = self.0.split_off(&(last + 1));
        let handled = std::mem::replace(&mut self.0, later);
        handled
            .into_values()
            .for_each(|cell| cell.settle(Verdict::HANDLED));
    }

    /// The link has ended, and every other verdict was given.
    pub(super) fn end(&mut self) {
        self.handled(Sequence::MAX - 1);
    }
}
