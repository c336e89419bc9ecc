//! Mistakes that the project's own tests plant, to see that they are found.

use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake in who wakes whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mistake {
    /// None.
    None,
    /// The driver sleeps without looking whether there is something to do by now.
    SleepsBlindly,
    /// Who waits looks first, and leaves a waker afterwards.
    LooksFirst,
}

static PLANTED: AtomicU8 = AtomicU8::new(Mistake::None as u8);

/// Plants a mistake in everything that runs from here on.
pub fn plant(mistake: Mistake) {
    PLANTED.store(mistake as u8, Ordering::Relaxed);
}

pub(crate) fn is(mistake: Mistake) -> bool {
    PLANTED.load(Ordering::Relaxed) == mistake as u8
}
