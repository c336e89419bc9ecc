//! An attacker on the path between two ends that has recorded all traffic.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::common::{
    End, Foreign, Node, PIECES, carry, foreign_client, foreign_server, security, shake,
};
use countersign_certs::fixtures;
use countersign_endpoint::Security;
use rustls::HandshakeKind;
use rustls::version::TLS13;

const MESSAGE: &[u8; 33] = b"open the gate at a quarter past 9";

fn pair() -> (Security, Security) {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    (
        security(&robot, station.fingerprint()),
        security(&station, robot.fingerprint()),
    )
}

/// One whole connection with a message each way: what the opener said, and what the acceptor did.
fn recorded(connecting: &Security, accepting: &Security) -> [Vec<u8>; 2] {
    let (mut left, mut right) = (End::connect(connecting), End::accept(accepting));
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let mut said = false;
    loop {
        if !said && left.secured.is_some() && right.secured.is_some() {
            left.send(MESSAGE);
            right.send(MESSAGE);
            said = true;
        }
        let (from_left, from_right) = (left.depart(), right.depart());
        if said && from_left.is_empty() && from_right.is_empty() {
            break;
        }
        right.arrive(&from_left);
        left.arrive(&from_right);
        there.extend(from_left);
        back.extend(from_right);
    }
    assert_eq!(
        (&left.data[..], &right.data[..]),
        (&MESSAGE[..], &MESSAGE[..])
    );
    [there, back]
}

fn holds(wire: &[u8], what: &[u8]) -> bool {
    wire.windows(what.len()).any(|window| window == what)
}

#[test]
fn what_is_said_and_who_says_it_is_not_on_the_wire() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let connecting = security(&robot, station.fingerprint());
    let accepting = security(&station, robot.fingerprint());
    let wires = recorded(&connecting, &accepting);
    for wire in &wires {
        for part in MESSAGE.windows(8) {
            assert!(!holds(wire, part));
        }
        for own in [&robot, &station] {
            // The beginning is alike in many certificates, the rest is not.
            for part in own.certificate_der().chunks_exact(16).skip(2) {
                assert!(!holds(wire, part));
            }
        }
    }
    // The check does find the message in plain text.
    let plain = recorded(&Security::plaintext(), &Security::plaintext());
    assert!(plain.iter().all(|wire| holds(wire, MESSAGE)));
}

#[test]
fn what_was_recorded_opens_nothing_when_it_comes_again() {
    let (connecting, accepting) = pair();
    let [there, back] = recorded(&connecting, &accepting);
    for piece in PIECES {
        for (mut end, wire) in [
            (End::accept(&accepting), &there),
            (End::connect(&connecting), &back),
        ] {
            end.depart();
            for bytes in wire.chunks(piece) {
                if !end.arrive(bytes) {
                    break;
                }
            }
            assert!(end.secured.is_none() && end.data.is_empty());
            assert!(end.error.is_some());
        }
    }
}

#[test]
fn a_record_that_comes_again_or_out_of_turn_is_noticed() {
    let (connecting, accepting) = pair();
    for order in [[0, 0], [1, 0]] {
        let (mut left, mut right) = shake(&connecting, &accepting, usize::MAX);
        let mut records: [Vec<u8>; 2] = Default::default();
        for record in &mut records {
            left.send(MESSAGE);
            *record = left.depart();
        }
        let taken = order.iter().all(|at| right.arrive(&records[*at]));
        assert!(!taken && right.error.is_some());
        let whole = if order[0] == 0 { MESSAGE.len() } else { 0 };
        assert_eq!(right.data.len(), whole);
    }
}

/// A ticket would let its holder in without a certificate, and early data could be replayed by
/// anyone.
#[test]
fn every_connection_is_proven_anew() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let accepting = security(&station, robot.fingerprint());
    let mut config = foreign_client(Some(&robot), &[&TLS13]);
    config.enable_early_data = true;
    for _ in 0..3 {
        // With the store of tickets of the one before.
        let mut left = Foreign::client(config.clone());
        let mut right = End::accept(&accepting);
        carry(&mut left, &mut right, usize::MAX);
        right.send(MESSAGE);
        carry(&mut left, &mut right, usize::MAX);
        assert_eq!(left.data, MESSAGE);
        assert_eq!(left.tls.handshake_kind(), Some(HandshakeKind::Full));
        let rustls::Connection::Client(client) = &left.tls else {
            unreachable!("made as one");
        };
        assert_eq!(client.tls13_tickets_received(), 0);
    }

    // As the opener, tickets are not kept.
    let connecting = security(&robot, station.fingerprint());
    let mut config = foreign_server(&station, &[&TLS13]);
    config.max_early_data_size = 1024;
    for _ in 0..3 {
        let mut right = Foreign::server(config.clone());
        let mut left = End::connect(&connecting);
        carry(&mut left, &mut right, usize::MAX);
        left.send(MESSAGE);
        right.send(MESSAGE);
        carry(&mut left, &mut right, usize::MAX);
        assert_eq!(
            (&left.data[..], &right.data[..]),
            (&MESSAGE[..], &MESSAGE[..])
        );
        assert_eq!(right.tls.handshake_kind(), Some(HandshakeKind::Full));
    }
}
