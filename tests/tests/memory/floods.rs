//! Thousands of strangers at one listener with the limits that listeners have by default: what they
//! cost is bounded by the places for handshakes, and not by how many they are.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]
#![cfg(target_os = "linux")]

use std::net::Ipv4Addr;

use countersign_core::Role;
use countersign_driver::{DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS};
use countersign_tests::adversary::{Hostile, Stage, Victim};
use countersign_tests::backends::BACKENDS;
use countersign_tests::watch;

use crate::{MEMORY, in_turn};

/// How many come from one address.
const MANY: usize = 2000;
/// How many come from as many addresses: as many as there are places, and some that wait in the
/// system's queue.
const SPREAD: usize = DEFAULT_HALF_OPEN + 100;
/// What a connection may take before its peer is known, in bytes: a lent buffer for what comes, and
/// as much again for TLS, the link and the task.
const EACH: usize = 2 * 66_560;
/// What unaccepted errors, the threads' spare buffers and the attackers' own sockets take.
const REST: usize = 4 << 20;

/// A record of a ClientHello that is as long as can be, but for its last byte: nothing of it can be
/// used or thrown away.
fn most_of_a_hello() -> Vec<u8> {
    let mut record = vec![0; 5 + 16_384 - 1];
    record[..9].copy_from_slice(&[22, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC]);
    record
}

fn stranger(stage: &Stage, address: Ipv4Addr, words: &[u8]) -> Hostile {
    let mut hostile = stage.approach_from(address);
    // Those that are closed at once may not take it.
    hostile.throw(words);
    hostile
}

/// The most that was allocated at once during an attack, beyond what was before, while the
/// bystander went on.
fn peak<T>(stage: &Stage, attack: impl FnOnce() -> T) -> (usize, T) {
    stage.bystander.keeps_pace();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let attackers = attack();
    stage.bystander.keeps_pace();
    (MEMORY.peak_usage().saturating_sub(before), attackers)
}

/// The attackers leave, and the listener has dropped their connections: the next count begins
/// without them.
fn leave(attackers: Vec<Hostile>) {
    for mut hostile in attackers {
        hostile.end();
        hostile.receive_end();
    }
}

fn flood(name: &str, victim: &Victim) {
    let words = most_of_a_hello();
    let shared = Ipv4Addr::new(127, 252, 0, 1);
    let one_place = victim.stage();
    let (from_one, attackers) = peak(&one_place, || -> Vec<_> {
        let strangers = (0..MANY).map(|_| stranger(&one_place, shared, &words));
        strangers.collect()
    });
    drop(one_place.honest_peer());
    leave(attackers);
    drop(one_place);
    let stage = victim.stage();
    let (from_many, attackers) = peak(&stage, || -> Vec<_> {
        let strangers = (0..SPREAD as u16).map(|at| {
            let [high, low] = at.to_be_bytes();
            stranger(&stage, Ipv4Addr::new(127, 253, high, low), &words)
        });
        strangers.collect()
    });
    leave(attackers);
    println!("{name}: {from_one} bytes from one address, {from_many} from many");
    for (took, places) in [
        (from_one, DEFAULT_HALF_OPEN_PER_ADDRESS),
        (from_many, DEFAULT_HALF_OPEN),
    ] {
        let bound = places * EACH + REST;
        assert!(took <= bound, "{name}: {took} of {bound} bytes");
        // They did cost something: each of those that were let in holds what it said.
        assert!(took >= places * words.len(), "{name}: {took} bytes");
    }
}

#[test]
fn floods_cost_no_more_than_the_places_for_handshakes() {
    in_turn(|| {
        let needed = 3 * MANY as u64;
        let allowed = rlimit::increase_nofile_limit(needed).unwrap();
        assert!(
            allowed >= needed,
            "{needed} files are needed, {allowed} allowed"
        );
        for entry in BACKENDS {
            watch(|| {
                let victim = Victim::new(entry.backend, Role::Acceptor);
                flood(entry.name, &victim);
            });
        }
    });
}
