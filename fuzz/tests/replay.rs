//! Tries everything again that the fuzzer has found worth keeping.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign_fuzz::TARGETS;

/// Memory is counted for the whole program, so targets take turns.
static TURN: Mutex<()> = Mutex::new(());

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a directory, in order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, check) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let files = files(&here("corpus").join(name));
    assert!(files.len() >= 3, "{name} has {} inputs", files.len());
    for path in files {
        // Said when the check fails, and only then.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
    }
}

macro_rules! replays {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { replay(stringify!($name)); })+

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),+];
            assert_eq!(TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), replayed);
            let mut names = replayed.map(String::from);
            names.sort();
            let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            for directory in ["fuzz_targets", "corpus"] {
                let there: Vec<String> = files(&here(directory)).into_iter().map(stem).collect();
                assert_eq!(there, names, "{directory}");
            }
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
    pair,
    pem,
    session,
    split,
    stream
);
