//! What becomes of a receiving half when its connection is lost and another comes.

use bytes::Bytes;

use super::{ReceiveHalf, TakenState};
use crate::{ReceiveError, Sequence, SessionLoss};

impl ReceiveHalf {
    /// Everything up to this number is settled.
    pub(crate) fn settled(&self) -> Sequence {
        self.settled
    }

    /// Everything up to this number has arrived whole, or was skipped.
    pub(crate) fn received(&self) -> Sequence {
        self.received
    }

    /// How many bytes have arrived of the message after those.
    pub(crate) fn partial(&self) -> u64 {
        let arrived = self.assembly.as_ref().map(|assembly| assembly.data.len());
        arrived.unwrap_or(0) as u64
    }

    /// Nothing more will come on this connection: a frame that it cut counts as far as it came.
    pub(crate) fn connection_lost(&mut self) {
        if let Some(assembly) = &mut self.assembly {
            self.held_bytes -= assembly.frame_left;
            assembly.frame_left = 0;
            assembly.last = false;
            if assembly.data.is_empty() {
                self.assembly = None;
            }
        }
        self.ack_due = false;
        self.ack_at = None;
    }

    /// The greeting has told the sender what is settled.
    pub(crate) fn greeted(&mut self) {
        self.ack_written();
    }

    /// On the new connection the sender is to hear again of every rejection that it has not noted.
    pub(crate) fn resume(&mut self) {
        self.to_reject.clear();
        for taken in &mut self.taken {
            if let TakenState::Rejected { told, .. } = &mut taken.state {
                *told = false;
                self.to_reject.push_back(taken.sequence);
            }
        }
    }

    /// The session is over, and a new one begins with nothing in it. What has arrived whole can
    /// still be taken, up to a window's worth, and behind it the border, where there is one to be
    /// told of; what has arrived in part is gone.
    pub(crate) fn start_over(&mut self, border: Option<SessionLoss>) {
        let (base, received) = (self.base, self.received);
        let (count, bytes) = (self.window_messages, self.window_bytes);
        for (sequence, message) in self.queue.drain() {
            let sequence = base.saturating_add(sequence);
            self.left_over.add(sequence, message, count, bytes);
        }
        if let Some(why) = border.filter(|_| !self.abandoned) {
            self.left_over.end_session(why);
            self.news = true;
        }
        // Only a peer that skips enormous ranges makes this stop counting.
        self.base = base.saturating_add(received);
        self.received = 0;
        self.settled = 0;
        self.acked = 0;
        self.last = None;
        self.taken.clear();
        self.to_reject.clear();
        self.assembly = None;
        self.held_bytes = 0;
        self.unacked_bytes = 0;
        self.ack_due = false;
        self.ack_at = None;
    }

    /// The session is over, and nothing of another follows what has arrived whole: what still comes
    /// is rejected.
    pub(crate) fn end_stream(&mut self) {
        self.start_over(None);
        self.abandoned = true;
    }

    #[cold]
    pub(super) fn take_left_over(&mut self) -> Result<Option<(Sequence, Bytes)>, ReceiveError> {
        let taken = self.left_over.take();
        self.delivered += u64::from(matches!(taken, Ok(Some(_))));
        taken
    }
}
