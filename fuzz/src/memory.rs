//! How much memory a call holds.

use peak_alloc::PeakAlloc;

/// All memory of the program, so that a target can bound what a call holds.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Checks that `call` never holds more than `promise` bytes at a time beyond what was held before.
///
/// The memory is that of all threads, and a test has others that say how it gets on. So a call
/// that seems to hold too much has a few more tries.
///
/// # Panics
///
/// If it holds more each time.
pub fn bounded<T>(promise: usize, call: impl Fn() -> T) -> T {
    let mut peak = 0;
    for _ in 0..5 {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = call();
        peak = MEMORY.peak_usage().saturating_sub(before);
        if peak <= promise {
            return result;
        }
    }
    panic!("{peak} bytes held, {promise} promised");
}
