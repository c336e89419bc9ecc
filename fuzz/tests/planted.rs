//! A corpus that finds nothing proves little unless it would have found something.

#![cfg(planted)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod corpus;

use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use countersign_core::Planted;
use countersign_fuzz::{cases, session};

/// What panics say is set for the whole program, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Returns the mistakes that no input of a target shows.
fn missed(
    target: &str,
    check_with: fn(Planted, &[u8]),
    mistakes: impl IntoIterator<Item = Planted>,
) -> Vec<Planted> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let inputs = corpus::inputs(target);
    // What is found panics, which is of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    let is_missed = |mistake: &Planted| {
        let shows = |input: &[u8]| catch_unwind(|| check_with(*mistake, input)).is_err();
        !inputs.iter().any(|(_, input)| shows(input))
    };
    let missed = mistakes.into_iter().filter(is_missed).collect();
    drop(std::panic::take_hook());
    missed
}

#[test]
fn the_corpus_finds_mistakes_about_sessions() {
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
    let missed = missed("lasting", cases::lasting::check_with, mistakes);
    assert_eq!(missed, [], "missed");
}

#[test]
fn the_corpus_finds_mistakes_about_time() {
    let mistakes = [Planted::IgnoresAge, Planted::ClockBoundTooSmall];
    let missed = missed("session", session::check_with, mistakes);
    assert_eq!(missed, [], "missed");
}
