//! The receiving half when its connection is lost and the next one comes.

use super::{ReceiveHalf, TakenMessage, TakenState};
use crate::{Sequence, SessionLoss};

impl ReceiveHalf {
    /// Returns the number up to which everything is settled.
    pub(crate) fn settled(&self) -> Sequence {
        self.settled
    }

    /// Returns the number up to which everything has arrived whole or was skipped.
    pub(crate) fn received(&self) -> Sequence {
        self.received
    }

    /// Returns how many bytes have arrived of the message after those.
    pub(crate) fn partial(&self) -> u64 {
        let arrived = self.assembly.as_ref().map(|assembly| assembly.data.len());
        arrived.unwrap_or(0) as u64
    }

    /// Handles the end of the connection: a frame that it cut counts as far as it arrived.
    pub(crate) fn connection_lost(&mut self) {
        if let Some(assembly) = &mut self.assembly {
            self.held_bytes -= assembly.frame_left;
            assembly.frame_left = 0;
            assembly.last = false;
            if assembly.data.is_empty() {
                self.assembly = None;
                self.arriving = None;
            }
        }
        self.ack_due = false;
        self.ack_at = None;
        // Nothing pings while there is no connection.
        self.spare.release_memory();
    }

    /// Records that a greeting was written, which says what is settled.
    pub(crate) fn greeting_written(&mut self) {
        self.ack_written();
    }

    /// Resumes on a new connection, on which every answer that the sender has not noted is sent again.
    pub(crate) fn resume(&mut self) {
        self.to_answer.clear();
        for taken in &mut self.taken {
            if let TakenState::Answered { sent, .. } = &mut taken.state {
                *sent = false;
                self.to_answer.push_back(taken.sequence);
            }
        }
    }

    /// Ends the session and begins a new, empty one. What has arrived whole can still be taken, up
    /// to a window's worth, followed by the border if there is one to report. What has arrived in
    /// part is dropped.
    pub(crate) fn start_over(&mut self, border: Option<SessionLoss>) {
        let (base, received) = (self.base, self.received);
        let (count, bytes) = (self.window_messages, self.window_bytes);
        while let Some((sequence, payload)) = self.queue.pop() {
            let left = TakenMessage {
                timing: self.leave_timed(sequence),
                sequence: base.saturating_add(sequence),
                payload,
            };
            self.left_over.add(left, count, bytes);
        }
        self.takes_slowly = !self.left_over.is_empty();
        if let Some(why) = border.filter(|_| !self.abandoned) {
            self.left_over.end_session(why);
            self.takes_slowly = true;
            self.readable_pending = true;
        }
        // Only a peer that skips enormous ranges makes this saturate.
        self.base = base.saturating_add(received);
        self.received = 0;
        self.settled = 0;
        self.acked = 0;
        self.last = None;
        self.taken.clear();
        self.to_answer.clear();
        self.assembly = None;
        self.arriving = None;
        self.held_bytes = 0;
        self.unacked_bytes = 0;
        self.ack_due = false;
        self.ack_at = None;
    }

    /// Ends the half with its link: the lease lapses, and nothing more arrives.
    pub(crate) fn end(&mut self) {
        self.end_lease();
        self.spare.release_memory();
    }

    /// Ends the session as the last: what has arrived whole can still be taken, and what still
    /// arrives is rejected.
    pub(crate) fn end_stream(&mut self) {
        self.start_over(None);
        self.abandoned = true;
    }
}
