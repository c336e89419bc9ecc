//! Runs tests that come from lists, with the arguments and the output of `cargo test`.
//!
//! They are data and not functions with `#[test]`, since there are thousands: one for each scenario
//! and pair of backends. `RUST_TEST_THREADS` and `--test-threads` say how many run side by side;
//! [`SLOWEST`] names the slowest.

use std::env;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Arguments;
pub use libtest_mimic::Trial;

use crate::backends::{BACKENDS, Couple, all_couples};
use crate::size::leaves_out;

/// The environment variable that says how many of the slowest tests are named afterwards.
pub const SLOWEST: &str = "COUNTERSIGN_SLOWEST";

/// How many tests run side by side on each core. They wait more than they work.
const TESTS_PER_CORE: usize = 8;

/// What the tests took.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// A test with a name, which it is given. It must not hang: see [`watch_as`](crate::watch_as).
#[must_use]
pub fn trial(name: String, test: impl FnOnce(&str) + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || {
        let start = Instant::now();
        test(&name);
        let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        times.push((start.elapsed(), name));
        Ok(())
    })
}

/// Runs the tests that the arguments of the program choose.
#[must_use]
pub fn run(couples: &[Couple], trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or_else(|| Some(threads()));
    if !arguments.list {
        tell(couples, trials.len());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Ok(count) = env::var(SLOWEST) {
        tell_slowest(count.parse().expect("a number of tests"));
    }
    conclusion.exit_code()
}

/// How many tests run side by side, unless the arguments say so.
fn threads() -> usize {
    if let Ok(threads) = env::var("RUST_TEST_THREADS") {
        return threads.parse().expect("a number of threads");
    }
    TESTS_PER_CORE * thread::available_parallelism().map_or(1, NonZero::get)
}

fn tell(couples: &[Couple], tests: usize) {
    println!(
        "\n{} backends, {} pairs, {tests} tests",
        BACKENDS.len(),
        couples.len()
    );
    let others = all_couples().count() - couples.len();
    if others > 0 {
        leaves_out(&format!(
            "{others} pairs of backends, and one of TLS and plain text with each of the others"
        ));
    }
    for backend in BACKENDS {
        for (scenario, why) in backend.cannot {
            println!("{} leaves out {scenario}: {why}", backend.name);
        }
        if let Err(why) = backend.streams {
            println!("{} leaves out secure streams: {why}", backend.name);
        }
    }
}

fn tell_slowest(count: usize) {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|a, b| b.cmp(a));
    for (time, name) in times.iter().take(count) {
        println!("{:>6} ms {name}", time.as_millis());
    }
}
