//! A corpus that finds nothing proves little unless it would have found something.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use countersign_core::Planted;
use countersign_fuzz::cases::lasting::check_with;

#[test]
fn the_corpus_finds_mistakes_about_sessions() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/lasting");
    let inputs: Vec<Vec<u8>> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    // What is found panics, which is of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    // A HELLO that is held up until its opener is back on a newer connection (`FollowsLateHello`)
    // does not come up here, nor does one from before the session that it ends
    // (`EndsForLateHello`): the searches of `tests/tests/model.rs` have both.
    let mistakes = [
        Planted::NoFence,
        Planted::ReplayLast,
        Planted::NoReplay,
        Planted::SenderCountsAnew,
        Planted::ReceiverForgets,
        Planted::NoBorder,
        Planted::OutlivesSession,
    ];
    let is_missed = |mistake: &Planted| {
        let shows = |input: &Vec<u8>| catch_unwind(|| check_with(*mistake, input)).is_err();
        !inputs.iter().any(shows)
    };
    let missed: Vec<_> = mistakes.into_iter().filter(is_missed).collect();
    drop(std::panic::take_hook());
    assert_eq!(missed, [], "missed");
}
