//! What one link takes of the memory that the whole program takes.

use crate::MEMORY;

/// Adds up what is taken and given back while a link works, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    held: usize,
    /// The most that was ever taken at a time, in bytes.
    pub(crate) most: usize,
}

impl Meter {
    /// Lets the link work. What it takes counts; what it gives away counts until it is dropped
    /// here as well.
    pub(crate) fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = work();
        let peak = (self.held + MEMORY.peak_usage()).saturating_sub(before);
        self.most = self.most.max(peak);
        self.held = (self.held + MEMORY.current_usage()).saturating_sub(before);
        result
    }
}
