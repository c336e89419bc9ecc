//! Messages left over from sessions that are over. They are taken before those of the current
//! session.

use alloc::collections::VecDeque;

use super::TakenMessage;
use crate::ReceiveError;
use crate::error::SessionLoss;

/// A message that arrived whole in a session that is over, and the border after it if it was the
/// last one of its session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Left {
    message: TakenMessage,
    border: Option<SessionLoss>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct LeftOver {
    /// The border before everything else.
    border: Option<SessionLoss>,
    messages: VecDeque<Left>,
    bytes: usize,
    /// Whether something was dropped for want of room.
    is_cut_short: bool,
}

impl LeftOver {
    pub(super) fn is_empty(&self) -> bool {
        self.border.is_none() && self.messages.is_empty()
    }

    /// Returns how many messages are left.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Returns how many bytes of payload these have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a message, if there is room within `count` messages of `bytes` bytes altogether.
    pub(super) fn add(&mut self, message: TakenMessage, count: usize, bytes: usize) {
        let held = self.bytes + message.payload.len();
        // What is left of two lost sessions may exceed a window. The sender knows only that a
        // dropped message may or may not have been handled, and the beginning is worth more than a
        // part with a gap.
        if self.is_cut_short || self.messages.len() >= count || held > bytes {
            self.is_cut_short = true;
            return;
        }
        self.bytes = held;
        let border = None;
        self.messages.push_back(Left { message, border });
    }

    /// Puts the end of a session after what there is. Of borders with nothing between them the
    /// newer stays, so that their number is bounded.
    pub(super) fn end_session(&mut self, why: SessionLoss) {
        let border = match self.messages.back_mut() {
            Some(last) => &mut last.border,
            None => &mut self.border,
        };
        *border = Some(why);
    }

    /// Returns the message that is taken next, if it is one.
    pub(super) fn first(&self) -> Option<&TakenMessage> {
        let first = self.messages.front().filter(|_| self.border.is_none())?;
        Some(&first.message)
    }

    /// Returns the border, if it comes next.
    pub(super) fn border(&self) -> Option<SessionLoss> {
        self.border
    }

    /// Takes what comes next: a message, or a border as an error.
    pub(super) fn take(&mut self) -> Result<Option<TakenMessage>, ReceiveError> {
        if let Some(why) = self.border.take() {
            return Err(ReceiveError::SessionBorder(why));
        }
        let Some(left) = self.messages.pop_front() else {
            return Ok(None);
        };
        self.bytes -= left.message.payload.len();
        self.is_cut_short &= !self.messages.is_empty();
        self.border = left.border;
        Ok(Some(left.message))
    }
}
