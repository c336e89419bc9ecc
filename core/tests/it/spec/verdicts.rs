//! Verdicts: exactly one for every message.

use core::time::Duration;
use std::collections::BTreeMap;

use countersign_core::{
    ChannelId, CloseMode, Config, Disconnect, Event, Rejection, SendChannel, Verdict,
    VerdictCounts, VerdictKind,
};

use crate::common::bytes::{ack, message, reject, skip};
use crate::common::peer::{MAIN, Peer, against_sender};

/// The verdict of each number that events tell, given exactly once.
fn verdicts(events: &[Event]) -> BTreeMap<u64, VerdictKind> {
    let mut told = BTreeMap::new();
    for event in events {
        match event {
            Event::Verdict {
                sequence, verdict, ..
            } => {
                assert!(!verdict.is_handled());
                assert_eq!(told.insert(*sequence, verdict.kind()), None, "told twice");
            }
            Event::Handled { first, last, .. } => {
                for sequence in *first..=*last {
                    told.entry(sequence).or_insert(VerdictKind::Handled);
                }
            }
            _ => {}
        }
    }
    told
}

/// Two messages superseded, one handled, one rejected, one outstanding, one expired, one not begun.
fn all_kinds(peer: &mut Peer) {
    peer.send(b"1");
    peer.send(b"2");
    peer.say();
    peer.takes(&ack(0, 2));
    peer.send(b"3");
    peer.say();
    peer.takes(&reject(0, 3, 5, "no"));
    peer.say();
    peer.send(b"4");
    peer.say();
    let soon = peer.now + Duration::from_millis(1);
    peer.link
        .send(peer.now, MAIN, &b"5"[..], Some(soon))
        .expect("accepted");
    peer.sleep_to_deadline();
    peer.send(b"6");
    peer.send(b"7");
}

#[test]
fn every_verdict_comes_once() {
    // [VERDICT-1] [VERDICT-2] [VERDICT-3] [VERDICT-5]
    use VerdictKind::{Expired, Handled, Rejected, Superseded, Unknown, Withdrawn};
    let config = Config::new().channel(SendChannel::new("main").latest());
    for end in 0..3 {
        against_sender(&config, |peer| {
            all_kinds(peer);
            match end {
                0 => peer.link.handle_lost(peer.now, Disconnect::Transport),
                1 => peer.link.handle_eof(peer.now),
                _ => peer.hear(&skip(0, 1)),
            }
            let events = peer.events();
            assert_eq!(events.last(), Some(&Event::Ended));
            let told = verdicts(&events);
            let expected = [
                (1, Superseded),
                (2, Handled),
                (3, Rejected),
                (4, Unknown),
                (5, Expired),
                (6, Superseded),
                (7, Withdrawn),
            ];
            assert_eq!(told, expected.into_iter().collect());
            let report = &peer.link.report()[0].verdicts;
            assert_eq!(report.total(), 7);
            assert_eq!(report[Superseded], 2);
            for kind in [Handled, Rejected, Unknown, Expired, Withdrawn] {
                assert_eq!(report[kind], 1, "{kind}");
            }
        });
    }
}

#[test]
fn a_handled_range_is_told_with_what_was_counted() {
    // [VERDICT-6]
    let config = Config::new().channel(SendChannel::new("main"));
    against_sender(&config, |peer| {
        for payload in [&b"1"[..], b"2", b"3"] {
            peer.send(payload);
        }
        peer.say();
        assert_eq!(peer.link.verdicts(MAIN), Some(VerdictCounts::default()));
        peer.takes(&ack(0, 1));
        peer.takes(&reject(0, 2, 5, "no"));
        peer.takes(&reject(0, 3, 5, "no"));
        let (channel, first, last) = (MAIN, 1, 1);
        let range = Event::Handled {
            channel,
            first,
            last,
            count: last - first + 1,
        };
        assert_eq!(peer.events().last(), Some(&range));
        // An acknowledgement that covers the rejected message is not reported again: it was not
        // handled.
        peer.say();
        peer.takes(&ack(0, 3));
        assert_eq!(peer.events(), []);
        let counts = peer.link.verdicts(MAIN).expect("a channel");
        assert_eq!(counts[VerdictKind::Handled], 1);
        assert_eq!(counts[VerdictKind::Rejected], 2);
        assert_eq!(peer.link.verdicts(ChannelId(1)), None);
    });
}

#[test]
fn links_that_never_were_up_withdraw() {
    // [VERDICT-1] [VERDICT-5]
    use crate::common::peer::against;
    against(countersign_core::Role::Opener, &Config::default(), |peer| {
        peer.send(b"x");
        peer.link.close(peer.now, CloseMode::Drain);
        let (channel, sequence) = (MAIN, 1);
        let verdict = Verdict::Withdrawn;
        let told = Event::Verdict {
            channel,
            sequence,
            verdict,
        };
        assert_eq!(peer.events(), [told, Event::Ended]);
    });
}

#[test]
fn a_verdict_before_the_wire_keeps_off_the_wire() {
    // [VERDICT-4]
    let config = Config::new().channel(SendChannel::new("main").latest());
    against_sender(&config, |peer| {
        peer.send(b"old");
        peer.send(b"new");
        assert_eq!(peer.say(), [skip(0, 1), message(0, 2, b"new")].concat());
        peer.takes(&ack(0, 2));
        assert_eq!(peer.say(), []);
    });
}

#[test]
fn exceptions_are_told_before_the_range_around_them() {
    // [VERDICT-6]
    let config = Config::new().channel(SendChannel::new("main"));
    against_sender(&config, |peer| {
        for _ in 0..5 {
            peer.send(b"x");
        }
        let soon = peer.now;
        peer.say();
        peer.link
            .send(peer.now, MAIN, &b"late"[..], Some(soon))
            .expect("accepted");
        peer.send(b"y");
        peer.say();
        peer.takes(&ack(0, 1));
        peer.takes(&reject(0, 3, 9, ""));
        peer.say();
        peer.takes(&ack(0, 7));
        let verdict = |sequence, verdict| Event::Verdict {
            channel: MAIN,
            sequence,
            verdict,
        };
        let rejection = Rejection {
            code: 9,
            reason: String::new(),
        };
        let (channel, first, last) = (MAIN, 1, 7);
        assert_eq!(
            peer.events(),
            [
                verdict(6, Verdict::Expired),
                verdict(3, Verdict::Rejected(rejection)),
                Event::Handled {
                    channel,
                    first,
                    last,
                    count: 5
                },
            ]
        );
        peer.send(b"z");
        peer.say();
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        assert_eq!(peer.events(), [verdict(8, Verdict::Unknown), Event::Ended]);
    });
}
