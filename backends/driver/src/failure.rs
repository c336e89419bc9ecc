//! Why there is no connection.

use std::fmt;
use std::time::Instant as StdInstant;

use countersign_core::Instant;

use crate::clock::Clock;
use crate::error::LinkError;

/// Why there is no connection: a failed attempt, or the loss before the first attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// How many failed attempts the link has had, including this one. A number is skipped if the
    /// next attempt failed before it was reported.
    pub number: u64,
    /// Why the attempt failed.
    pub error: LinkError,
    /// When the next attempt begins; `None` if this end does not connect.
    pub next: Option<StdInstant>,
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// A [`FailedAttempt`] by the core's clock.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) number: u64,
    pub(crate) error: LinkError,
    pub(crate) next: Option<Instant>,
}

impl Failure {
    pub(crate) fn to_attempt(&self, clock: &Clock) -> FailedAttempt {
        FailedAttempt {
            number: self.number,
            error: self.error.clone(),
            next: self.next.and_then(|next| clock.to_timers(next)),
        }
    }
}
