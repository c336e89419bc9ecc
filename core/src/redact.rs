//! `Debug` of types with payloads: how long they are, and nothing else. `Debug` output ends up in
//! logs, where the contents of messages do not belong.
//!
//! `Debug` of errors that programs return: their text, since `main` prints them with `Debug`.

use core::fmt;

/// A number of bytes that are not shown.
pub(crate) struct Redacted(pub(crate) usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// Implements `Debug` of errors by their `Display`. For the crates of this workspace.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_as_display {
    ($($error:ty),+) => {
        $(
            impl ::core::fmt::Debug for $error {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    ::core::fmt::Display::fmt(self, f)
                }
            }
        )+
    };
}
