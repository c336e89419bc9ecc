//! Resumes that are refused: the old session's messages get their verdicts, and a new one begins.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, Config, EndReason, Event, LinkState, Loss, PeerMisbehaved,
    ReceiveChannel, ReceiveError, Role, SendChannel, SessionLoss, Timeouts, Verdict, VerdictKind,
};

use crate::common::bytes::{Entry, Greeting, ack, first, message, reject};
use crate::common::pair::{ACCEPTOR, OPENER, lasting};
use crate::common::peer::{MAIN, Peer, against_lasting};

const NONE: u64 = u64::MAX;

fn sender() -> Config {
    Config::new().channel(SendChannel::new("main").in_flight(4))
}

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// A sender with five messages, one of them acknowledged and one of them not begun, whose
/// connection was lost.
fn five(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, &sender(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        peer.say();
        peer.takes(&ack(0, 1));
        for payload in [b"2", b"3", b"4", b"5"] {
            peer.send(payload);
        }
        peer.say();
        // Begun and not begun.
        peer.send(b"6");
        peer.lose();
        peer.events();
        script(peer);
    });
}

fn anew(outcome: u8, handled: u64) -> Greeting {
    Greeting::anew(outcome, &[Entry::receive("main").having([handled, 0, 0])])
}

fn verdict(sequence: u64, verdict: Verdict) -> Event {
    Event::Verdict {
        channel: MAIN,
        sequence,
        verdict,
    }
}

#[test]
fn every_message_gets_its_verdict_and_a_new_session_begins() {
    // [REFUSED-1] [REFUSED-2] [REFUSED-3] [REFUSED-5]
    for (outcome, why) in [(2, SessionLoss::NotKnown), (3, SessionLoss::TooOld)] {
        for handled in [NONE, 1, 2, 3, 4, 5] {
            five(|peer| {
                peer.return_to(&anew(outcome, handled));
                assert_eq!(peer.link.state(), LinkState::Open);
                assert_eq!(peer.link.session(), [8; 16]);
                assert_eq!(peer.say(), [], "nothing is sent again");
                let last = if handled == NONE { 1 } else { handled };
                let mut expected = vec![verdict(6, Verdict::Withdrawn)];
                let unknown = (last + 1..=5).map(|number| verdict(number, Verdict::Unknown));
                expected.extend(unknown);
                if last > 1 {
                    let (channel, first) = (MAIN, 2);
                    expected.push(Event::Handled {
                        channel,
                        first,
                        last,
                        count: last - first + 1,
                    });
                }
                expected.push(Event::SessionLost(why));
                expected.push(Event::Connected);
                assert_eq!(peer.events(), expected);
                // On the wire numbers begin again, for the application they go on.
                assert_eq!(peer.send(b"new"), 7);
                assert_eq!(peer.say(), message(0, 1, b"new"));
                peer.takes(&ack(0, 1));
                let (channel, first, last) = (MAIN, 7, 7);
                let told = Event::Handled {
                    channel,
                    first,
                    last,
                    count: last - first + 1,
                };
                assert_eq!(peer.events(), [told]);
                // The next connection names the new session.
                peer.lose();
                peer.connect();
                assert_eq!(peer.say()[24..40], [8; 16]);
            });
        }
    }
}

#[test]
fn what_was_handled_cannot_contradict_what_was_said() {
    // [REFUSED-4]
    for handled in [0, 6, 7, NONE - 1] {
        five(|peer| {
            peer.return_to(&anew(2, handled));
            peer.accused(PeerMisbehaved::Resume, 2);
            let counts = peer.link.report()[0].verdicts;
            assert_eq!(counts.total(), 6);
            assert_eq!(counts[VerdictKind::Handled], 1);
        });
    }
    // Half a message can't be handled.
    against_lasting(Role::Opener, &sender(), |peer| {
        let mut entry = Entry::receive("main");
        entry.window_bytes = 10;
        peer.welcome(&[entry]);
        peer.send(&[1; 15]);
        assert_eq!(peer.say(), first(0, 1, 15, &[1; 10]));
        peer.lose();
        peer.return_to(&anew(3, 1));
        peer.accused(PeerMisbehaved::Resume, 2);
    });
}

#[test]
fn a_verdict_stays_whatever_the_acceptor_says() {
    // [REFUSED-3] [VERDICT-1] A rejection is no more than a message that has its verdict.
    five(|peer| {
        peer.resumes([1, 5, 0]);
        peer.takes(&reject(0, 3, 9, "no"));
        peer.lose();
        peer.events();
        peer.return_to(&anew(3, 4));
        let handled = Event::Handled {
            channel: MAIN,
            first: 2,
            last: 4,
            // 3 was rejected.
            count: 2,
        };
        let events = peer.events();
        assert!(events.contains(&handled) && events.contains(&verdict(5, Verdict::Unknown)));
        let counts = peer.link.report()[0].verdicts;
        assert_eq!(counts[VerdictKind::Handled], 3);
        assert_eq!(counts[VerdictKind::Rejected], 1);
        assert_eq!(counts.total(), 6);
        // And the NOTED that was owed is owed no more.
        assert_eq!(peer.say(), []);
    });
}

#[test]
fn events_that_wait_stay_in_order_across_a_lost_session() {
    // [VERDICT-6] [VERDICT-1] Nothing is polled until everything is over.
    five(|peer| {
        peer.resumes([2, 5, 0]);
        peer.lose();
        peer.return_to(&anew(2, 3));
        peer.send(b"7");
        peer.say();
        peer.takes(&ack(0, 1));
        let events = peer.events();
        let mut told = Vec::new();
        for event in &events {
            match event {
                Event::Verdict { sequence, .. } => told.push(*sequence),
                Event::Handled { first, last, .. } => {
                    for number in *first..=*last {
                        if !told.contains(&number) {
                            told.push(number);
                        }
                    }
                }
                _ => {}
            }
        }
        told.sort_unstable();
        // The first was reported before.
        assert_eq!(told, [2, 3, 4, 5, 6, 7], "{events:?}");
    });
}

/// An opener that receives on a channel, and has three messages: one handled, one taken, one
/// waiting; half of a fourth has arrived.
fn receiving(script: impl Fn(&mut Peer)) {
    let config = Config::new().channel(ReceiveChannel::new("main").manual());
    against_lasting(Role::Opener, &config, |peer| {
        peer.welcome(&[Entry::send("main")]);
        for number in 1..=3_u8 {
            peer.takes(&message(0, number.into(), &[number]));
        }
        peer.takes(&first(0, 4, 9, &[4; 5]));
        peer.take();
        peer.take();
        peer.link.handle(peer.now, MAIN, 1).expect("it waits");
        peer.lose();
        peer.events();
        script(peer);
    });
}

#[test]
fn what_arrived_can_still_be_taken() {
    // [REFUSED-5]
    receiving(|peer| {
        peer.return_to(&Greeting::anew(2, &[Entry::send("main")]));
        let lost = Event::SessionLost(SessionLoss::NotKnown);
        let readable = Event::Readable(MAIN);
        assert_eq!(peer.events(), [readable, lost, Event::Connected]);
        assert_eq!(peer.link.waiting(MAIN), 1);
        // The new session's first follows it, and gets its own number.
        peer.takes(&message(0, 1, b"new"));
        assert_eq!(peer.link.waiting(MAIN), 2);
        assert_eq!(peer.take(), Some((3, vec![3])));
        peer.take_border(SessionLoss::NotKnown);
        assert_eq!(peer.take(), Some((4, b"new".to_vec())));
        assert_eq!(peer.take(), None);
        // No answer is expected to what arrived in the old session.
        for old in 1..=3 {
            let lost = Err(ReceiveError::SessionLost);
            assert_eq!(peer.link.handle(peer.now, MAIN, old), lost);
            assert_eq!(peer.link.reject(peer.now, MAIN, old, 1, ""), lost);
        }
        for never in [0, 5, NONE] {
            let unknown = Err(ReceiveError::NotWaiting);
            assert_eq!(peer.link.handle(peer.now, MAIN, never), unknown);
        }
        assert_eq!(peer.say(), []);
        peer.link.handle(peer.now, MAIN, 4).expect("it waits");
        assert_eq!(peer.say(), ack(0, 1));
        assert_eq!(peer.link.report()[0].delivered, 4);
        // The next greeting counts in the new session.
        peer.lose();
        peer.connect();
        let hello = peer.say();
        assert_eq!(
            hello[82..106],
            [
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
            ]
        );
    });
    // Rejections that were never sent are forgotten.
    receiving(|peer| {
        peer.link
            .reject(peer.now, MAIN, 2, 7, "")
            .expect("it waits");
        peer.return_to(&Greeting::anew(2, &[Entry::send("main")]));
        assert_eq!(peer.say(), []);
    });
}

#[test]
fn what_is_left_of_lost_sessions_is_bounded() {
    // [REFUSED-5] [LIMIT-1]
    let config = Config::new().channel(ReceiveChannel::new("main").window(3, 16 << 20));
    against_lasting(Role::Opener, &config, |peer| {
        peer.welcome(&[Entry::send("main")]);
        let mut number: u8 = 0;
        for round in 0..4_u8 {
            for wire in 1..=2 {
                number += 1;
                peer.takes(&message(0, wire, &[number]));
            }
            peer.lose();
            peer.connect();
            peer.say();
            let mut welcome = Greeting::anew(2, &[Entry::send("main")]);
            welcome.session = [20 + round; 16];
            peer.hear(&welcome.bytes());
        }
        // A window's worth without a gap, from the beginning.
        for expected in 1..=3_u8 {
            assert_eq!(peer.take(), Some((expected.into(), vec![expected])));
            // Two messages came in each session.
            if expected > 1 {
                peer.take_border(SessionLoss::NotKnown);
            }
        }
        assert_eq!(peer.take(), None);
        peer.takes(&message(0, 1, b"x"));
        assert_eq!(peer.take(), Some((9, b"x".to_vec())));
    });
}

#[test]
fn a_restarted_acceptor_does_not_know_the_session() {
    // [REFUSED-1] [REFUSED-3] [REFUSED-5] Both ends are real.
    let both = [
        ChannelConfig::from(SendChannel::new("out")),
        ReceiveChannel::new("in").into(),
    ];
    let opener = both
        .clone()
        .into_iter()
        .fold(Config::new(), Config::channel);
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("out"))
        .channel(SendChannel::new("in"));
    let inn = ChannelId(1);
    lasting(&opener, &acceptor, |pair| {
        for round in 0..5_u64 {
            let told = pair.events[OPENER].len();
            assert_eq!(pair.send(OPENER, MAIN, b"handled"), 3 * round + 1);
            pair.run();
            assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"handled"]);
            pair.run();
            pair.send(OPENER, MAIN, b"arrives");
            pair.send(ACCEPTOR, inn, b"left over");
            pair.run();
            pair.send(OPENER, MAIN, b"lost");
            pair.lose_output(OPENER);
            pair.restart_acceptor();
            pair.reconnect();
            pair.run();
            let counts = pair.ends[OPENER].report()[0].verdicts;
            assert_eq!(counts[VerdictKind::Handled], round + 1);
            assert_eq!(counts[VerdictKind::Unknown], 2 * (round + 1));
            let lost = Event::SessionLost(SessionLoss::NotKnown);
            assert!(pair.events[OPENER][told..].contains(&lost));
            assert_eq!(pair.lives(), [LinkState::Open; 2]);
            assert_eq!(pair.take_all(OPENER, inn), [b"left over"]);
            assert_eq!(pair.take_all(ACCEPTOR, MAIN), [] as [Vec<u8>; 0]);
            assert_eq!(pair.borders[OPENER].len() as u64, round + 1);
        }
        // It was another link each time, with one session.
        assert_eq!(pair.borders[ACCEPTOR], []);
    });
}

#[test]
fn who_comes_too_late_hears_what_was_handled() {
    // [REFUSED-1] [REFUSED-2] [REFUSED-3] [SESSION-5]
    let sender = Config::new().channel(SendChannel::new("main"));
    lasting(&sender, &receiver(), |pair| {
        for payload in [b"1", b"2", b"3"] {
            pair.send(OPENER, MAIN, payload);
        }
        pair.run();
        // Two are handled, and the opener does not learn of it.
        for _ in 0..2 {
            pair.ends[ACCEPTOR]
                .take(pair.now, MAIN)
                .expect("receive mode");
        }
        pair.cut();
        let retain = Timeouts::default().retain;
        pair.now = pair.now + retain;
        pair.ends[ACCEPTOR].handle_timeout(pair.now);
        let expected = EndReason::Lost(Loss::StayedAway);
        assert_eq!(pair.ends[ACCEPTOR].end_reason(), Some(&expected));
        // What is taken after the end changes nothing of what is said.
        let gone = pair.ends[ACCEPTOR].gone_session();
        assert_eq!(gone, pair.ends[ACCEPTOR].clone().gone_session());
        pair.come_back();
        pair.run();
        let counts = pair.ends[OPENER].report()[0].verdicts;
        assert_eq!(counts[VerdictKind::Handled], 2);
        assert_eq!(counts[VerdictKind::Unknown], 1);
        let lost = Event::SessionLost(SessionLoss::TooOld);
        assert!(pair.events[OPENER].contains(&lost));
        // Later messages of the new session are told from the old ones.
        assert_eq!(pair.send(OPENER, MAIN, b"4"), 4);
        pair.run();
        let taken = pair.ends[ACCEPTOR]
            .take(pair.now, MAIN)
            .expect("receive mode");
        assert_eq!(taken.expect("it has come").sequence, 1);
        pair.run();
        assert_eq!(
            pair.ends[OPENER].report()[0].verdicts[VerdictKind::Handled],
            3
        );
        pair.pass(Duration::from_secs(60));
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
    });
}
