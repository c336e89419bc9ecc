//! Hostile bytes for every part of countersign that reads what others wrote.
//!
//! Each target is a function that takes any bytes and panics where a promise does not hold. The
//! fuzzer looks for such bytes (`fuzz/run`); what it has found worth keeping is in `corpus`, and
//! `cargo test` tries all of that again, without the fuzzer. `docs/verification.md` has what each
//! target promises and for how long it has been tried.

#![forbid(unsafe_code)]

pub mod capture;
pub mod cases;
pub mod endpoint_open;
pub mod endpoint_raw;
pub mod frames;
pub mod greeting;
pub mod input;
pub mod link;
pub mod memory;
pub mod pem;
pub mod session;
pub mod split;
pub mod stream;
mod subject;
mod tls;

/// The reference model of `core/tests`, and how it names itself.
#[path = "../../core/tests/it/lasting/mod.rs"]
mod lasting;

use std::path::PathBuf;

/// What tries one input.
pub type Check = fn(&[u8]);

/// Every target: its name, which is that of its program and its corpus, and its check.
pub const TARGETS: &[(&str, Check)] = &[
    ("capture", capture::check),
    ("endpoint_open", endpoint_open::check),
    ("endpoint_raw", endpoint_raw::check),
    ("frames", frames::check),
    ("greeting", greeting::check),
    ("lasting", cases::lasting::check),
    ("link", link::check),
    ("pem", pem::check),
    ("session", session::check),
    ("split", split::check),
    ("stream", stream::check),
];

/// Tries the files that the command line names: what a target's program does without the fuzzer.
///
/// # Panics
///
/// Where a promise does not hold, or where a file can't be read.
pub fn replay(check: Check) {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let input = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        check(&input);
        println!("{}: well", path.display());
    }
}

/// The program of a target: the fuzzer around its check, or [`replay`] where it was built without.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $check(input));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::replay($check);
        }
    };
}
