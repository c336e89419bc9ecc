//! Data both ways, closing, and the contract about bytes that `read` leaves.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::common::{
    End, Foreign, Node, PIECES, carry, foreign_client, foreign_server, security, shake,
};
use countersign_certs::fixtures;
use countersign_endpoint::{Blame, Connection, MAX_RECORD, Reason, Received, Security};
use rustls::version::TLS13;

const SIZES: [usize; 7] = [0, 1, 16_383, 16_384, 16_385, 32_768, 100_000];

fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(i * 31 % 251).unwrap())
        .collect()
}

fn pair() -> (Security, Security) {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    (
        security(&robot, station.fingerprint()),
        security(&station, robot.fingerprint()),
    )
}

/// [TLS-5]
#[test]
fn data_of_every_size_arrives_both_ways() {
    let (connecting, accepting) = pair();
    for piece in PIECES {
        let (mut left, mut right) = shake(&connecting, &accepting, piece);
        for size in SIZES {
            left.send(&bytes(size));
            right.send(&bytes(size + 3));
            carry(&mut left, &mut right, piece);
            assert_eq!(
                std::mem::take(&mut right.data),
                bytes(size),
                "{size} in {piece}"
            );
            assert_eq!(
                std::mem::take(&mut left.data),
                bytes(size + 3),
                "{size} in {piece}"
            );
        }
    }
}

#[test]
fn a_record_holds_up_to_16384_bytes() {
    let (connecting, accepting) = pair();
    let (mut left, _right) = shake(&connecting, &accepting, usize::MAX);
    for (size, records) in [(0, 0), (1, 1), (16_384, 1), (16_385, 2), (100_000, 7)] {
        let mut wire = vec![0; left.connection.ciphertext_len(size)];
        let count = left.connection.write(&bytes(size), &mut wire).unwrap();
        assert_eq!(count, size + 22 * records);
    }
}

#[test]
fn too_small_a_buffer_changes_nothing() {
    let (connecting, accepting) = pair();
    for (connecting, accepting) in [
        (connecting, accepting),
        (Security::plaintext(), Security::plaintext()),
    ] {
        let (mut left, mut right) = shake(&connecting, &accepting, usize::MAX);
        let needed = left.connection.ciphertext_len(5);
        let mut wire = vec![0; needed];
        let error = left.connection.write(b"hello", &mut wire[1..]).unwrap_err();
        assert_eq!(error.reason(), &Reason::OutputTooSmall { needed });
        assert_eq!(error.blame(), Blame::Local);
        let count = left.connection.write(b"hello", &mut wire).unwrap();
        right.arrive(&wire[..count]);
        assert_eq!(right.data, b"hello");
    }
}

#[test]
fn writing_before_secured_or_after_closing_is_refused() {
    let (connecting, accepting) = pair();
    let mut early = Connection::connect(&connecting).unwrap();
    assert!(!early.may_write());
    assert_eq!(
        early.write(b"x", &mut [0; 9999]).unwrap_err().reason(),
        &Reason::NotSecured
    );
    for plain in [false, true] {
        let (mut left, _) = match plain {
            false => shake(&connecting, &accepting, usize::MAX),
            true => shake(&Security::plaintext(), &Security::plaintext(), usize::MAX),
        };
        left.connection.close();
        assert!(!left.connection.may_write());
        let error = left.connection.write(b"x", &mut [0; 9999]).unwrap_err();
        assert_eq!(error.reason(), &Reason::AlreadyClosed);
    }
}

#[test]
fn each_direction_closes_by_itself() {
    let (connecting, accepting) = pair();
    for piece in PIECES {
        let (mut left, mut right) = shake(&connecting, &accepting, piece);
        left.send(b"last words");
        left.connection.close();
        left.connection.close();
        carry(&mut left, &mut right, piece);
        assert!(right.ended && !left.ended && right.data == b"last words");
        right.connection.read_eof().unwrap();
        right.send(b"answer");
        carry(&mut left, &mut right, piece);
        assert_eq!(left.data, b"answer");
        right.connection.close();
        carry(&mut left, &mut right, piece);
        assert!(left.ended && left.error.is_none());
        // What comes after the end is swallowed.
        assert!(left.arrive(b"whatever") && right.arrive(&[0; 99]));
        left.connection.read_eof().unwrap();
    }
}

#[test]
fn closing_before_secured_takes_effect_when_secured() {
    let (connecting, accepting) = pair();
    for piece in PIECES {
        let (mut left, mut right) = (End::connect(&connecting), End::accept(&accepting));
        left.connection.close();
        right.connection.close();
        carry(&mut left, &mut right, piece);
        assert!(
            left.ended && right.ended,
            "{} {}",
            left.message(),
            right.message()
        );
    }
}

#[test]
fn an_end_without_close_notify_is_truncation() {
    let (connecting, accepting) = pair();
    for cut in [0, 1, 20] {
        let (mut left, mut right) = shake(&connecting, &accepting, usize::MAX);
        left.send(b"forward");
        left.send(b"halt, at once");
        let wire = left.depart();
        right.arrive(&wire[..wire.len() - cut]);
        right.eof();
        let error = right.error.unwrap();
        assert_eq!(
            (error.reason(), error.blame()),
            (&Reason::Truncated, Blame::Transport)
        );
        assert!(error.can_retry());
        assert!(right.data.starts_with(b"forward"));
    }
}

#[test]
fn a_changed_byte_is_noticed_and_told() {
    let (connecting, accepting) = pair();
    for piece in PIECES {
        let (mut left, mut right) = shake(&connecting, &accepting, piece);
        left.send(b"forward");
        let mut wire = left.depart();
        *wire.last_mut().unwrap() ^= 1;
        for byte in wire.chunks(piece) {
            right.arrive(byte);
        }
        let error = right.error.clone().unwrap();
        assert_eq!(
            (error.reason(), error.blame()),
            (&Reason::Corrupted, Blame::Peer)
        );
        carry(&mut left, &mut right, piece);
        let alert = left.error.unwrap();
        assert!(alert.to_string().contains("bad_record_mac"), "{alert}");
        assert_eq!(
            right
                .connection
                .write(b"x", &mut [0; 999])
                .unwrap_err()
                .reason(),
            error.reason()
        );
    }
}

#[test]
fn what_read_leaves_is_short_and_goes_on_where_it_was() {
    let (connecting, accepting) = pair();
    let (mut left, mut right) = shake(&connecting, &accepting, usize::MAX);
    let mut wire = vec![0; left.connection.ciphertext_len(40_000)];
    let count = left.connection.write(&bytes(40_000), &mut wire).unwrap();
    // A ring as small as allowed.
    let (mut buffer, mut filled, mut data) = (vec![0; MAX_RECORD], 0, Vec::new());
    let mut wire = &wire[..count];
    while !wire.is_empty() {
        let room = (buffer.len() - filled).min(wire.len());
        buffer[filled..filled + room].copy_from_slice(&wire[..room]);
        filled += room;
        wire = &wire[room..];
        let consumed = right
            .connection
            .read(&mut buffer[..filled], &mut |received| {
                if let Received::Data(bytes) = received {
                    data.extend_from_slice(bytes);
                }
            });
        let consumed = consumed.unwrap();
        assert!(consumed > 0 || wire.is_empty() || filled < MAX_RECORD);
        buffer.copy_within(consumed..filled, 0);
        filled -= consumed;
    }
    assert_eq!((filled, data), (0, bytes(40_000)));
}

#[test]
fn plaintext_passes_everything_as_it_is() {
    let plain = Security::plaintext();
    let (mut left, mut right) = shake(&plain, &plain, usize::MAX);
    assert!(left.connection.is_plain() && left.secured == Some(None));
    left.send(b"5!hello");
    carry(&mut left, &mut right, 1);
    assert_eq!(right.data, b"5!hello");
    right.connection.read_eof().unwrap();
}

/// A peer that splits every message after the handshake over many records makes rustls remember
/// positions in the input. Writing must not disturb them.
#[test]
fn writing_between_the_records_of_a_split_message() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let ours = security(&station, robot.fingerprint());
    let mut config = foreign_server(&robot, &[&TLS13]);
    config.max_fragment_size = Some(40);
    config.send_tls13_tickets = 4;
    for piece in PIECES {
        let (mut left, mut right) = (End::connect(&ours), Foreign::server(config.clone()));
        let mut sent = Vec::new();
        loop {
            let here = right.depart();
            let there = left.depart();
            if here.is_empty() && there.is_empty() && !sent.is_empty() {
                break;
            }
            right.arrive(&there);
            for bytes in here.chunks(piece.min(10)) {
                assert!(left.arrive(bytes), "{}", left.message());
                // A mistake of the caller's, which should have passed what was left.
                let slip = left.connection.read(&mut [], &mut |_| unreachable!());
                assert_eq!(slip.unwrap(), 0);
                if left.connection.may_write() {
                    left.send(b"word ");
                    sent.extend_from_slice(b"word ");
                }
            }
        }
        left.connection.close();
        carry(&mut left, &mut right, piece);
        assert!(sent.len() > 5 * 10 && right.data == sent);
    }
}

#[test]
fn the_peer_may_ask_for_new_keys() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let ours = security(&station, robot.fingerprint());
    let config = foreign_client(Some(&robot), &[&TLS13]);
    for piece in PIECES {
        let (mut left, mut right) = (Foreign::client(config.clone()), End::accept(&ours));
        carry(&mut left, &mut right, piece);
        for round in 0..5 {
            left.tls.refresh_traffic_keys().unwrap();
            left.send(b"ping ");
            carry(&mut left, &mut right, piece);
            right.send(b"pong ");
            right.send(b"pong ");
            carry(&mut left, &mut right, piece);
            assert!(left.error.is_none() && right.error.is_none(), "{round}");
        }
        assert_eq!((left.data.len(), right.data.len()), (50, 25));
    }
}

#[test]
fn a_handshake_message_in_more_than_a_record_is_refused() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let ours = security(&station, robot.fingerprint());
    for piece in PIECES {
        // A ClientHello of 60,000 bytes, as far as it gets.
        let mut wire = Vec::new();
        for start in [&[1, 0, 0xea, 0x60, 3, 3][..], &[0; 6], &[0; 6]] {
            wire.extend_from_slice(&[22, 3, 1, 0x40, 0]);
            wire.extend_from_slice(start);
            wire.extend_from_slice(&[7; 0x4000 - 6]);
        }
        let mut end = End::accept(&ours);
        for bytes in wire.chunks(piece) {
            if !end.arrive(bytes) {
                break;
            }
        }
        let error = end.error.unwrap();
        assert_eq!(
            (error.reason(), error.blame()),
            (&Reason::PeerMisbehaved, Blame::Peer)
        );
    }
}

#[test]
fn nonsense_after_closing_is_an_error_and_no_more() {
    let (connecting, accepting) = pair();
    let (mut left, mut right) = shake(&connecting, &accepting, usize::MAX);
    right.connection.close();
    right.depart();
    left.send(b"forward");
    let mut wire = left.depart();
    *wire.last_mut().unwrap() ^= 1;
    right.arrive(&wire);
    assert_eq!(right.error.as_ref().unwrap().reason(), &Reason::Corrupted);
    assert!(right.depart().is_empty());
}
