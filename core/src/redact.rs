//! `Debug` of types with payloads: how long they are, and nothing else.
//!
//! `Debug` output ends up in logs, where the contents of messages do not belong.

use core::fmt;

use crate::{Link, Message, NotSent};

/// A number of bytes that are not shown.
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
    /// Writes the state without messages, session ids and the seed.
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
