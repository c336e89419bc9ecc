//! Modes and policies.

use core::time::Duration;

use countersign_core::{
    Config, Event, ReceiveChannel, ReceiveError, Rejection, SendChannel, SendError, Verdict,
    reject as codes,
};

use crate::common::bytes::{ack, close, first, message, next, noted, reject, skip};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, Peer, against_receiver, against_sender};

fn latest(in_flight: u32) -> Config {
    Config::new().channel(SendChannel::new("main").latest().in_flight(in_flight))
}

fn verdict(sequence: u64, verdict: Verdict) -> Event {
    let channel = MAIN;
    Event::Verdict {
        channel,
        sequence,
        verdict,
    }
}

#[test]
fn a_newer_message_takes_the_place_of_one_that_is_not_begun() {
    // [MODE-1]
    against_sender(&latest(1), |peer| {
        for text in [b"a", b"b", b"c"] {
            peer.send(text);
            if text == b"a" {
                assert_eq!(peer.say(), message(0, 1, b"a"));
            }
        }
        assert_eq!(peer.events(), [verdict(2, Verdict::Superseded)]);
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), [skip(0, 2), message(0, 3, b"c")].concat());
        peer.takes(&ack(0, 3));
        let channel = MAIN;
        let (first, last) = (1, 3);
        assert_eq!(
            peer.events(),
            [Event::Handled {
                channel,
                first,
                last,
                count: 2
            }]
        );
    });
}

#[test]
fn a_begun_message_is_not_superseded() {
    // [MODE-1] [MODE-3]
    against_sender(&latest(2).frame_limit(512), |peer| {
        let soon = peer.now + Duration::from_millis(1);
        let payload = [1; 600];
        peer.link
            .send(peer.now, MAIN, payload.to_vec(), Some(soon))
            .expect("accepted");
        let mut buffer = [0; 512];
        peer.link.poll_output(peer.now, &mut buffer);
        let (answer, frame) = buffer.split_at(32);
        assert_eq!(answer, peer.answer_to_welcome());
        assert_eq!(frame[36..], payload[..444], "begun");
        peer.send(b"b");
        peer.sleep(Duration::from_millis(5));
        assert_eq!(peer.events(), []);
        let rest = [next(0, 1, true, &payload[444..]), message(0, 2, b"b")];
        assert_eq!(peer.say(), rest.concat());
    });
}

#[test]
fn latest_keeps_few_messages_outstanding() {
    // [MODE-2]
    let default = Config::new().channel(SendChannel::new("main").latest());
    for (config, count) in [(default, 2), (latest(5), 5)] {
        against_sender(&config, |peer| {
            for at in 1..=count {
                peer.send(b"x");
                assert_eq!(peer.say(), message(0, at, b"x"));
            }
            peer.send(b"x");
            assert_eq!(peer.say(), []);
            peer.takes(&ack(0, 1));
            assert_eq!(peer.say(), message(0, count + 1, b"x"));
        });
    }
}

#[test]
fn what_is_not_begun_expires() {
    // [MODE-3]
    let config = Config::new().channel(SendChannel::new("main").in_flight(1));
    against_sender(&config, |peer| {
        peer.send(b"a");
        peer.say();
        let soon = peer.now + Duration::from_millis(3);
        peer.link
            .send(peer.now, MAIN, &b"b"[..], Some(soon))
            .expect("accepted");
        peer.send(b"c");
        assert_eq!(peer.link.poll_deadline(), Some(soon));
        peer.sleep(Duration::from_micros(2_999));
        assert_eq!(peer.events(), []);
        peer.sleep_to_deadline();
        assert_eq!(peer.now, soon);
        assert_eq!(peer.events(), [verdict(2, Verdict::Expired)]);
        peer.takes(&ack(0, 1));
        let answer = peer.answer_to_welcome();
        assert_eq!(
            peer.say(),
            [answer, skip(0, 2), message(0, 3, b"c")].concat()
        );
    });
    // Judged when it would be written, too.
    against_sender(&config, |peer| {
        let now = peer.now;
        peer.link
            .send(now, MAIN, &b"a"[..], Some(now))
            .expect("accepted");
        assert_eq!(peer.say(), peer.answer_to_welcome());
        assert_eq!(peer.events(), [verdict(1, Verdict::Expired)]);
    });
}

#[test]
fn what_expires_behind_close_is_skipped() {
    // [CLOSE-6] [MODE-3]
    let config = Config::new().channel(SendChannel::new("main").in_flight(1));
    against_sender(&config, |peer| {
        peer.send(b"a");
        peer.say();
        let soon = peer.now + Duration::from_millis(3);
        peer.link
            .send(peer.now, MAIN, &b"b"[..], Some(soon))
            .expect("accepted");
        peer.link
            .close(peer.now, countersign_core::CloseMode::Drain);
        let answer = peer.answer_to_welcome();
        assert_eq!(peer.say(), [answer, close(&[(0, 2)])].concat());
        peer.sleep_to_deadline();
        assert!(peer.link.wants_output());
        assert_eq!(peer.say(), skip(0, 2));
        peer.takes(&[close(&[]), ack(0, 2)].concat());
        assert_eq!(peer.say(), crate::common::bytes::done());
    });
}

#[test]
fn auto_and_manual_look_alike() {
    // [MODE-4]
    let transcript = |peer: &mut Peer, manual: bool| {
        peer.takes(&message(0, 1, b"x"));
        assert_eq!(peer.say(), []);
        assert_eq!(peer.link.is_auto(MAIN), !manual);
        peer.take();
        if manual {
            assert_eq!(peer.say(), []);
            peer.link.handle(peer.now, MAIN, 1).expect("taken");
        } else {
            assert_eq!(
                peer.link.handle(peer.now, MAIN, 1),
                Err(ReceiveError::NotWaiting)
            );
        }
        assert_eq!(peer.say(), ack(0, 1));
    };
    let channel = ReceiveChannel::new("main");
    against_receiver(&Config::new().channel(channel.clone()), |peer| {
        transcript(peer, false);
    });
    against_receiver(&Config::new().channel(channel.manual()), |peer| {
        transcript(peer, true);
    });
}

#[test]
fn an_abandoned_channel_rejects() {
    // [MODE-5]
    let channel = ReceiveChannel::new("main").manual();
    against_receiver(&Config::new().channel(channel), |peer| {
        peer.takes(&[message(0, 1, b"a"), message(0, 2, b"b")].concat());
        peer.take();
        peer.link.abandon(peer.now, MAIN).expect("receive mode");
        assert_eq!(peer.say(), reject(0, 2, codes::NO_RECEIVER, ""));
        // Later messages are answered without a call.
        peer.takes(&message(0, 3, b"c"));
        assert!(peer.link.wants_output());
        assert_eq!(peer.say(), reject(0, 3, codes::NO_RECEIVER, ""));
        peer.takes(&[first(0, 4, 2, b"d"), next(0, 4, true, b"d")].concat());
        assert_eq!(peer.say(), reject(0, 4, codes::NO_RECEIVER, ""));
        peer.takes(&[noted(0, 2), noted(0, 3), noted(0, 4)].concat());
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        assert_eq!(peer.say(), ack(0, 4));
    });
    let acceptor = Config::new().channel(ReceiveChannel::new("main"));
    paired(&Config::default(), &acceptor, |pair| {
        pair.ends[ACCEPTOR]
            .abandon(pair.now, MAIN)
            .expect("receive mode");
        pair.run();
        pair.send(OPENER, MAIN, b"x");
        pair.run();
        let (code, reason) = (codes::NO_RECEIVER, String::new());
        let rejected = Verdict::Rejected(Rejection { code, reason });
        assert!(pair.events[OPENER].contains(&verdict(1, rejected)));
    });
}

#[test]
fn modes_do_not_mix() {
    // [FRAME-12]
    against_receiver(
        &Config::new().channel(ReceiveChannel::new("main")),
        |peer| {
            let refused = peer
                .link
                .send(peer.now, MAIN, &b"x"[..], None)
                .map_err(|e| e.why);
            assert_eq!(refused, Err(SendError::ReceiveMode));
        },
    );
    against_sender(&Config::default(), |peer| {
        assert_eq!(peer.link.take(peer.now, MAIN), Err(ReceiveError::SendMode));
        assert_eq!(
            peer.link.abandon(peer.now, MAIN),
            Err(ReceiveError::SendMode)
        );
    });
}
