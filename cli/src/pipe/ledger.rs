//! The receipts that wait for their verdicts.

use std::collections::VecDeque;

use countersign_tokio::{BatchReceipt, Receipt};

/// Receipts in the order of their messages, and how much was sent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: VecDeque<Entry>,
    /// Messages that the link accepted.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
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
}

impl Ledger {
    /// One message was accepted.
    pub(super) fn add(&mut self, receipt: Receipt) {
        self.push(Entry::One(receipt));
    }

    /// That many messages were accepted together.
    pub(super) fn add_batch(&mut self, receipt: BatchReceipt, count: u64) {
        self.push(Entry::Many { receipt, count });
    }

    fn push(&mut self, entry: Entry) {
        // Verdicts come about in order, so this keeps no more than the link itself does.
        while self.waiting.front().is_some_and(Entry::is_settled) {
            self.waiting.pop_front();
        }
        self.waiting.push_back(entry);
    }

    /// Counts what was accepted.
    pub(super) fn count(&mut self, messages: usize, bytes: usize) {
        self.messages += messages as u64;
        self.bytes += bytes as u64;
    }

    /// Waits until every message has its verdict, however long the peer takes.
    pub(super) async fn settle(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            match entry {
                Entry::One(receipt) => drop(receipt.await),
                Entry::Many { receipt, .. } => drop(receipt.await),
            }
        }
    }
}
