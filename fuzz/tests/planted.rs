//! A corpus that finds nothing proves little unless it would have found something.

#![cfg(planted)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::panic::catch_unwind;

use countersign_core::Planted;
use countersign_fuzz::cases::lasting::check_with;

#[test]
fn the_corpus_finds_mistakes_about_sessions() {
    let inputs = corpus::inputs("lasting");
    // What is found panics, which is of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    // A HELLO that is held up until its opener is back on a newer connection (`FollowsLateHello`)
    // does not come up here, nor does one from before the session that it ends
    // (`EndsForLateHello`): the searches of `tests/worlds/tests/it/model_planted.rs` have both.
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
        let shows = |input: &[u8]| catch_unwind(|| check_with(*mistake, input)).is_err();
        !inputs.iter().any(|(_, input)| shows(input))
    };
    let missed: Vec<_> = mistakes.into_iter().filter(is_missed).collect();
    drop(std::panic::take_hook());
    assert_eq!(missed, [], "missed");
}
