//! Close.

use core::time::Duration;

use countersign_core::{
    CloseMode, CloseReason, Config, EndReason, Event, LinkState, Loss, PeerMisbehaved,
    ReceiveChannel, Role, SendChannel, SendError, Timeouts, Verdict, VerdictKind, close as codes,
};

use crate::common::bytes::{
    Entry, ack, close, coded, done, first, message, next, noted, number, pong, reject, skip,
    withdrawing,
};
use crate::common::pair::{ACCEPTOR, OPENER, Pair, paired};
use crate::common::peer::{MAIN, Peer, against, against_receiver, against_sender, closed};

const BY_US: EndReason = EndReason::closed(true);
const BY_PEER: EndReason = EndReason::closed(false);

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn slow_sender() -> Config {
    Config::new().channel(SendChannel::new("main").in_flight(1))
}

fn reasons(pair: &Pair) -> [Option<&EndReason>; 2] {
    [pair.ends[0].end_reason(), pair.ends[1].end_reason()]
}

#[test]
fn close_names_the_last_number_of_every_channel() {
    // [CLOSE-1] [CLOSE-4]
    let two = Config::new()
        .channel(SendChannel::new("a").in_flight(1))
        .channel(ReceiveChannel::new("b"))
        .channel(SendChannel::new("c"));
    against(Role::Opener, &two, |peer| {
        peer.welcome(&[Entry::receive("a"), Entry::send("b"), Entry::receive("c")]);
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), close(&[(0, 2), (2, 0)]));
        let refused = peer
            .link
            .send(peer.now, MAIN, &b"3"[..], None)
            .map_err(|e| e.why);
        assert_eq!(refused, Err(SendError::Closing));
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), message(0, 2, b"2"));
    });
    // An end that learns of a close answers with its own.
    against_sender(&Config::default(), |peer| {
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), [close(&[(0, 0)]), done()].concat());
    });
}

#[test]
fn whoever_hears_of_a_close_withdraws() {
    // [CLOSE-2]
    against_sender(&slow_sender(), |peer| {
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.takes(&close(&[]));
        let (channel, sequence) = (MAIN, 2);
        let verdict = Verdict::Withdrawn;
        let told = Event::Verdict {
            channel,
            sequence,
            verdict,
        };
        assert_eq!(peer.events(), [Event::PeerClosing, told]);
        assert_eq!(peer.say(), close(&[(0, 1)]));
    });
    // What is begun is finished.
    against(Role::Opener, &Config::default(), |peer| {
        let mut entry = Entry::receive("main");
        entry.window_bytes = 2000;
        peer.welcome(&[entry]);
        peer.send(&[1; 1000]);
        peer.send(&[2; 1500]);
        let half = first(0, 2, 1500, &[2; 1000]);
        assert_eq!(peer.say(), [message(0, 1, &[1; 1000]), half].concat());
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), close(&[(0, 2)]));
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), next(0, 2, true, &[2; 500]));
        peer.takes(&ack(0, 2));
        assert_eq!(peer.say(), done());
    });
    against_sender(&slow_sender(), |peer| {
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), withdrawing(&[(0, 1)]));
    });
    // A second thought counts, before CLOSE is written
    against_sender(&slow_sender(), |peer| {
        peer.send(b"1");
        peer.link.close(peer.now, CloseMode::Drain);
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), withdrawing(&[(0, 0)]));
    });
    // [CLOSE-4] [CLOSE-6] and after it.
    against_sender(&slow_sender(), |peer| {
        peer.send(b"1");
        peer.send(b"2");
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), [close(&[(0, 2)]), message(0, 1, b"1")].concat());
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), [withdrawing(&[(0, 2)]), skip(0, 2)].concat());
    });
}

#[test]
fn close_lists_are_complete_and_true() {
    // [CLOSE-3]
    let config = Config::new()
        .channel(ReceiveChannel::new("main"))
        .channel(ReceiveChannel::new("b"))
        .channel(SendChannel::new("c"));
    let judged = |list: &[(u16, u64)], expected: Option<(PeerMisbehaved, u8)>| {
        against(Role::Acceptor, &config, |peer| {
            peer.hello(&[Entry::send("main"), Entry::send("b"), Entry::receive("c")]);
            peer.takes(&[message(0, 1, b"x"), first(0, 2, 2, b"y"), skip(1, 5)].concat());
            match expected {
                Some((of, code)) => peer.refuses(&close(list), of, code),
                None => peer.takes(&close(list)),
            }
        });
    };
    let wrong = Some((PeerMisbehaved::CloseList, 5));
    judged(&[(0, 2), (1, 5)], None);
    judged(&[(1, 9), (0, 3)], None);
    judged(&[(0, 1), (1, 5)], wrong);
    judged(&[(0, 2), (1, 4)], wrong);
    judged(&[(0, 2)], wrong);
    judged(&[(0, 2), (0, 2)], wrong);
    judged(&[(0, 2), (1, 5), (2, 0)], wrong);
    judged(
        &[(0, 2), (2, 0)],
        Some((PeerMisbehaved::WrongDirection(2), 4)),
    );
    judged(
        &[(0, 2), (3, 0)],
        Some((PeerMisbehaved::UnknownChannel(3), 4)),
    );
    // More than a link can have, in a body that holds them.
    against_receiver(&receiver(), |peer| {
        let mut body = vec![0, 0, 0, 0, 0, 65];
        body.extend([0; 650]);
        let bytes = crate::common::bytes::frame(0x30, 0, 0, &body);
        peer.refuses(&bytes, PeerMisbehaved::CloseList, 5);
    });
}

#[test]
fn nothing_comes_behind_the_named_number() {
    // [CLOSE-5]
    let after = PeerMisbehaved::AfterClose;
    for bytes in [
        message(0, 2, b"y"),
        first(0, 2, 2, b"y"),
        skip(0, 2),
        close(&[(0, 1)]),
    ] {
        against_receiver(&receiver(), |peer| {
            peer.takes(&close(&[(0, 1)]));
            peer.takes(&message(0, 1, b"x"));
            peer.refuses(&bytes, after, 5);
        });
    }
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 3)]));
        peer.takes(&message(0, 1, b"x"));
        peer.takes(&skip(0, 3));
    });
}

#[test]
fn done_waits_for_everything() {
    // [CLOSE-7]
    let manual = Config::new().channel(ReceiveChannel::new("main").manual());
    against_receiver(&manual, |peer| {
        peer.takes(&[message(0, 1, b"x"), message(0, 2, b"y")].concat());
        peer.link.close(peer.now, CloseMode::DrainBoth);
        assert_eq!(peer.say(), close(&[]));
        peer.takes(&close(&[(0, 2)]));
        assert_eq!(peer.say(), []);
        peer.take();
        peer.take();
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        assert_eq!(peer.say(), ack(0, 1));
        peer.link.reject(peer.now, MAIN, 2, 1, "").expect("taken");
        assert_eq!(peer.say(), reject(0, 2, 1, ""));
        peer.takes(&noted(0, 2));
        assert_eq!(peer.say(), [ack(0, 2), done()].concat());
    });
    against_sender(&Config::default(), |peer| {
        peer.send(b"x");
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), [close(&[(0, 1)]), message(0, 1, b"x")].concat());
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), []);
        peer.takes(&reject(0, 1, 1, ""));
        assert_eq!(peer.say(), noted(0, 1));
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), done());
    });
}

#[test]
fn done_too_early_is_a_violation() {
    // [CLOSE-8]
    let early = PeerMisbehaved::DoneTooEarly;
    against_sender(&Config::default(), |peer| {
        peer.refuses(&done(), early, 5);
    });
    against_sender(&Config::default(), |peer| {
        // The peer can't have seen our CLOSE.
        peer.refuses(&[close(&[]), done()].concat(), early, 5);
    });
    against_sender(&Config::default(), |peer| {
        peer.send(b"x");
        peer.say();
        peer.takes(&close(&[]));
        peer.say();
        peer.refuses(&done(), early, 5);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.takes(&close(&[(0, 1)]));
        peer.say();
        peer.refuses(&done(), early, 5);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 1)]));
        peer.say();
        peer.refuses(&done(), early, 5);
    });
}

/// A receiver that has heard DONE and not said it.
fn peer_is_done(peer: &mut Peer) {
    peer.takes(&close(&[(0, 0)]));
    let mut buffer = [0; 14];
    // Room for CLOSE and for nothing else.
    assert_eq!(
        peer.link.poll_output(peer.now, &mut buffer),
        countersign_core::Output::Written(14)
    );
    peer.takes(&done());
}

#[test]
fn only_signs_of_life_follow_done() {
    // [CLOSE-9]
    for bytes in [
        ack(0, 0),
        message(0, 1, b"x"),
        skip(0, 1),
        done(),
        close(&[(0, 0)]),
    ] {
        against_receiver(&receiver(), |peer| {
            peer_is_done(peer);
            peer.refuses(&bytes, PeerMisbehaved::AfterClose, 5);
        });
    }
    against_receiver(&receiver(), |peer| {
        peer_is_done(peer);
        peer.takes(&[number(0x20, 0, 4), pong(5, 6, 7)].concat());
        assert_eq!(peer.say(), [peer.answer_to_ping(4), done()].concat());
        assert_eq!(peer.link.state(), LinkState::Finishing);
    });
    against_receiver(&receiver(), |peer| {
        peer_is_done(peer);
        peer.hear(&coded(0x32, 0, 3, b""));
        let (code, text) = (3, String::new());
        let expected = EndReason::AccusedByPeer { code, text };
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}

#[test]
fn after_both_dones_the_connection_is_read_to_its_end() {
    // [CLOSE-10]
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(peer.say(), [close(&[]), done()].concat());
        assert!(!peer.ended, "the peer is not done");
        // Whatever is behind DONE is ignored, in one piece with it or not.
        peer.hear(&[done(), message(0, 9, b"?"), vec![0xFF; 9]].concat());
        assert_eq!(peer.link.state(), LinkState::Finishing);
        peer.hear(&[0xFF; 9]);
        assert_eq!(peer.say(), []);
        assert!(peer.ended && peer.link.wants_connection());
        assert_eq!(peer.events(), [Event::PeerClosing]);
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
        assert!(!peer.link.wants_connection());
        assert_eq!(peer.events(), [Event::Ended]);
    });
    // A peer that never ends its direction does not hold the link open.
    against_receiver(&receiver(), |peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(peer.say(), done());
        peer.takes(&done());
        peer.say();
        assert_eq!(
            peer.link.poll_deadline(),
            Some(peer.now + Duration::from_secs(2))
        );
        peer.sleep_to_deadline();
        assert_eq!(peer.link.end_reason(), Some(&BY_US));
    });
}

#[test]
fn either_end_or_both_close() {
    // [CLOSE-10] [CLOSE-11]
    for closing in [&[OPENER][..], &[ACCEPTOR], &[OPENER, ACCEPTOR]] {
        paired(&slow_sender(), &receiver(), |pair| {
            pair.run();
            for _ in 0..100 {
                pair.send(OPENER, MAIN, b"busy");
            }
            for end in closing {
                pair.ends[*end].close(pair.now, CloseMode::DrainBoth);
            }
            while pair.lives() != [LinkState::Ended; 2] {
                pair.run();
                pair.take_all(ACCEPTOR, MAIN);
                pair.pass(Duration::from_millis(1));
            }
            let by = |end| EndReason::closed(closing.contains(&end));
            let expected = [by(OPENER), by(ACCEPTOR)];
            assert_eq!(reasons(pair), expected.each_ref().map(Some));
            let report = pair.ends[OPENER].report()[0].verdicts;
            let handled = if closing.contains(&OPENER) { 100 } else { 1 };
            assert_eq!(report[VerdictKind::Handled], handled);
            assert_eq!(report[VerdictKind::Withdrawn], 100 - handled);
            for events in &pair.events {
                assert_eq!(events.last(), Some(&Event::Ended));
            }
        });
    }
}

#[test]
fn both_close_with_messages_both_ways() {
    // [CLOSE-4] [CLOSE-11]
    let sending = |name| SendChannel::new(name).in_flight(1);
    let opener = Config::new()
        .channel(sending("there"))
        .channel(ReceiveChannel::new("back"));
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("there"))
        .channel(sending("back"));
    paired(&opener, &acceptor, |pair| {
        pair.run();
        let back = pair.ends[ACCEPTOR].channel_id("back").expect("declared");
        for _ in 0..10 {
            pair.send(OPENER, MAIN, b"there");
            pair.send(ACCEPTOR, back, b"back");
        }
        for end in &mut pair.ends {
            end.close(pair.now, CloseMode::DrainBoth);
        }
        let mut taken = 0;
        while pair.lives() != [LinkState::Ended; 2] {
            pair.run();
            taken += pair.take_all(ACCEPTOR, MAIN).len() + pair.take_all(OPENER, back).len();
        }
        assert_eq!(taken, 20);
        assert_eq!(reasons(pair), [Some(&BY_US); 2]);
    });
}

#[test]
fn a_close_has_its_time() {
    // [CLOSE-12]
    paired(&Config::default(), &receiver(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, b"never taken");
        pair.run();
        pair.ends[OPENER].close(pair.now, CloseMode::Drain);
        pair.pass(Duration::from_secs(10) - Duration::from_micros(1));
        assert_eq!(reasons(pair), [None; 2]);
        pair.sleep();
        let late = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(reasons(pair)[OPENER], Some(&late));
        pair.run();
        let (channel, sequence) = (MAIN, 1);
        let verdict = Verdict::Unknown;
        let told = Event::Verdict {
            channel,
            sequence,
            verdict,
        };
        assert!(pair.events[OPENER].ends_with(&[told, Event::Ended]));
    });
}

#[test]
fn a_close_that_moves_goes_on() {
    // [CLOSE-12] Each acknowledgement comes just in time; then nothing comes but life.
    let nearly = Duration::from_secs(10) - Duration::from_micros(1);
    let patient = Timeouts {
        ping: Duration::from_secs(60),
        give_up: Duration::from_secs(600),
        ..Timeouts::default()
    };
    against_sender(&Config::default().timeouts(patient), |peer| {
        for _ in 0..3 {
            peer.send(b"slowly handled");
        }
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        for handled in 1..=2 {
            peer.sleep(nearly);
            peer.takes(&ack(0, handled));
            assert_eq!(peer.link.end_reason(), None);
        }
        peer.sleep(nearly);
        peer.takes(&pong(0, 0, 0));
        peer.sleep(Duration::from_micros(1));
        let late = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(peer.link.end_reason(), Some(&late));
    });
}

#[test]
fn the_time_of_a_close_counts_from_the_close() {
    // [CLOSE-12] However long nothing was done before.
    let patient = Timeouts {
        ping: Duration::from_secs(600),
        give_up: Duration::from_secs(700),
        ..Timeouts::default()
    };
    against_sender(&Config::default().timeouts(patient), |peer| {
        let now = peer.now + Duration::from_secs(300);
        peer.link.close(now, CloseMode::Drain);
        let deadline = now + Duration::from_secs(10);
        assert_eq!(peer.link.poll_deadline(), Some(deadline));
    });
}

#[test]
fn a_connection_that_ends_early_is_lost() {
    // [CLOSE-13]
    for closing in [false, true] {
        against_receiver(&receiver(), |peer| {
            if closing {
                peer.takes(&close(&[(0, 0)]));
                peer.say();
            }
            peer.link.handle_eof(peer.now);
            let expected = EndReason::Lost(Loss::PeerLeft);
            assert_eq!(peer.link.end_reason(), Some(&expected));
            assert!(expected.can_retry());
        });
    }
}

#[test]
fn latest_closes_while_it_is_busy() {
    // [CLOSE-4] [CLOSE-7] [VERDICT-1]
    for (closing, mode) in [
        (OPENER, CloseMode::Drain),
        (OPENER, CloseMode::Withdraw),
        (ACCEPTOR, CloseMode::Drain),
    ] {
        let opener = Config::new().channel(SendChannel::new("main").latest());
        paired(&opener, &receiver(), |pair| {
            pair.run();
            for _ in 0..50 {
                pair.send(OPENER, MAIN, b"picture");
            }
            pair.run();
            for _ in 0..49 {
                pair.send(OPENER, MAIN, b"picture");
            }
            let soon = pair.now + Duration::from_millis(1);
            let sent = pair.ends[OPENER].send(pair.now, MAIN, &b"the last"[..], Some(soon));
            assert_eq!(sent, Ok(100));
            pair.ends[closing].close(pair.now, mode);
            pair.run();
            pair.pass(Duration::from_millis(1));
            let taken = pair.take_all(ACCEPTOR, MAIN).len();
            pair.run();
            // The last of them was not sent.
            let ours = match mode {
                CloseMode::Withdraw => CloseReason::new(codes::WITHDRAWN, ""),
                _ => CloseReason::ALL_WELL,
            };
            let expected = [
                closed(closing == OPENER, ours.clone(), CloseReason::ALL_WELL),
                closed(closing == ACCEPTOR, CloseReason::ALL_WELL, ours),
            ];
            assert_eq!(reasons(pair), expected.each_ref().map(Some));
            let report = pair.ends[OPENER].report()[0].verdicts;
            assert_eq!(report.total(), 100);
            assert_eq!(report[VerdictKind::Handled], taken as u64);
            assert_eq!(report[VerdictKind::Unknown], 0);
        });
    }
}
