//! How much memory links, drivers and listeners take, as the allocator counts it for the whole
//! program: so its tests take turns.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use peak_alloc::PeakAlloc;

mod bounds;
mod bounds_rejected;
mod floods;
mod greed;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs a test while no other one counts, in a thread that is gone with all that it kept before the
/// next has its turn. A test that has failed is no reason not to count.
fn in_turn(test: fn()) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(panic) = thread::spawn(test).join() {
        resume_unwind(panic);
    }
}
