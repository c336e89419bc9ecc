//! Attackers in great numbers, before any of them has proved an identity.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use countersign_endpoint::Reason;

use super::security;
use crate::adversary::{Hostile, Seen, Stage, Victim};
use crate::backend::Link;

scenarios! {
    ACCEPTOR {
        half_open_from_one_address,
        half_open_from_many_addresses,
        connections_from_one_address,
    }
}

/// How many come.
const MANY: usize = 200;
/// How many of them may be in their handshake.
const PLACES: usize = 32;
/// How many of one address.
const SHARE: usize = 16;

/// Attackers from one address, or each from another, that say no more than the first byte of TLS.
fn crowd(stage: &Stage, count: usize, address: impl Fn(usize) -> Ipv4Addr) -> Vec<Hostile> {
    (0..count)
        .map(|at| {
            let mut hostile = stage.approach_from(address(at));
            hostile.throw(&[22]);
            hostile
        })
        .collect()
}

/// The address of an attacker; this machine has all of them.
fn theirs(at: usize) -> Ipv4Addr {
    let [high, low] = (at as u16).to_be_bytes();
    Ipv4Addr::new(127, 251, high, low)
}

/// An honest peer gets in and its messages arrive, whatever the listener reports of others
/// meanwhile.
fn assert_lets_in(stage: &Stage, told: &mut Vec<String>) -> [Box<dyn Link>; 2] {
    let ends = thread::scope(|scope| {
        let client = scope.spawn(|| stage.honest_peer());
        let server = loop {
            match stage.listener().accept() {
                Ok(link) => break link,
                Err(error) => told.push(error.error().to_string()),
            }
        };
        [client.join().unwrap(), server]
    });
    let receipt = ends[0].sender("data").unwrap().give("let me in");
    assert_eq!(ends[1].receiver("data").unwrap().take(), "let me in");
    assert!(receipt.wait().is_handled());
    ends
}

/// The next things that the listener tells, which are no links.
fn tells(stage: &Stage, count: usize) -> Vec<String> {
    let told = |_| stage.link().err().expect("no link").to_string();
    (0..count).map(told).collect()
}

/// The listener's places for handshakes can't all be had from one address: what is beyond its share
/// is closed at once, and an honest peer from elsewhere gets in while all the others stay for ever.
fn half_open_from_one_address(victim: &Victim) {
    let stage = victim.stage_with(&victim.terms().limits(|limits| {
        limits.half_open = PLACES;
        limits.half_open_per_address = SHARE;
    }));
    let mut crowd = crowd(&stage, MANY, |_| theirs(0));
    let mut told = tells(&stage, MANY - SHARE);
    let _ends = assert_lets_in(&stage, &mut told);
    stage.bystander.keeps_pace();
    let text = format!(
        "the connection was lost: there are {SHARE} handshakes under way from this address, as many \
         as the listener's limit allows"
    );
    assert_eq!(told, vec![text; MANY - SHARE]);
    crowd.retain(|hostile| !hostile.receives_nothing());
    assert_eq!(crowd.len(), MANY - SHARE);
    for mut hostile in crowd {
        // What it had said was not read.
        assert!(matches!(hostile.receive_end(), Seen::Ended | Seen::Reset));
    }
}

/// From as many addresses as there are connections, attackers can take all places. An existing link
/// goes on beside them. They lose their places when their time is over, and an honest peer gets its
/// turn.
fn half_open_from_many_addresses(victim: &Victim) {
    let terms = victim.terms().limits(|limits| limits.half_open = PLACES);
    let stage = victim.stage_with(&terms);
    let (error, ()) = stage.repels(|mut hostile| {
        hostile.throw(&[22]);
        let _crowd = crowd(&stage, PLACES, theirs);
        stage.bystander.keeps_pace();
        // No handshake has timed out, so all places were taken until now.
        hostile.end();
        hostile.receive_end();
    });
    assert_eq!(security(&error), &Reason::ClosedDuringHandshake);
    let stage = victim.stage_with(&terms.timeouts(|timeouts| {
        timeouts.handshake = Duration::from_millis(250);
        timeouts.linger = Duration::from_millis(250);
    }));
    let crowd = crowd(&stage, MANY, theirs);
    let mut told = Vec::new();
    let _ends = assert_lets_in(&stage, &mut told);
    stage.bystander.keeps_pace();
    told.extend(tells(&stage, MANY - told.len()));
    let text = "the connection was lost: the handshake took too long; one end must open the connection \
         and the other accept it, and both must agree on TLS or plain text and on the dialect";
    assert_eq!(told, vec![text; MANY]);
    for mut hostile in crowd {
        assert_eq!(hostile.receive_end(), Seen::Ended);
    }
}

/// One address may have a limited number of connections. Others get in.
fn connections_from_one_address(victim: &Victim) {
    let stage = victim.stage_with(&victim.terms().limits(|limits| limits.per_address = SHARE));
    let crowd = crowd(&stage, MANY, |_| theirs(0));
    let mut told = tells(&stage, MANY - SHARE);
    let _ends = assert_lets_in(&stage, &mut told);
    stage.bystander.keeps_pace();
    let text = format!(
        "the connection was lost: there are {SHARE} connections from this address, as many as the \
         listener's limit allows"
    );
    assert_eq!(told, vec![text; MANY - SHARE]);
    let stay = crowd.iter().filter(|hostile| hostile.receives_nothing());
    assert_eq!(stay.count(), SHARE);
}
