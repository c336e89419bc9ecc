//! Payloads in `Debug`: how long they are, and nothing else.
//!
//! What is formatted ends in logs, and what is in messages is nobody's business there.

use core::fmt;

/// So many bytes that are not shown.
pub(crate) struct Hidden(pub(crate) usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
