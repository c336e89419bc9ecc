//! `Debug` of types with payloads: how long they are, and nothing else.
//!
//! `Debug` output ends up in logs, where the contents of messages do not belong.

use core::fmt;

/// A number of bytes that are not shown.
pub(crate) struct Redacted(pub(crate) usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
