//! Mistakes that the project's tests plant, to check that they are found.

use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake in waking tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mistake {
    /// None.
    None,
    /// The driver sleeps without checking whether there is something to do by now.
    SleepsBlindly,
    /// A waiting future checks the state first, and registers its waker afterwards.
    LooksFirst,
}

static PLANTED: AtomicU8 = AtomicU8::new(Mistake::None as u8);

/// Plants a mistake in everything that runs from now on.
pub fn plant(mistake: Mistake) {
    PLANTED.store(mistake as u8, Ordering::Relaxed);
}

pub(crate) fn is(mistake: Mistake) -> bool {
    PLANTED.load(Ordering::Relaxed) == mistake as u8
}
