//! Closing a link whose connection is lost meanwhile, or was before.

use core::time::Duration;

use countersign_core::{
    CloseMode, CloseReason, Config, Disconnect, EndReason, Event, LinkState, Loss, Output,
    PeerMisbehaved, ReceiveChannel, Role, SendChannel, SendError, SessionLoss, Verdict,
    VerdictKind, close as codes,
};

use crate::common::bytes::{
    Entry, Greeting, ack, close, coded, done, first, message, skip, withdrawing,
};
use crate::common::pair::{ACCEPTOR, OPENER, Pair, lasting};
use crate::common::peer::{MAIN, Peer, against_lasting, closed};

const BY_US: EndReason = EndReason::closed(true);
const BY_PEER: EndReason = EndReason::closed(false);
const CLOSE_LIST: PeerMisbehaved = PeerMisbehaved::CloseList;

fn sender() -> Config {
    Config::new().channel(SendChannel::new("main").in_flight(2))
}

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// A sender with two messages on the wire and one that waits, whose connection was lost.
fn three(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, &sender(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        for payload in [b"1", b"2", b"3"] {
            peer.send(payload);
        }
        peer.say();
        peer.lose();
        peer.events();
        script(peer);
    });
}

fn counts(peer: &Peer) -> [u64; 3] {
    let verdicts = peer.link.report()[0].verdicts;
    let kinds = [
        VerdictKind::Handled,
        VerdictKind::Unknown,
        VerdictKind::Withdrawn,
    ];
    kinds.map(|kind| verdicts[kind])
}

/// The peer does its part of a close, and the connection ends.
fn withdrawn() -> CloseReason {
    CloseReason::new(codes::WITHDRAWN, "")
}

fn finishes(peer: &mut Peer) {
    finishes_saying(peer, CloseReason::ALL_WELL);
}

fn finishes_saying(peer: &mut Peer, said: CloseReason) {
    peer.takes(&[close(&[]), done()].concat());
    peer.say();
    assert!(peer.ended, "{:?}", peer.link.state());
    peer.link.handle_eof(peer.now);
    let expected = closed(true, said, CloseReason::ALL_WELL);
    assert_eq!(peer.link.end_reason(), Some(&expected));
}

#[test]
fn close_and_done_are_said_again() {
    // [RECLOSE-1] CLOSE names the same numbers, however often it is said.
    three(|peer| {
        assert_eq!(
            peer.resumes([0, 0, 0]),
            [message(0, 1, b"1"), message(0, 2, b"2")].concat()
        );
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), close(&[(0, 3)]));
        for _ in 0..3 {
            peer.lose();
            let rest = [message(0, 2, b"2"), message(0, 3, b"3")].concat();
            assert_eq!(peer.resumes([1, 1, 0]), [close(&[(0, 3)]), rest].concat());
        }
        peer.takes(&[close(&[]), ack(0, 3)].concat());
        assert_eq!(peer.say(), done());
        // So is DONE, when CLOSE has come again.
        for _ in 0..3 {
            peer.lose();
            assert_eq!(peer.resumes([3, 3, 0]), close(&[(0, 3)]));
            peer.takes(&close(&[]));
            assert_eq!(peer.say(), done());
        }
        peer.takes(&done());
        assert_eq!(peer.say(), []);
        assert!(peer.ended);
        assert_eq!(counts(peer), [3, 0, 0]);
    });
    // The last of the named numbers will not come after all, again and again.
    three(|peer| {
        peer.resumes([2, 2, 0]);
        peer.takes(&ack(0, 3));
        let soon = peer.now + Duration::from_millis(1);
        peer.link
            .send(peer.now, MAIN, &b"4"[..], Some(soon))
            .expect("accepted");
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        peer.lose();
        peer.sleep(Duration::from_secs(1));
        for _ in 0..2 {
            let said = peer.resumes([3, 3, 0]);
            let answer = peer.answer_to_welcome();
            assert_eq!(said, [answer, close(&[(0, 4)]), skip(0, 4)].concat());
            peer.lose();
        }
        let said = peer.resumes([4, 4, 0]);
        assert_eq!(said, [peer.answer_to_welcome(), close(&[(0, 4)])].concat());
        finishes(peer);
    });
}

#[test]
fn a_peer_says_the_same_again_too() {
    // [RECLOSE-1] [CLOSE-5]
    let closing = |script: &dyn Fn(&mut Peer)| {
        against_lasting(Role::Acceptor, &receiver(), |peer| {
            peer.hello(&[Entry::send("main")]);
            peer.takes(&[message(0, 1, b"1"), close(&[(0, 3)])].concat());
            assert!(peer.events().contains(&Event::PeerClosing));
            assert_eq!(peer.say(), close(&[]));
            peer.lose();
            assert_eq!(peer.returns(), ([0, 1, 0], close(&[])));
            script(peer);
        });
    };
    for other in [1, 2, 4] {
        closing(&|peer| peer.refuses(&close(&[(0, other)]), CLOSE_LIST, 5));
    }
    let after = PeerMisbehaved::AfterClose;
    closing(&|peer| peer.refuses(&[close(&[(0, 3)]), close(&[(0, 3)])].concat(), after, 5));
    // What it named holds before it is said again,
    closing(&|peer| peer.refuses(&skip(0, 4), after, 5));
    closing(&|peer| {
        peer.takes(&[message(0, 2, b"2"), message(0, 3, b"3")].concat());
        peer.refuses(&message(0, 4, b"4"), after, 5);
    });
    // but DONE needs it on this connection.
    closing(&|peer| {
        peer.takes(&[message(0, 2, b"2"), message(0, 3, b"3")].concat());
        while peer.take().is_some() {}
        assert_eq!(peer.say(), ack(0, 3));
        peer.refuses(&done(), PeerMisbehaved::DoneTooEarly, 5);
    });
    closing(&|peer| {
        peer.takes(&[message(0, 2, b"2"), close(&[(0, 3)]), skip(0, 3)].concat());
        while peer.take().is_some() {}
        assert_eq!(peer.say(), [ack(0, 3), done()].concat());
        peer.takes(&done());
        peer.say();
        assert!(peer.ended);
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
        // The application was notified once.
        assert!(!peer.events().contains(&Event::PeerClosing));
    });
}

#[test]
fn a_close_while_offline_waits_for_the_next_connection() {
    // [RECLOSE-6] [CLOSE-4]
    three(|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.events(), []);
        let refused = peer
            .link
            .send(peer.now, MAIN, &b"4"[..], None)
            .map_err(|e| e.why);
        assert_eq!(refused, Err(SendError::Closing));
        let said = peer.resumes([1, 1, 0]);
        let rest = [message(0, 2, b"2"), message(0, 3, b"3")].concat();
        assert_eq!(said, [close(&[(0, 3)]), rest].concat());
        peer.takes(&ack(0, 3));
        finishes(peer);
        assert_eq!(counts(peer), [3, 0, 0]);
    });
    // [CLOSE-2] Withdrawing: what was begun goes out again all the same.
    three(|peer| {
        peer.link.close(peer.now, CloseMode::Withdraw);
        let (channel, sequence) = (MAIN, 3);
        let verdict = Verdict::Withdrawn;
        let told = Event::Verdict {
            channel,
            sequence,
            verdict,
        };
        assert_eq!(peer.events(), [told]);
        let said = peer.resumes([0, 1, 0]);
        assert_eq!(said, [withdrawing(&[(0, 2)]), message(0, 2, b"2")].concat());
        peer.takes(&ack(0, 2));
        finishes_saying(peer, withdrawn());
        assert_eq!(counts(peer), [2, 0, 1]);
    });
    // A second thought, on the next connection.
    three(|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        peer.connect();
        peer.link.close(peer.now, CloseMode::Withdraw);
        peer.say();
        let entry = Entry::receive("main").having([0, 0, 0]);
        peer.hear(&Greeting::resumed(&[entry]).bytes());
        // What the peer turns out not to have is not begun, and can be withdrawn too.
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), withdrawing(&[(0, 0)]));
        finishes_saying(peer, withdrawn());
        assert_eq!(counts(peer), [0, 0, 3]);
    });
}

#[test]
fn a_close_while_offline_has_its_time() {
    // [RECLOSE-6] [CLOSE-12] [VERDICT-5]
    let micro = Duration::from_micros(1);
    let timeouts = Duration::from_secs(10);
    three(|peer| {
        let asked = peer.now;
        peer.link.close(peer.now, CloseMode::Drain);
        // An attempt that fails, and asking again, give it no more.
        peer.connect();
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        peer.link.close(peer.now, CloseMode::Drain);
        while peer.link.wants_connect() || peer.link.poll_deadline() < Some(asked + timeouts) {
            if peer.link.wants_connect() {
                peer.link.handle_lost(peer.now, Disconnect::Transport);
            } else {
                peer.sleep_to_deadline();
            }
        }
        assert_eq!(peer.link.poll_deadline(), Some(asked + timeouts));
        peer.sleep(timeouts - peer.now.saturating_since(asked) - micro);
        assert_ne!(peer.link.state(), LinkState::Ended);
        peer.sleep(micro);
        let expected = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(peer.link.end_reason(), Some(&expected));
        assert_eq!(counts(peer), [0, 2, 1]);
        assert_eq!(peer.link.poll_deadline(), None);
    });
    // One that was under way goes on counting where it was.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        peer.sleep(timeouts / 2);
        peer.lose();
        peer.sleep(timeouts / 4);
        assert_eq!(peer.returns().1, close(&[]));
        peer.sleep(timeouts / 4 - micro);
        assert_eq!(peer.link.state(), LinkState::Closing);
        peer.sleep(micro);
        let expected = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    // What moves gives it time again.
    three(|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        peer.sleep(timeouts / 2);
        peer.resumes([0, 0, 0]);
        for handled in 1..=3 {
            peer.sleep(timeouts - micro);
            peer.takes(&ack(0, handled));
            peer.say();
        }
        finishes(peer);
    });
}

#[test]
fn an_unfinished_message_is_finished_by_a_close() {
    // [RECLOSE-1] [RESUME-10]
    against_lasting(Role::Opener, &Config::default(), |peer| {
        let mut entry = Entry::receive("main");
        entry.window_bytes = 1000;
        peer.welcome(&[entry]);
        peer.send(&[1; 1500]);
        assert_eq!(peer.say(), first(0, 1, 1500, &[1; 1000]));
        peer.lose();
        peer.link.close(peer.now, CloseMode::Withdraw);
        let said = peer.resumes([0, 0, 1000]);
        assert_eq!(said[..24], close(&[(0, 1)]));
        assert_eq!(said.len(), 24 + 12 + 500);
        peer.takes(&ack(0, 1));
        finishes(peer);
    });
}

fn reasons(pair: &Pair) -> [Option<&EndReason>; 2] {
    [pair.ends[0].end_reason(), pair.ends[1].end_reason()]
}

#[test]
fn either_end_may_close_while_offline_in_either_mode() {
    // [RECLOSE-1] [CLOSE-2] [CLOSE-11]
    for mode in [CloseMode::DrainBoth, CloseMode::Drain, CloseMode::Withdraw] {
        for closers in [&[OPENER][..], &[ACCEPTOR], &[OPENER, ACCEPTOR]] {
            lasting(&sender(), &receiver(), |pair| {
                for payload in [b"1", b"2", b"3", b"4"] {
                    pair.send(OPENER, MAIN, payload);
                }
                pair.run();
                pair.cut();
                for end in closers {
                    pair.ends[*end].close(pair.now, mode);
                }
                pair.reconnect();
                loop {
                    pair.run();
                    if pair.take_all(ACCEPTOR, MAIN).is_empty() {
                        break;
                    }
                }
                let ours = closers.contains(&OPENER);
                let theirs = closers.contains(&ACCEPTOR);
                let said = match ours && mode == CloseMode::Withdraw {
                    true => withdrawn(),
                    false => CloseReason::ALL_WELL,
                };
                let expected = [
                    closed(ours, said.clone(), CloseReason::ALL_WELL),
                    closed(theirs, CloseReason::ALL_WELL, said),
                ];
                assert_eq!(reasons(pair), expected.each_ref().map(Some));
                let drains = ours && mode != CloseMode::Withdraw;
                let taken = !theirs || mode == CloseMode::DrainBoth;
                let (arrive, counts) = (
                    if drains { 4 } else { 2 },
                    pair.ends[OPENER].report()[0].verdicts,
                );
                let kind = match taken {
                    true => VerdictKind::Handled,
                    false => VerdictKind::Rejected,
                };
                assert_eq!(counts[kind], arrive);
                assert_eq!(counts[VerdictKind::Withdrawn], 4 - arrive);
                assert_eq!(counts.total(), 4);
                // The peer's events say so, once.
                for (end, asked) in [(OPENER, ours), (ACCEPTOR, theirs)] {
                    let told = pair.events[end].iter();
                    let told = told.filter(|event| **event == Event::PeerClosing).count();
                    assert_eq!(told, usize::from(!asked));
                }
            });
        }
    }
}

#[test]
fn a_close_goes_through_however_often_it_is_cut() {
    // [RECLOSE-1] [VERDICT-1] Cut behind every poll of output, at either end.
    for closer in [OPENER, ACCEPTOR] {
        for lost in [OPENER, ACCEPTOR] {
            lasting(&sender(), &receiver(), |pair| {
                for payload in [b"1", b"2", b"3", b"4"] {
                    pair.send(OPENER, MAIN, payload);
                }
                pair.run();
                pair.ends[closer].close(pair.now, CloseMode::Drain);
                let over = |state| matches!(state, LinkState::Finishing | LinkState::Ended);
                for _ in 0..10 {
                    pair.take_all(ACCEPTOR, MAIN);
                    pair.lose_output(lost);
                    pair.cut();
                    if pair.lives().into_iter().any(over) {
                        break;
                    }
                    pair.reconnect();
                    pair.run();
                }
                if !over(pair.lives()[OPENER]) {
                    pair.come_back();
                    pair.run();
                }
                pair.pass(Duration::from_secs(60));
                let counts = pair.ends[OPENER].report()[0].verdicts;
                assert_eq!(counts.total(), 4);
                assert_eq!(counts[VerdictKind::Unknown], 0);
                let [opener, acceptor] = reasons(pair).map(Option::unwrap);
                assert!(opener.is_orderly(), "{opener}");
                // The peer does not return to an acceptor that only waits for the last word.
                let slow = EndReason::Lost(Loss::CloseTooSlow);
                assert!(acceptor.is_orderly() || *acceptor == slow, "{acceptor}");
            });
        }
    }
}

#[test]
fn who_said_done_has_closed_in_order() {
    // [RECLOSE-3] [RECLOSE-2] [RECLOSE-5] The acceptor is gone, and all verdicts with it.
    for outcome in [2, 3] {
        against_lasting(Role::Opener, &sender(), |peer| {
            peer.welcome(&[Entry::receive("main")]);
            peer.send(b"1");
            peer.link.close(peer.now, CloseMode::Drain);
            peer.say();
            peer.takes(&[ack(0, 1), close(&[])].concat());
            assert_eq!(peer.say(), done());
            peer.events();
            peer.lose();
            let entry = Entry::receive("main").having([1, 0, 0]);
            peer.return_to(&Greeting::anew(outcome, &[entry]));
            // The new session is closed before it has begun.
            assert_eq!(peer.say(), close(&[(0, 0)]));
            let events = peer.events();
            let lost = |event: &Event| matches!(event, Event::SessionLost(_));
            assert!(!events.iter().any(lost), "{events:?}");
            finishes(peer);
            assert_eq!(counts(peer), [1, 0, 0]);
        });
    }
    // An end that had not said DONE loses what has no verdict, and closes the new session.
    three(|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        let entry = Entry::receive("main").having([1, 0, 0]);
        peer.return_to(&Greeting::anew(3, &[entry]));
        assert_eq!(peer.say(), close(&[(0, 0)]));
        let lost = Event::SessionLost(SessionLoss::TooOld);
        assert!(peer.events().contains(&lost));
        assert_eq!(counts(peer), [1, 1, 1]);
        finishes(peer);
    });
}

#[test]
fn the_session_that_nobody_wanted_is_closed_at_once() {
    // [RECLOSE-3] [RECLOSE-5] Both ends are real, and the acceptor's DONE is lost.
    lasting(&sender(), &receiver(), |pair| {
        pair.send(OPENER, MAIN, b"1");
        pair.run();
        pair.take_all(ACCEPTOR, MAIN);
        pair.run();
        pair.ends[OPENER].close(pair.now, CloseMode::Drain);
        // The acceptor's CLOSE arrives without its DONE, and the opener's DONE goes out.
        for (from, most) in [(OPENER, 1024), (ACCEPTOR, 14), (OPENER, 1024)] {
            let mut buffer = [0; 1024];
            let output = pair.ends[from].poll_output(pair.now, &mut buffer);
            let Output::Written(length) = output else {
                panic!("{output:?}");
            };
            pair.ends[1 - from].handle_input(pair.now, &buffer[..length.min(most)]);
        }
        assert_eq!(pair.lives(), [LinkState::Closing, LinkState::Finishing]);
        pair.cut();
        assert_eq!(reasons(pair), [None, Some(&BY_PEER)]);
        pair.come_back();
        assert_eq!(pair.lives()[ACCEPTOR], LinkState::Open);
        pair.run();
        assert_eq!(reasons(pair), [Some(&BY_US), Some(&BY_PEER)]);
        let lost = |event: &Event| matches!(event, Event::SessionLost(_));
        assert!(!pair.events[OPENER].iter().any(lost));
        let counts = pair.ends[OPENER].report()[0].verdicts;
        assert_eq!((counts.total(), counts[VerdictKind::Handled]), (1, 1));
    });
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        // What the acceptor sees of it.
        let hello = Greeting::naming([5; 16], &[Entry::send("main")]);
        peer.hear(&hello.bytes());
        assert_eq!(peer.say()[16], 2);
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(peer.say(), [close(&[]), done()].concat());
        assert_eq!(peer.events(), [Event::Connected, Event::PeerClosing]);
        peer.takes(&done());
        peer.say();
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
    });
}

fn abort(peer: &mut Peer) {
    peer.hear(&coded(0x32, 0, 4, b"why"));
    let text = "why".to_owned();
    let expected = EndReason::AccusedByPeer { code: 4, text };
    assert_eq!(peer.link.end_reason(), Some(&expected));
}

#[test]
fn a_violation_ends_the_session() {
    // [RECLOSE-4] [ABORT-3] [ABORT-5] An accused opener.
    three(|peer| {
        peer.resumes([0, 0, 0]);
        abort(peer);
        assert_eq!(counts(peer), [0, 2, 1]);
        assert_eq!(peer.say(), []);
        assert!(peer.link.handle_opened(peer.now).is_err());
        assert!(!peer.link.wants_connect());
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.poll_deadline(), None);
    });
    // An opener that accuses.
    three(|peer| {
        peer.resumes([0, 0, 0]);
        peer.refuses(&ack(0, 9), PeerMisbehaved::AckedTooMuch, 4);
        assert!(peer.link.handle_opened(peer.now).is_err());
    });
    // and an acceptor alike.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.lose();
        peer.returns();
        abort(peer);
        assert!(peer.link.handle_opened(peer.now).is_err());
    });
    // The session no longer exists for a peer that returns to it.
    lasting(&sender(), &receiver(), |pair| {
        pair.run();
        let now = pair.now;
        pair.ends[ACCEPTOR].handle_input(now, &coded(0x32, 0, 4, b""));
        pair.come_back();
        pair.run();
        let lost = Event::SessionLost(SessionLoss::TooOld);
        assert!(pair.events[OPENER].contains(&lost));
    });
}
