//! What becomes of the peer's messages when an application closes, and of a peer that never stops
//! sending.

use core::time::Duration;

use countersign_core::{
    CloseMode, Config, EndReason, LinkState, ReceiveChannel, SendChannel, Verdict, VerdictKind,
    reject as codes,
};

use crate::common::bytes::{ack, close, done, first, message, next, noted, reject};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, against_receiver};

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

const STRICT: [CloseMode; 2] = [CloseMode::Drain, CloseMode::Withdraw];

#[test]
fn what_nobody_takes_is_rejected() {
    // [CLOSE-18] What waits, what arrives in part, and what still comes.
    let no = |number| reject(0, number, codes::NO_RECEIVER, "");
    for mode in STRICT {
        against_receiver(&receiver(), |peer| {
            peer.takes(&[message(0, 1, b"1"), message(0, 2, b"2")].concat());
            assert_eq!(peer.take(), Some((1, b"1".to_vec())));
            peer.say();
            peer.takes(&first(0, 3, 2, b"3"));
            peer.link.close(peer.now, mode);
            assert_eq!(peer.say(), [close(&[]), no(2), ack(0, 1)].concat());
            peer.takes(&next(0, 3, true, b"3"));
            assert_eq!(peer.say(), no(3));
            assert_eq!(peer.take(), None);
            peer.takes(&[close(&[(0, 4)]), message(0, 4, b"4")].concat());
            assert_eq!(peer.say(), no(4));
            peer.takes(&[noted(0, 2), noted(0, 3), noted(0, 4)].concat());
            assert_eq!(peer.say(), [ack(0, 4), done()].concat());
            peer.takes(&done());
            assert_eq!(peer.link.state(), LinkState::Finishing);
        });
    }
}

#[test]
fn draining_both_ways_takes_what_still_comes() {
    // [CLOSE-18]
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"1"));
        peer.link.close(peer.now, CloseMode::DrainBoth);
        assert_eq!(peer.say(), close(&[]));
        peer.takes(&[message(0, 2, b"2"), close(&[(0, 2)])].concat());
        assert_eq!(peer.take(), Some((1, b"1".to_vec())));
        assert_eq!(peer.take(), Some((2, b"2".to_vec())));
        assert_eq!(peer.say(), [ack(0, 2), done()].concat());
    });
    // A second thought can only be stricter.
    for mode in STRICT {
        against_receiver(&receiver(), |peer| {
            peer.takes(&message(0, 1, b"1"));
            peer.link.close(peer.now, CloseMode::DrainBoth);
            peer.say();
            peer.link.close(peer.now, mode);
            peer.link.close(peer.now, CloseMode::DrainBoth);
            assert_eq!(peer.say(), reject(0, 1, codes::NO_RECEIVER, ""));
            peer.takes(&message(0, 2, b"2"));
            assert_eq!(peer.say(), reject(0, 2, codes::NO_RECEIVER, ""));
        });
    }
}

#[test]
fn a_peers_close_rejects_nothing() {
    // [CLOSE-18]
    against_receiver(&receiver(), |peer| {
        peer.takes(&[message(0, 1, b"1"), close(&[(0, 2)])].concat());
        assert_eq!(peer.say(), close(&[]));
        peer.takes(&message(0, 2, b"2"));
        assert_eq!(peer.take(), Some((1, b"1".to_vec())));
        // Until this end's application closes too.
        peer.say();
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), reject(0, 2, codes::NO_RECEIVER, ""));
        peer.takes(&noted(0, 2));
        assert_eq!(peer.say(), [ack(0, 2), done()].concat());
        peer.takes(&done());
        peer.say();
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&EndReason::closed(false)));
    });
}

#[test]
fn what_the_application_has_taken_stays_its_own() {
    // [CLOSE-18] [CLOSE-7]
    let manual = Config::new().channel(ReceiveChannel::new("main").manual());
    against_receiver(&manual, |peer| {
        peer.takes(&[message(0, 1, b"1"), message(0, 2, b"2")].concat());
        peer.take();
        peer.link.close(peer.now, CloseMode::Drain);
        let no = reject(0, 2, codes::NO_RECEIVER, "");
        assert_eq!(peer.say(), [close(&[]), no].concat());
        peer.takes(&[close(&[(0, 2)]), noted(0, 2)].concat());
        assert_eq!(peer.say(), []);
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        assert_eq!(peer.say(), [ack(0, 2), done()].concat());
    });
}

#[test]
fn a_peer_that_never_stops_sending_holds_nothing_up() {
    // [CLOSE-18] [VERDICT-1] No time passes but what the way takes.
    for mode in STRICT {
        for closing in [OPENER, ACCEPTOR] {
            let sends = Config::new().channel(SendChannel::new("main").in_flight(3));
            let (opener, acceptor) = match closing {
                OPENER => (receiver(), sends),
                _ => (sends, receiver()),
            };
            paired(&opener, &acceptor, |pair| {
                pair.run();
                let sending = 1 - closing;
                let mut accepted = 0;
                let mut more = |pair: &mut crate::common::pair::Pair| {
                    while pair.ends[sending]
                        .send(pair.now, MAIN, &b"x"[..], None)
                        .is_ok()
                    {
                        accepted += 1;
                    }
                };
                more(pair);
                pair.run();
                pair.take_all(closing, MAIN);
                pair.run();
                more(pair);
                pair.ends[closing].close(pair.now, mode);
                for _ in 0..10 {
                    more(pair);
                    pair.run();
                }
                assert_eq!(pair.lives(), [LinkState::Ended; 2]);
                for (at, end) in pair.ends.iter().enumerate() {
                    let expected = EndReason::closed(at == closing);
                    assert_eq!(end.end_reason(), Some(&expected));
                }
                let counts = pair.ends[sending].report()[0].verdicts;
                assert_eq!(counts[VerdictKind::Handled], 3);
                assert_eq!(counts[VerdictKind::Rejected], 3);
                let told = pair.events[sending].iter();
                let rejected = told.filter(|event| {
                    matches!(event, countersign_core::Event::Verdict {
                        verdict: Verdict::Rejected(no), ..
                    } if no.code == codes::NO_RECEIVER)
                });
                assert_eq!(rejected.count(), 3);
                assert_eq!(counts[VerdictKind::Withdrawn], accepted - 6);
                assert_eq!(counts.total(), accepted);
            });
        }
    }
}

#[test]
fn a_close_while_offline_rejects_too() {
    // [CLOSE-18] [RECLOSE-6]
    crate::common::pair::lasting(&Config::default(), &receiver(), |pair| {
        pair.send(OPENER, MAIN, b"1");
        pair.run();
        pair.cut();
        pair.ends[ACCEPTOR].close(pair.now, CloseMode::Drain);
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), Vec::<Vec<u8>>::new());
        pair.reconnect();
        pair.run();
        pair.pass(Duration::ZERO);
        assert_eq!(pair.lives(), [LinkState::Ended; 2]);
        let counts = pair.ends[OPENER].report()[0].verdicts;
        assert_eq!(counts[VerdictKind::Rejected], 1);
    });
}
