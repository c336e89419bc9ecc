//! An observer of a link that formats everything it gets.

use countersign_core::{Call, Instant, Observe, Outcome};

use super::PAYLOAD_SHOWN;

/// How many calls are without their outcome.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// The time of the last call.
    now: Instant,
    /// The last call may still have an outcome.
    open: bool,
}

impl Observe for Listener {
    fn id(&self) -> u64 {
        1
    }

    fn call(&mut self, now: Instant, call: &Call<'_>) {
        assert!(now >= self.now, "time runs backwards");
        (self.now, self.open) = (now, true);
        let words = format!("{call:?}");
        assert!(!words.is_empty() && !words.contains(PAYLOAD_SHOWN));
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        assert!(self.open, "an outcome of nothing");
        self.open = false;
        let words = format!("{outcome:?}");
        assert!(!words.is_empty() && !words.contains(PAYLOAD_SHOWN));
    }
}
