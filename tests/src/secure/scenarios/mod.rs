//! The scenarios of secure streams, each written once for all backends.

mod bytes;
mod ends;
mod trust;

use std::io;

use countersign_endpoint::{Reason, SecurityError};

pub use bytes::*;
pub use ends::*;
pub use trust::*;

/// What the security layer says inside of an error.
fn security(error: &io::Error) -> &SecurityError {
    let inner = error
        .get_ref()
        .and_then(<dyn std::error::Error + Send + Sync>::downcast_ref);
    inner.unwrap_or_else(|| panic!("no word of the security layer: {error:?}"))
}

/// The same, as programs see it.
fn reason(error: &io::Error) -> &Reason {
    security(error).reason()
}
