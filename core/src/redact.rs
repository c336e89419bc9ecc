//! Payloads in `Debug`: how long they are, and nothing else.
//!
//! What is formatted ends in logs, and what is in messages is nobody's business there.

use core::fmt;

use crate::{Link, Message, NotSent};

/// So many bytes that are not shown.
pub(crate) struct Redacted(pub(crate) usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sequence", &self.sequence)
            .field("payload", &Redacted(self.payload.len()))
            .finish()
    }
}

impl fmt::Debug for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotSent")
            .field("message", &Redacted(self.message.len()))
            .field("why", &self.why)
            .finish()
    }
}

impl fmt::Debug for Link {
    /// Where it stands. Without messages, session ids and what they are drawn from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.role())
            .field("state", &self.state())
            .field("end_reason", &self.end_reason())
            .field("last_loss", &self.last_loss())
            .field("peer", &self.peer())
            .field("connection", &self.connection())
            .field("channels", &self.report())
            .finish_non_exhaustive()
    }
}
