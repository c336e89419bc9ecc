//! What the search of small worlds finds where links make a mistake.
//!
//! A search that finds nothing proves little unless it would have found something.

use countersign_worlds::mistakes::Planted;
use countersign_worlds::model::{End, Lane, Move, Setup, search, search_for};

fn up(messages: u8) -> Lane {
    Lane::new(End::Opener, messages)
}

fn down(messages: u8) -> Lane {
    Lane::new(End::Acceptor, messages)
}

/// Plants a mistake in a world that is well without it, and checks that it is found, as what, and
/// how soon.
fn found_out(mistake: Planted, world: &Setup, breaks: &'static str, moves: usize) {
    let honest = search(world, 1, true);
    assert!(honest.complete && honest.broken.is_empty(), "{honest:?}");
    let planted = Setup {
        planted: Some(mistake),
        ..world.clone()
    };
    let found = search_for(&planted, breaks);
    println!("{mistake:?}: {found:?}");
    let [(_, way)] = &found.broken[..] else {
        panic!("not found: {found:?}");
    };
    assert!(way.len() <= moves, "{found:?}");
    // None of these shows before there is a second connection.
    let connects = way.iter().filter(|step| **step == Move::Connect).count();
    assert!(connects >= 2, "{found:?}");
}

fn once_cut(lanes: impl Into<Vec<Lane>>) -> Setup {
    Setup {
        cuts: 1,
        ..Setup::new(lanes)
    }
}

#[test]
fn a_receiver_that_ignores_age_is_found() {
    let brief = Lane {
        expires: true,
        ..up(1)
    };
    let planted = Setup {
        planted: Some(Planted::IgnoresAge),
        ..Setup::new([brief])
    };
    let found = search_for(&planted, "never late");
    assert!(!found.broken.is_empty(), "{found:?}");
}

#[test]
fn a_missing_fence_is_found() {
    let breaks = "no violation";
    found_out(Planted::NoFence, &once_cut([up(1)]), breaks, 12);
}

#[test]
fn replay_behind_new_messages_is_found() {
    let breaks = "in order";
    found_out(Planted::ReplayLast, &once_cut([up(2)]), breaks, 20);
}

#[test]
fn missing_replay_is_found() {
    let breaks = "all settled in the end";
    found_out(Planted::NoReplay, &once_cut([up(1)]), breaks, 12);
}

#[test]
fn a_sender_that_counts_anew_is_found() {
    let breaks = "no violation";
    found_out(Planted::SenderCountsAnew, &once_cut([up(2)]), breaks, 17);
}

#[test]
fn a_receiver_that_forgets_is_found() {
    let breaks = "at most once";
    found_out(Planted::ReceiverForgets, &once_cut([up(1)]), breaks, 18);
}

#[test]
fn a_missing_border_is_found() {
    let world = Setup {
        losses: 1,
        ..once_cut([down(2)])
    };
    let breaks = "a border between sessions";
    found_out(Planted::NoBorder, &world, breaks, 24);
}

#[test]
fn a_late_greeting_that_is_followed_is_found() {
    let world = Setup {
        cuts: 2,
        ..Setup::new([down(1)])
    };
    found_out(Planted::FollowsLateHello, &world, "no violation", 19);
}

#[test]
fn a_session_that_is_outlived_is_found() {
    let world = Setup {
        losses: 1,
        single: [true, false],
        ..once_cut([up(1)])
    };
    found_out(Planted::OutlivesSession, &world, "one session", 12);
}

#[test]
fn an_end_for_a_late_greeting_is_found() {
    let world = Setup {
        cuts: 2,
        single: [false, true],
        ..Setup::new([up(1)])
    };
    let breaks = "no session lost without cause";
    found_out(Planted::EndsForLateHello, &world, breaks, 14);
}
