//! Resuming: what the greetings say, and what follows from it at the sender.

use core::time::Duration;

use countersign_core::{
    Config, Event, PeerMisbehaved, ReceiveChannel, Role, SendChannel, Verdict, VerdictKind,
    reject as codes,
};

use crate::common::bytes::{
    Entry, Greeting, ack, first, message, next, noted, number, pong, reject, skip,
};
use crate::common::peer::{MAIN, Peer, against_lasting};

const RESUME: PeerMisbehaved = PeerMisbehaved::Resume;

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// A sender that loses its connection with three messages on the wire, the first acknowledged.
fn three(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        for payload in [&b"1"[..], b"22", b"333"] {
            peer.send(payload);
        }
        peer.say();
        peer.takes(&ack(0, 1));
        peer.lose();
        peer.events();
        script(peer);
    });
}

/// A sender with a message of 1500 bytes, and a window of 1000 that has let as many out.
fn unfinished(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, &Config::default(), |peer| {
        let mut entry = Entry::receive("main");
        entry.window_bytes = 1000;
        peer.welcome(&[entry]);
        peer.send(&[1; 1500]);
        assert_eq!(peer.say(), first(0, 1, 1500, &[1; 1000]));
        peer.lose();
        script(peer);
    });
}

/// Resumes with a window of a thousand bytes; what the link says then.
fn resumes_narrow(peer: &mut Peer, figures: [u64; 3]) -> Vec<u8> {
    let mut entry = Entry::receive("main").having(figures);
    entry.window_bytes = 1000;
    peer.return_to(&Greeting::resumed(&[entry]));
    peer.say()
}

fn contradicts(peer: &mut Peer, figures: [u64; 3]) {
    let entry = Entry::receive("main").having(figures);
    peer.return_to(&Greeting::resumed(&[entry]));
    peer.accused(RESUME, 2);
}

#[test]
fn a_sender_goes_on_where_its_peer_says() {
    // [RESUME-1] [RESUME-2] [RESUME-9] [RESUME-10] [RESUME-12]
    let third = || message(0, 3, b"333");
    for (figures, said) in [
        ([1, 1, 0], [message(0, 2, b"22"), third()].concat()),
        ([1, 1, 1], [next(0, 2, true, b"2"), third()].concat()),
        ([1, 2, 0], third()),
        ([2, 2, 0], third()),
        ([2, 2, 1], next(0, 3, true, b"33")),
        ([1, 2, 2], next(0, 3, true, b"3")),
        ([1, 3, 0], Vec::new()),
        ([3, 3, 0], Vec::new()),
    ] {
        three(|peer| {
            peer.send(b"new");
            let new = message(0, 4, b"new");
            assert_eq!(peer.resumes(figures), [&said[..], &new].concat());
            let mut expected = vec![Event::Resumed];
            if figures[0] > 1 {
                let (channel, first, last) = (MAIN, 2, figures[0]);
                expected.push(Event::Handled {
                    channel,
                    first,
                    last,
                    count: last - first + 1,
                });
            }
            let events = peer.events();
            assert_eq!(events, expected);
            peer.takes(&ack(0, 4));
            assert_eq!(peer.link.report()[0].verdicts[VerdictKind::Handled], 4);
        });
    }
}

#[test]
fn figures_that_cannot_be_are_violations() {
    // [RESUME-6] [RESUME-7]
    const MAX: u64 = u64::MAX;
    for figures in [
        // More is handled than received.
        [3, 2, 0],
        [MAX, 3, 0],
        // More than was announced.
        [1, 4, 0],
        [4, 4, 0],
        [1, MAX, 0],
        [MAX, MAX, 0],
        [MAX, MAX, MAX],
        // Less than was acknowledged.
        [0, 3, 0],
        [0, 0, 0],
        // The whole of a message is no part of it.
        [1, 1, 2],
        [1, 2, 3],
        [1, 2, MAX],
        // Nothing of the fourth was sent, or can be.
        [1, 3, 1],
        [3, 3, MAX],
    ] {
        three(|peer| contradicts(peer, figures));
        three(|peer| {
            peer.send(b"accepted, not begun");
            contradicts(peer, figures);
        });
    }
    for figures in [
        [0, 1, 0],
        [1, 1, 0],
        [0, 0, 1001],
        [0, 0, 1500],
        [0, 0, MAX],
    ] {
        unfinished(|peer| contradicts(peer, figures));
    }
}

#[test]
fn what_was_said_once_stays_said() {
    // [RESUME-6] An earlier greeting
    three(|peer| {
        assert_eq!(peer.resumes([1, 3, 0]), []);
        peer.lose();
        contradicts(peer, [1, 2, 0]);
    });
    // and a REJECT have said that a message was there.
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.takes(&reject(0, 2, 7, ""));
        peer.lose();
        contradicts(peer, [0, 1, 0]);
    });
    // What a greeting has said is not there can't come from an earlier connection after all.
    for later in [[1, 2, 0], [1, 1, 1]] {
        three(|peer| {
            let entry = Entry::receive("main").having([1, 1, 0]);
            peer.return_to(&Greeting::resumed(&[entry]));
            peer.lose();
            contradicts(peer, later);
        });
    }
}

#[test]
fn an_acceptor_judges_the_figures_of_a_hello_alike() {
    // [RESUME-6] [RESUME-7] [HELLO-13]
    let sends = || Config::new().channel(SendChannel::new("main"));
    let two = |script: &dyn Fn(&mut Peer, [u8; 16])| {
        against_lasting(Role::Acceptor, &sends(), |peer| {
            peer.hello(&[Entry::receive("main")]);
            peer.send(b"1");
            peer.send(b"22");
            peer.say();
            peer.lose();
            peer.connect();
            script(peer, peer.link.session());
        });
    };
    let hello = |session, figures| {
        let entry = Entry::receive("main").having(figures);
        Greeting::naming(session, &[entry]).bytes()
    };
    for figures in [[2, 1, 0], [0, 3, 0], [0, 1, 2], [0, 2, 1]] {
        two(&|peer, session| peer.refuses(&hello(session, figures), RESUME, 2));
    }
    two(&|peer, session| {
        peer.takes(&hello(session, [1, 1, 1]));
        assert_eq!(peer.say()[114..], next(0, 2, true, b"2"));
    });
    // Only receivers have figures, and only where a session is named.
    let greeting = PeerMisbehaved::Greeting;
    for figures in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        two(&|peer, _| peer.refuses(&hello([0; 16], figures), greeting, 2));
        against_lasting(Role::Acceptor, &receiver(), |peer| {
            let entry = Entry::send("main").having(figures);
            let hello = Greeting::naming([5; 16], &[entry]);
            peer.refuses(&hello.bytes(), greeting, 2);
        });
    }
}

#[test]
fn welcome_answers_what_hello_has_named() {
    // [HELLO-17] [HELLO-18] [RESUME-2] [REFUSED-1]
    let entry = || [Entry::receive("main").having([1, 1, 0])];
    let cases: [(u8, [u8; 16]); 7] = [
        (0, [7; 16]),
        (0, [8; 16]),
        (1, [8; 16]),
        (2, [7; 16]),
        (3, [7; 16]),
        (1, [0; 16]),
        (2, [0; 16]),
    ];
    for (outcome, session) in cases {
        three(|peer| {
            let figures = if outcome == 0 {
                [Entry::receive("main")]
            } else {
                entry()
            };
            let welcome = Greeting {
                outcome,
                session,
                ..Greeting::welcome(&figures)
            };
            peer.return_to(&welcome);
            peer.accused(PeerMisbehaved::Greeting, 2);
        });
    }
    // Only a session that goes on has something received.
    for outcome in [2, 3] {
        for figures in [[1, 1, 0], [1, 0, 1]] {
            three(|peer| {
                let entry = Entry::receive("main").having(figures);
                peer.return_to(&Greeting::anew(outcome, &[entry]));
                peer.accused(PeerMisbehaved::Greeting, 2);
            });
        }
    }
}

#[test]
fn handled_passes_what_was_noted() {
    // [RESUME-8]
    let rejected = |script: &dyn Fn(&mut Peer)| {
        against_lasting(Role::Opener, &Config::default(), |peer| {
            peer.welcome(&[Entry::receive("main")]);
            peer.send(b"1");
            peer.say();
            peer.takes(&reject(0, 1, 7, "no"));
            script(peer);
            assert_eq!(peer.link.report()[0].verdicts[VerdictKind::Rejected], 1);
            assert_eq!(peer.link.report()[0].verdicts.total(), 1);
        });
    };
    rejected(&|peer| {
        assert_eq!(peer.say(), noted(0, 1));
        peer.lose();
        assert_eq!(peer.resumes([1, 1, 0]), []);
        let handled = |event: &Event| matches!(event, Event::Handled { .. });
        assert!(!peer.events().iter().any(handled));
    });
    // A peer can't know of a NOTED that never went out.
    rejected(&|peer| {
        peer.lose();
        contradicts(peer, [1, 1, 0]);
    });
    // [ACK-4] Not even after a resume that has passed over it.
    rejected(&|peer| {
        peer.lose();
        assert_eq!(peer.resumes([0, 1, 0]), []);
        peer.refuses(&ack(0, 1), PeerMisbehaved::AckedTooMuch, 4);
    });
    rejected(&|peer| {
        peer.lose();
        assert_eq!(peer.resumes([0, 1, 0]), []);
        peer.lose();
        contradicts(peer, [1, 1, 0]);
    });
    // [RESUME-13] It is forgotten, and owed again when the REJECT comes again. The other way round,
    // a NOTED that got lost goes out again.
    for note in [false, true] {
        rejected(&|peer| {
            if note {
                peer.say();
            }
            peer.lose();
            assert_eq!(peer.resumes([0, 1, 0]), []);
            peer.takes(&reject(0, 1, 7, "no"));
            assert_eq!(peer.say(), noted(0, 1));
            peer.takes(&ack(0, 1));
        });
    }
}

#[test]
fn a_receiver_that_keeps_no_part_gets_the_whole_again() {
    // [RESUME-11] [RESUME-10]
    unfinished(|peer| {
        assert_eq!(peer.resumes([0, 0, 0]), message(0, 1, &[1; 1500]));
        assert_eq!(peer.link.report()[0].replayed, 1);
        peer.takes(&ack(0, 1));
    });
}

#[test]
fn windows_count_what_is_outstanding() {
    // [RESUME-14] Unfinished: what the receiver has of it fills the window,
    unfinished(|peer| {
        assert_eq!(resumes_narrow(peer, [0, 0, 1000]), []);
    });
    unfinished(|peer| {
        peer.connect();
        peer.lose();
        assert_eq!(
            resumes_narrow(peer, [0, 0, 400]),
            next(0, 1, false, &[1; 600])
        );
    });
    // and what it does not have takes no room.
    unfinished(|peer| {
        assert_eq!(
            resumes_narrow(peer, [0, 0, 0]),
            first(0, 1, 1500, &[1; 1000])
        );
    });
    // In messages: a window of two with one of them handled meanwhile.
    three(|peer| {
        peer.send(b"4");
        let mut entry = Entry::receive("main").having([1, 3, 0]);
        entry.window_messages = 2;
        peer.return_to(&Greeting::resumed(&[entry.clone()]));
        assert_eq!(peer.say(), []);
        peer.lose();
        peer.return_to(&Greeting::resumed(&[entry.having([2, 3, 0])]));
        assert_eq!(peer.say(), message(0, 4, b"4"));
    });
}

#[test]
fn a_new_session_begins_with_a_whole_window() {
    // [REFUSED-5] What filled it in the old session takes no room in the new one.
    unfinished(|peer| {
        assert_eq!(resumes_narrow(peer, [0, 0, 1000]), []);
        peer.lose();
        let mut entry = Entry::receive("main").having([u64::MAX, 0, 0]);
        entry.window_bytes = 1000;
        peer.return_to(&Greeting::anew(2, &[entry]));
        assert_eq!(peer.say(), []);
        peer.send(&[2; 2500]);
        assert_eq!(peer.say(), first(0, 1, 2500, &[2; 1000]));
    });
}

#[test]
fn skips_are_counted_from_received() {
    // [RESUME-12] [RESUME-18] Expired, superseded or skipped before: what the peer has not seen is
    // skipped.
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        let soon = peer.now + Duration::from_millis(1);
        for payload in [&b"2"[..], b"3"] {
            let sent = peer.link.send(peer.now, MAIN, payload, Some(soon));
            sent.expect("accepted");
        }
        peer.say();
        peer.send(b"4");
        peer.say();
        peer.lose();
        peer.sleep(Duration::from_secs(60));
        // Until the peer says that it does not have them, they count as begun.
        assert_eq!(peer.events().len(), 1);
        let said = peer.resumes([1, 1, 0]);
        let answer = peer.answer_to_welcome();
        assert_eq!(said, [answer, skip(0, 3), message(0, 4, b"4")].concat());
        let expired = |sequence| Event::Verdict {
            channel: MAIN,
            sequence,
            verdict: Verdict::Expired,
        };
        let events = peer.events();
        assert!(events.contains(&expired(2)) && events.contains(&expired(3)));
        // The SKIP got lost, then half of what was skipped is known to have been.
        peer.lose();
        let said = peer.resumes([1, 1, 0]);
        let answer = peer.answer_to_welcome();
        assert_eq!(said, [answer, skip(0, 3), message(0, 4, b"4")].concat());
        peer.lose();
        let said = peer.resumes([1, 3, 0]);
        assert!(said.ends_with(&message(0, 4, b"4")));
        assert_eq!(said[..32], peer.answer_to_welcome());
        assert_eq!(peer.link.report()[0].replayed, 3);
    });
}

#[test]
fn new_figures_count_from_the_resume_on() {
    // [RESUME-5] [HELLO-20] What the peer has nothing of is subject to its new largest message.
    let too_large = |peer: &mut Peer, sequence: u64| {
        peer.events().iter().any(|event| {
            matches!(event, Event::Verdict { sequence: of, verdict: Verdict::Rejected(no), .. }
                if *of == sequence && no.code == codes::TOO_LARGE)
        })
    };
    three(|peer| {
        let mut entry = Entry::receive("main").having([1, 1, 0]);
        entry.max_message = 2;
        peer.return_to(&Greeting::resumed(&[entry]));
        assert_eq!(peer.say(), message(0, 2, b"22"));
        assert!(too_large(peer, 3));
        peer.send(b"4");
        assert_eq!(peer.say(), [skip(0, 3), message(0, 4, b"4")].concat());
    });
    // What it has a part of is not.
    three(|peer| {
        let mut entry = Entry::receive("main").having([1, 2, 1]);
        entry.max_message = 1;
        peer.return_to(&Greeting::resumed(&[entry]));
        assert_eq!(peer.say(), next(0, 3, true, b"33"));
        let refused = peer.link.send(peer.now, MAIN, &b"55"[..], None);
        assert!(refused.is_err());
    });
    // The frame limit is the new one, too.
    three(|peer| {
        peer.send(&[4; 1000]);
        let entry = Entry::receive("main").having([1, 3, 0]);
        let mut welcome = Greeting::resumed(&[entry]);
        welcome.frame_limit = 512;
        peer.return_to(&welcome);
        let said = peer.say();
        assert_eq!(said[..8], [0x10, 1, 0, 0, 0, 0, 1, 0xF8]);
    });
}

#[test]
fn pings_are_forgotten() {
    // [RESUME-17]
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.takes(&number(0x20, 0, 77));
        peer.lose();
        assert_eq!(peer.resumes([0, 0, 0]), [], "no PONG");
        // A PING that waits for its answer does not keep the next connection from asking.
        for _ in 0..2 {
            peer.sleep(Duration::from_secs(5));
            assert_eq!(peer.say().first(), Some(&0x20));
            peer.lose();
            assert_eq!(peer.resumes([0, 0, 0]), []);
        }
        // One that was not written is not written later.
        peer.sleep(Duration::from_secs(5));
        peer.lose();
        assert_eq!(peer.resumes([0, 0, 0]), []);
        peer.takes(&pong(5, 5, 5));
    });
}
