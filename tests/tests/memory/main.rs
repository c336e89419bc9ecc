//! What links, drivers and listeners take of memory, as the allocator counts it for the whole program:
//! so its tests take turns.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

mod bounds;
mod bounds_rejected;
mod floods;
mod greed;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Waits until no other test counts. A test that has failed is no reason not to count.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
