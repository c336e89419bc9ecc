//! What an end of the demo records: the messages it sent, their verdicts, and those it received.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use countersign::{Report, VerdictKind};

use super::backend::Backend;
use super::check::{Hash, Received};
use super::motors::Run;

/// Everything that one end sent and received.
pub(super) struct Traffic {
    /// In the order of sending.
    pub(super) sent: Vec<Sent>,
    /// In the order of receiving.
    pub(super) received: Vec<Received>,
    /// The robot's motors.
    pub(super) runs: Vec<Run>,
    /// The link's report.
    pub(super) report: Report,
}

impl Traffic {
    /// Returns how many messages were sent again after a cut.
    pub(super) fn replayed(&self) -> u64 {
        let channels = self.report.channels.iter();
        channels.map(|channel| channel.replayed).sum()
    }
}

/// A message and its verdict.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) hash: Hash,
    pub(super) bytes: usize,
    pub(super) verdict: VerdictKind,
    /// When it was handed to the link.
    pub(super) at: Instant,
    /// The time from then to the verdict.
    pub(super) took: Duration,
}

/// A message that waits for its verdict.
pub(super) struct Waiting<R> {
    pub(super) hash: Hash,
    pub(super) bytes: usize,
    pub(super) at: Instant,
    pub(super) receipt: R,
}

/// Waits for the verdicts of all messages that come, in the order of sending. Messages are handled
/// in that order, so the measured times are not too long.
pub(super) fn collect<B: Backend>(
    backend: &B,
    waiting: Receiver<Waiting<B::Receipt>>,
    mut each: impl FnMut(),
) -> Vec<Sent> {
    let mut sent = Vec::new();
    for message in waiting {
        let verdict = backend.wait(message.receipt).kind();
        sent.push(Sent {
            hash: message.hash,
            bytes: message.bytes,
            verdict,
            at: message.at,
            took: message.at.elapsed(),
        });
        each();
    }
    sent
}
