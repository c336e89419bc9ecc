//! Answers to messages that have content: rejections and replies. Each is kept until its sender has
//! noted it (`docs/protocol.md`, Settling).

use alloc::boxed::Box;
use alloc::string::ToString;

use super::{ReceiveHalf, Taken, TakenState};
use crate::verdict::{MAX_REASON, Rejection};
use crate::wire;
use crate::{Instant, PeerMisbehaved, ReceiveError, Sequence};

/// What becomes of a message, where that has content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Answer {
    Rejected(Rejection),
    Replied(Box<[u8]>),
}

impl TakenState {
    /// Returns the state of a message whose VERDICT has to be sent.
    pub(super) fn answered(answer: Answer) -> Self {
        let sent = false;
        Self::Answered { answer, sent }
    }
}

impl ReceiveHalf {
    // From the peer.

    /// Handles a NOTED: the sender knows of an answer.
    pub(crate) fn noted(&mut self, now: Instant, sequence: Sequence) -> Result<(), PeerMisbehaved> {
        let taken = self
            .find_taken(sequence)
            .filter(|taken| matches!(taken.state, TakenState::Answered { sent: true, .. }))
            .ok_or(PeerMisbehaved::NothingToSettle)?;
        taken.state = TakenState::Noted;
        self.advance(now);
        Ok(())
    }

    // Commands.

    /// Marks a message as handled, with a reply.
    pub(crate) fn reply(&mut self, sequence: Sequence, reply: &[u8]) -> Result<(), ReceiveError> {
        // Whether it waits is the first question: what the reply would be is the second.
        self.waiting_mut(sequence)?;
        let limit = self.max_reply;
        if reply.len() > limit {
            return Err(ReceiveError::ReplyTooLong { limit });
        }
        self.answer(sequence, Answer::Replied(reply.into()))
    }

    /// Rejects a message, or marks it as handled with a reply.
    pub(crate) fn answer(
        &mut self,
        sequence: Sequence,
        answer: Answer,
    ) -> Result<(), ReceiveError> {
        let length = self.waiting_mut(sequence).map(|taken| {
            taken.state = TakenState::answered(answer);
            taken.length
        })?;
        self.held_bytes -= length;
        self.to_answer.push_back(sequence.saturating_sub(self.base));
        Ok(())
    }

    /// Settles a message that the application never takes.
    pub(super) fn answer_untaken(&mut self, sequence: Sequence, length: usize, answer: Answer) {
        let state = TakenState::answered(answer);
        self.taken.push_back(Taken {
            sequence,
            length,
            state,
        });
        self.held_bytes -= length;
        self.to_answer.push_back(sequence);
    }

    /// Returns a rejection with the application's code and reason, cut to what the wire carries.
    pub(crate) fn rejection(code: u32, reason: &str) -> Rejection {
        let reason = wire::cut(reason, MAX_REASON).to_string();
        Rejection { code, reason }
    }

    // To the wire.

    /// Returns the next answer to write, and its message.
    pub(crate) fn next_answer(&self) -> Option<(Sequence, &Answer)> {
        let sequence = *self.to_answer.front()?;
        let at = self
            .taken
            .binary_search_by_key(&sequence, |taken| taken.sequence)
            .ok()?;
        match &self.taken.get(at)?.state {
            TakenState::Answered { answer, .. } => Some((sequence, answer)),
            _ => None,
        }
    }

    /// Records that the next answer was written.
    pub(crate) fn answer_written(&mut self) {
        let written = self.to_answer.pop_front();
        let taken = written.and_then(|sequence| self.find_taken(sequence));
        if let Some(TakenState::Answered { sent, .. }) = taken.map(|taken| &mut taken.state) {
            *sent = true;
        }
    }
}
