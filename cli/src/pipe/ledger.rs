//! The receipts that wait for their verdicts.

use std::collections::VecDeque;

use countersign::{BatchReceipt, Receipt, Rejection, Verdict};

/// Receipts in the order of their messages, and how much was sent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: VecDeque<Entry>,
    /// Messages that the link accepted.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The first rejection: why the peer refused a message.
    pub(super) rejection: Option<Rejection>,
}

#[derive(Debug)]
enum Entry {
    One(Receipt),
    Many { receipt: BatchReceipt, count: u64 },
}

impl Entry {
    fn is_settled(&self) -> bool {
        match self {
            Self::One(receipt) => receipt.verdict().is_some(),
            Self::Many { receipt, count } => receipt.counts().total() == *count,
        }
    }

    /// Returns why the peer refused a message, if it did.
    fn rejection(&self) -> Option<Rejection> {
        let verdict = match self {
            Self::One(receipt) => receipt.verdict(),
            Self::Many { receipt, .. } => receipt.exception().map(|(_, verdict)| verdict),
        };
        match verdict {
            Some(Verdict::Rejected(rejection)) => Some(rejection),
            _ => None,
        }
    }
}

impl Ledger {
    /// Adds the receipt of one message.
    pub(super) fn add(&mut self, receipt: Receipt) {
        self.push(Entry::One(receipt));
    }

    /// Adds the receipt of `count` messages that were accepted together.
    pub(super) fn add_batch(&mut self, receipt: BatchReceipt, count: u64) {
        self.push(Entry::Many { receipt, count });
    }

    fn push(&mut self, entry: Entry) {
        // Verdicts come in order, so this keeps no more than the link itself does.
        self.sweep();
        self.waiting.push_back(entry);
    }

    /// Removes the settled receipts at the front.
    fn sweep(&mut self) {
        while self.waiting.front().is_some_and(Entry::is_settled) {
            let settled = self.waiting.pop_front();
            settled.iter().for_each(|entry| self.note(entry));
        }
    }

    fn note(&mut self, settled: &Entry) {
        if self.rejection.is_none() {
            self.rejection = settled.rejection();
        }
    }

    /// Counts accepted messages and their bytes.
    pub(super) fn count(&mut self, messages: usize, bytes: usize) {
        self.messages += messages as u64;
        self.bytes += bytes as u64;
    }

    /// Waits until every message has its verdict, however long the peer takes.
    pub(super) async fn settle(&mut self) {
        while let Some(entry) = self.waiting.front_mut() {
            match entry {
                Entry::One(receipt) => drop(receipt.await),
                Entry::Many { receipt, .. } => drop(receipt.await),
            }
            self.sweep();
        }
    }

    /// Notes the verdicts that exist once the link has ended.
    pub(super) fn conclude(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            self.note(&entry);
        }
    }
}
