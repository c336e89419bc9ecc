//! Liveness.

use core::time::Duration;

use countersign_core::{Config, EndReason, Instant, Link, Loss, Output, ReceiveChannel, Role};

use crate::common::bytes::{ack, coded, message, number, pong};
use crate::common::pair::{OPENER, paired};
use crate::common::peer::{MAIN, against, against_receiver, against_sender};

const SECOND: Duration = Duration::from_secs(1);

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

#[test]
fn silence_is_met_with_one_ping() {
    // [PING-1] [PING-2]
    against_receiver(&receiver(), |peer| {
        peer.sleep(3 * SECOND);
        peer.takes(&number(0x20, 0, 1));
        assert_eq!(peer.say(), peer.answer_to_ping(1));
        // The first byte of a frame, then the rest of it.
        let bytes = pong(1, 2, 3);
        peer.takes(&bytes[..1]);
        assert_eq!(peer.link.poll_deadline(), Some(peer.now + 5 * SECOND));
        peer.sleep(5 * SECOND - Duration::from_micros(1));
        assert_eq!(peer.say(), []);
        peer.sleep_to_deadline();
        let ping = peer.say();
        assert_eq!(ping[..8], [0x20, 0, 0, 0, 0, 0, 0, 8]);
        peer.sleep(6 * SECOND);
        assert_eq!(peer.say(), [], "one is enough");
        peer.takes(&bytes[1..]);
        peer.sleep_to_deadline();
        assert_eq!(peer.say().len(), 16, "the next silence");
    });
}

#[test]
fn whoever_only_listens_says_that_it_is_there() {
    // [PING-7]
    against_receiver(&receiver(), |peer| {
        // A message that takes its time: a second for each byte.
        let bytes = message(0, 1, &[7; 100]);
        let mut pings = 0;
        for byte in &bytes[..21] {
            peer.takes(&[*byte]);
            peer.sleep(SECOND);
            let said = peer.say();
            assert!(said.is_empty() || said[0] == 0x20, "{said:?}");
            pings += said.len() / 16;
        }
        assert_eq!(pings, 4, "one in five seconds");
    });
}

#[test]
fn longer_silence_ends_the_connection() {
    // [PING-3]
    against_sender(&Config::default(), |peer| {
        peer.send(b"x");
        peer.say();
        peer.sleep_to_deadline();
        assert_eq!(peer.say().len(), 16, "PING");
        assert_eq!(peer.link.poll_deadline(), Some(peer.now + 10 * SECOND));
        peer.sleep_to_deadline();
        assert_eq!(
            peer.link.end_reason(),
            Some(&EndReason::Lost(Loss::Silence))
        );
        assert!(!peer.link.wants_connection());
        assert_eq!(peer.say(), []);
        assert_eq!(peer.link.poll_deadline(), None);
    });
}

#[test]
fn pings_are_answered_and_answers_coalesce() {
    // [PING-4] [PING-5]
    against_receiver(&receiver(), |peer| {
        peer.takes(&number(0x20, 0, 0xDEAD_BEEF));
        assert_eq!(peer.say(), peer.answer_to_ping(0xDEAD_BEEF));
        peer.takes(&[number(0x20, 0, 1), number(0x20, 0, 2), number(0x20, 0, 3)].concat());
        assert_eq!(peer.say(), peer.answer_to_ping(3));
        peer.takes(&pong(99, 0, 0));
        assert_eq!(peer.say(), []);
    });
}

#[test]
fn an_idle_link_lives_on_pings_alone() {
    // [PING-1] [PING-2]
    paired(&Config::default(), &receiver(), |pair| {
        pair.pass(100 * SECOND);
        assert!(pair.ends.iter().all(|end| end.end_reason().is_none()));
        pair.send(OPENER, MAIN, b"still there");
        pair.run();
    });
}

#[test]
fn handshakes_have_their_time() {
    // [PING-6]
    for role in [Role::Opener, Role::Acceptor] {
        against(role, &receiver(), |peer| {
            peer.say();
            assert_eq!(peer.link.poll_deadline(), Some(peer.now + 10 * SECOND));
            peer.sleep(10 * SECOND - Duration::from_micros(1));
            assert_eq!(peer.link.end_reason(), None);
            peer.sleep_to_deadline();
            let expected = EndReason::Lost(Loss::HandshakeTooSlow);
            assert_eq!(peer.link.end_reason(), Some(&expected));
            assert!(expected.can_retry());
            assert_eq!(peer.say(), []);
            assert!(!peer.link.wants_connection());
        });
    }
    // The time to secure the connection counts.
    let config = receiver().single_connection();
    let mut link = Link::new(&config, Role::Opener, [0; 16]).expect("fits");
    link.handle_opened(Instant::ZERO).expect("offline");
    let late = Instant::ZERO + 9 * SECOND;
    link.handle_secured(late, None).expect("securing");
    assert_eq!(link.poll_deadline(), Some(Instant::ZERO + 10 * SECOND));
    link.handle_timeout(Instant::ZERO + 10 * SECOND);
    assert!(link.end_reason().is_some());
    assert_eq!(link.poll_output(late, &mut [0; 99]), Output::End);
}

#[test]
fn a_failed_link_waits_for_its_peer_no_longer_than_it_says() {
    // [CLOSE-12] [ABORT-1]
    against_receiver(&receiver(), |peer| {
        peer.hear(&ack(0, 0));
        peer.say();
        assert!(peer.link.wants_connection());
        peer.sleep_to_deadline();
        assert_eq!(peer.now, Instant::from_micros(3_000_000));
        assert!(!peer.link.wants_connection());
        assert_eq!(peer.link.poll_deadline(), None);
    });
    against_receiver(&receiver(), |peer| {
        peer.hear(&coded(0x32, 0, 1, b""));
        peer.say();
        peer.link.handle_eof(peer.now);
        assert!(!peer.link.wants_connection());
    });
}
