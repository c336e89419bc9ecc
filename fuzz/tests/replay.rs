//! Tries everything again that the fuzzer has found worth keeping.

#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::collections::BTreeSet;
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use corpus::{files, here, inputs};
use countersign_fuzz::TARGETS;

/// Memory is counted for the whole program, so targets take turns.
static TURN: Mutex<()> = Mutex::new(());

fn replay(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, check) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    for (alone, input) in inputs(name) {
        if let Err(failure) = catch_unwind(|| check(&input)) {
            println!("This input alone: {alone}");
            resume_unwind(failure);
        }
    }
}

/// The names of a directory's files, without their endings.
fn stems(directory: &str) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files(&here(directory)).into_iter().map(stem).collect()
}

macro_rules! replays {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { replay(stringify!($name)); })+

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),+];
            assert_eq!(TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), replayed);
            let names = BTreeSet::from(replayed.map(String::from));
            assert_eq!(stems("fuzz_targets"), names);
            assert_eq!(stems("corpus"), names);
        }
    };
}

replays!(
    capture,
    endpoint_open,
    endpoint_raw,
    frames,
    greeting,
    lasting,
    link,
    pem,
    session,
    split,
    stream
);
