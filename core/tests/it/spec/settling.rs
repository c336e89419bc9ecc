//! Messages: ACK, REJECT, NOTED.

use core::time::Duration;

use countersign_core::{
    Config, Event, Instant, PeerMisbehaved, ReceiveChannel, ReceiveError, Rejection, SendChannel,
    Timeouts, Verdict,
};

use crate::common::bytes::{ack, first, message, noted, number, reject, skip};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, Peer, against_receiver, against_sender};

fn auto() -> Config {
    Config::new().channel(ReceiveChannel::new("main").window(8, 16 << 20))
}

fn manual() -> Config {
    Config::new().channel(ReceiveChannel::new("main").manual())
}

fn three(peer: &mut Peer) {
    peer.takes(
        &[
            message(0, 1, b"a"),
            message(0, 2, b"b"),
            message(0, 3, b"c"),
        ]
        .concat(),
    );
}

#[test]
fn messages_are_handled_in_any_order_and_acknowledged_in_theirs() {
    // [ACK-1] [ACK-2] [ACK-7]
    against_receiver(&manual(), |peer| {
        three(peer);
        for _ in 0..3 {
            peer.take();
        }
        assert_eq!(peer.say(), [], "taken is not handled");
        peer.link.handle(peer.now, MAIN, 3).expect("taken");
        peer.link.handle(peer.now, MAIN, 2).expect("taken");
        assert_eq!(peer.say(), []);
        assert_eq!(
            peer.link.handle(peer.now, MAIN, 2),
            Err(ReceiveError::NotWaiting)
        );
        assert_eq!(
            peer.link.handle(peer.now, MAIN, 4),
            Err(ReceiveError::NotWaiting)
        );
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        assert_eq!(peer.say(), ack(0, 3));
    });
}

#[test]
fn acks_never_go_back() {
    // [ACK-3]
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.send(b"b");
        peer.say();
        peer.takes(&ack(0, 0));
        peer.takes(&ack(0, 2));
        peer.takes(&ack(0, 2));
        let (channel, first, last) = (MAIN, 1, 2);
        assert_eq!(
            peer.events(),
            [Event::Handled {
                channel,
                first,
                last,
                count: last - first + 1
            }]
        );
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedBackwards, 4);
    });
}

#[test]
fn acks_never_go_ahead() {
    // [ACK-4]
    against_sender(&Config::default(), |peer| {
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        // Accepted, but not sent.
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
    against_sender(&Config::default().frame_limit(512), |peer| {
        peer.send(&[1; 2000]);
        peer.buffer = 512;
        let mut buffer = [0; 512];
        peer.link.poll_output(peer.now, &mut buffer);
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
    // Past a rejected message, before its NOTED went out.
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.say();
        peer.takes(&reject(0, 1, 7, ""));
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.say();
        peer.takes(&reject(0, 1, 7, ""));
        assert_eq!(peer.say(), noted(0, 1));
        peer.takes(&ack(0, 1));
    });
    // Nor when it is owed again: notes that wait for messages that are gone would have no bound.
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.say();
        peer.takes(&reject(0, 1, 7, ""));
        assert_eq!(peer.say(), noted(0, 1));
        peer.takes(&reject(0, 1, 7, ""));
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
}

#[test]
fn acks_go_at_once_when_nothing_is_left() {
    // [ACK-5]
    against_receiver(&auto(), |peer| {
        three(peer);
        peer.take();
        assert_eq!(
            peer.link.poll_deadline(),
            Some(peer.now + Duration::from_millis(1))
        );
        peer.take();
        // Two of eight are a quarter.
        assert_eq!(peer.say(), ack(0, 2));
        peer.take();
        assert_eq!(peer.say(), ack(0, 3));
    });
}

#[test]
fn acks_go_at_once_for_a_quarter_of_the_window() {
    // [ACK-5]
    let channel = ReceiveChannel::new("main")
        .max_message(400)
        .window(1000, 400);
    against_receiver(&Config::new().channel(channel), |peer| {
        peer.takes(&message(0, 1, &[1; 99]));
        peer.takes(&message(0, 2, &[1; 1]));
        peer.takes(&message(0, 3, &[1; 1]));
        peer.take();
        assert_eq!(peer.say(), [], "99 of 400 bytes");
        peer.take();
        assert_eq!(peer.say(), ack(0, 2), "100 of 400 bytes");
    });
    let channel = ReceiveChannel::new("main").window(100, 16 << 20);
    against_receiver(&Config::new().channel(channel), |peer| {
        for at in 1..=30 {
            peer.takes(&message(0, at, b""));
        }
        for _ in 0..24 {
            peer.take();
        }
        assert_eq!(peer.say(), []);
        peer.take();
        assert_eq!(peer.say(), ack(0, 25));
    });
    // What waits when CLOSE comes waits no longer.
    against_receiver(&auto(), |peer| {
        peer.link
            .close(peer.now, countersign_core::CloseMode::DrainBoth);
        peer.say();
        three(peer);
        peer.take();
        assert_eq!(peer.say(), []);
        peer.takes(&crate::common::bytes::close(&[(0, 3)]));
        assert_eq!(peer.say(), ack(0, 1));
    });
    // From CLOSE on nothing waits.
    against_receiver(&auto(), |peer| {
        three(peer);
        peer.takes(&crate::common::bytes::close(&[(0, 3)]));
        peer.say();
        peer.take();
        assert_eq!(peer.say(), ack(0, 1));
    });
}

#[test]
fn other_acks_wait_for_company_or_their_delay() {
    // [ACK-6]
    let timeouts = Timeouts {
        ack_delay: Duration::from_millis(7),
        ..Timeouts::default()
    };
    against_receiver(&auto().timeouts(timeouts), |peer| {
        three(peer);
        peer.take();
        assert_eq!(peer.say(), []);
        peer.sleep(Duration::from_millis(6));
        assert_eq!(peer.say(), []);
        peer.sleep_to_deadline();
        assert_eq!(peer.now, Instant::from_micros(1_007_000));
        assert_eq!(peer.say(), ack(0, 1));
    });
    against_receiver(&auto(), |peer| {
        three(peer);
        peer.take();
        peer.takes(&number(0x20, 0, 5));
        let answer = peer.answer_to_ping(5);
        assert_eq!(peer.say(), [answer, ack(0, 1)].concat());
    });
}

#[test]
fn a_rejection_holds_the_prefix_until_it_is_noted() {
    // [REJECT-1] [REJECT-3]
    against_receiver(&manual(), |peer| {
        three(peer);
        for _ in 0..3 {
            peer.take();
        }
        peer.link
            .reject(peer.now, MAIN, 2, 42, "not this one")
            .expect("taken");
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        peer.link.handle(peer.now, MAIN, 3).expect("taken");
        let said = peer.say();
        assert_eq!(said, [reject(0, 2, 42, "not this one"), ack(0, 1)].concat());
        assert_eq!(
            peer.link.handle(peer.now, MAIN, 2),
            Err(ReceiveError::NotWaiting)
        );
        peer.takes(&noted(0, 2));
        assert_eq!(peer.say(), ack(0, 3));
    });
    against_receiver(&manual(), |peer| {
        three(peer);
        peer.take();
        peer.link
            .reject(peer.now, MAIN, 1, 1, &"ä".repeat(200))
            .expect("taken");
        assert_eq!(peer.say(), reject(0, 1, 1, &"ä".repeat(128)));
    });
}

#[test]
fn a_sender_notes_rejections() {
    // [REJECT-2] [REJECT-5] [REJECT-7]
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.send(b"b");
        peer.say();
        peer.takes(&reject(0, 1, 0xFFFF_1234, "why not"));
        assert_eq!(peer.say(), noted(0, 1));
        let verdict = Verdict::Rejected(Rejection {
            code: 0xFFFF_1234,
            reason: "why not".to_owned(),
        });
        let (channel, sequence) = (MAIN, 1);
        assert_eq!(
            peer.events(),
            [Event::Verdict {
                channel,
                sequence,
                verdict
            }]
        );
        // Two that wait for one answer get one.
        peer.takes(&reject(0, 1, 0xFFFF_1234, "again"));
        peer.takes(&reject(0, 1, 0xFFFF_1234, "and again"));
        assert_eq!(peer.say(), noted(0, 1));
        assert_eq!(peer.events(), []);
        peer.takes(&ack(0, 2));
        let (first, last) = (1, 2);
        assert_eq!(
            peer.events(),
            [Event::Handled {
                channel,
                first,
                last,
                count: 1
            }]
        );
    });
}

#[test]
fn only_outstanding_messages_can_be_rejected() {
    // [REJECT-4]
    let refused = PeerMisbehaved::NothingToSettle;
    for number in [0, 1, 2] {
        against_sender(&Config::default(), |peer| {
            peer.send(b"a");
            if number != 1 {
                peer.say();
            }
            peer.refuses(&reject(0, number, 0, ""), refused, 4);
        });
    }
    against_sender(&Config::default(), |peer| {
        peer.send(b"a");
        peer.say();
        peer.takes(&ack(0, 1));
        peer.refuses(&reject(0, 1, 0, ""), refused, 4);
    });
    against_sender(&Config::default().frame_limit(512), |peer| {
        peer.send(&[1; 2000]);
        let mut buffer = [0; 512];
        peer.link.poll_output(peer.now, &mut buffer);
        peer.refuses(&reject(0, 1, 0, ""), refused, 4);
    });
}

#[test]
fn only_rejected_messages_can_be_noted() {
    // [REJECT-6]
    let refused = PeerMisbehaved::NothingToSettle;
    against_receiver(&manual(), |peer| {
        three(peer);
        peer.take();
        peer.refuses(&noted(0, 1), refused, 4);
    });
    against_receiver(&manual(), |peer| {
        three(peer);
        peer.take();
        peer.link.reject(peer.now, MAIN, 1, 0, "").expect("taken");
        // The peer can't have heard of it yet.
        peer.refuses(&noted(0, 1), refused, 4);
    });
    against_receiver(&manual(), |peer| {
        three(peer);
        peer.take();
        peer.take();
        peer.link.reject(peer.now, MAIN, 2, 0, "").expect("taken");
        peer.say();
        peer.takes(&noted(0, 2));
        peer.refuses(&noted(0, 2), refused, 4);
    });
}

#[test]
fn a_rejected_message_in_a_stream() {
    // [REJECT-3] [ACK-2]
    let opener = Config::new().channel(SendChannel::new("main"));
    paired(&opener, &manual(), |pair| {
        pair.run();
        for at in 0..4 {
            pair.send(OPENER, MAIN, &[at]);
        }
        pair.run();
        for at in 1..=4 {
            pair.ends[ACCEPTOR]
                .take(pair.now, MAIN)
                .expect("receive mode");
            if at == 2 {
                pair.ends[ACCEPTOR]
                    .reject(pair.now, MAIN, at, 5, "two")
                    .expect("taken");
            } else {
                pair.ends[ACCEPTOR]
                    .handle(pair.now, MAIN, at)
                    .expect("taken");
            }
            pair.pass(Duration::from_millis(10));
        }
        let report = &pair.ends[OPENER].report()[0].verdicts;
        assert_eq!(report.to_string(), "3 handled, 1 rejected");
    });
}

#[test]
fn skips_and_unfinished_messages_do_not_hold_acks_back() {
    // [ACK-1] [ACK-5]
    against_receiver(&auto(), |peer| {
        peer.takes(&[message(0, 1, b"a"), first(0, 2, 9, b"b")].concat());
        peer.take();
        assert_eq!(peer.say(), ack(0, 1));
    });
    against_receiver(&auto(), |peer| {
        peer.takes(&[message(0, 1, b"a"), skip(0, 4)].concat());
        peer.take();
        assert_eq!(peer.say(), ack(0, 4));
    });
}
