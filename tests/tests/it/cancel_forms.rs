//! Futures dropped at every moment, over a connection in memory: nothing is lost, comes twice, or
//! comes in part, in any form of sending and receiving. And the harness would notice if it did.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_tests::cancelling::forms::{Receives, Sends};
use countersign_tests::cancelling::{Job, in_memory};
use countersign_tests::memory::{CAPACITY, Polling};

const COUNT: usize = 200;

fn job(sends: Sends, receives: Receives) -> Job {
    Job {
        sends,
        receives,
        count: COUNT,
        drops: true,
    }
}

fn every_form(polling: Polling, polls: u32) {
    for sends in Sends::ALL {
        for receives in Receives::ALL {
            for capacity in [61, 1000, CAPACITY] {
                let outcome = in_memory(job(sends, receives), capacity, polling);
                let what = format!("{sends:?} to {receives:?}, {capacity} bytes");
                let outcome = outcome.map_err(|why| format!("{what}: {why}")).unwrap();
                let drops = &outcome.drops;
                let counts = drops.counts();
                assert!(
                    counts.into_iter().all(|count| count > 100),
                    "{what}: {counts:?}"
                );
                let deepest = drops.deepest();
                assert!(deepest >= polls, "{what}: {deepest} polls");
            }
        }
    }
}

#[test]
fn every_form_is_cancel_safe() {
    every_form(Polling::WhenWoken, 1);
}

#[test]
fn every_form_is_cancel_safe_however_often_it_is_polled() {
    every_form(Polling::Often, 4);
}

/// What goes wrong with a planted form goes wrong for its futures being dropped, and not otherwise.
fn assert_noticed(planted: Job, mistake: &str) {
    let why = in_memory(planted, CAPACITY, Polling::WhenWoken)
        .map(drop)
        .unwrap_err();
    assert!(why.contains(mistake), "{why}");
    let gentle = Job {
        drops: false,
        ..planted
    };
    let outcome = in_memory(gentle, CAPACITY, Polling::WhenWoken).unwrap();
    assert_eq!(outcome.drops.counts(), [0, 0]);
}

#[test]
fn a_message_that_is_lost_is_noticed() {
    let planted = job(Sends::One, Receives::PlantedWaitsAfter);
    assert_noticed(planted, "was lost");
}

#[test]
fn a_message_that_comes_again_is_noticed() {
    let planted = job(Sends::PlantedWaitsAfter, Receives::One);
    assert_noticed(planted, "came again");
}

#[test]
fn a_message_that_comes_in_part_is_noticed() {
    let planted = job(Sends::PlantedTakesApart, Receives::One);
    assert_noticed(planted, "came cut");
}

#[test]
fn a_future_that_nobody_wakes_is_noticed() {
    let planted = job(Sends::One, Receives::PlantedSleeps);
    let why = in_memory(planted, CAPACITY, Polling::WhenWoken)
        .map(drop)
        .unwrap_err();
    assert!(why.contains("everybody sleeps"), "{why}");
}
