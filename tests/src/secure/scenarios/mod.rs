//! The scenarios of secure streams, each written once for all backends.

mod bytes;
mod ends;
mod trust;

use std::io;

use countersign_endpoint::{Reason, SecurityError};

use super::Pair;
use crate::{Transport, suite};

/// A scenario of secure streams.
pub type Scenario = suite::Scenario<Pair, Transport>;

/// Where scenarios run that do not care about security,
static SECURED_OR_PLAIN: &[Transport] = &[Transport::Tls, Transport::Plain];
/// and those that are about it.
static SECURED: &[Transport] = &[Transport::Tls];

static MODULES: &[&[Scenario]] = &[bytes::SCENARIOS, ends::SCENARIOS, trust::SCENARIOS];

/// Returns every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    MODULES.iter().copied().flatten()
}

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
