//! The tlsstream dialect.

use core::time::Duration;

use countersign_core::{
    CloseMode, CloseReason, Config, Dialect, Disconnect, EndReason, Event, Link, LinkState, Loss,
    Output, PeerMisbehaved, ReceiveChannel, Role, SendError, Verdict,
};

use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, Peer, against};

fn sender() -> Config {
    Config::default().dialect(Dialect::TlsStream)
}

fn receiver() -> Config {
    let channel = ReceiveChannel::new("main")
        .max_message(1000)
        .window(2, 1000);
    Config::new().channel(channel).dialect(Dialect::TlsStream)
}

fn receiving(script: impl Fn(&mut Peer)) {
    for role in [Role::Acceptor, Role::Opener] {
        against(role, &receiver(), |peer| {
            // [STREAM-4]
            assert_eq!(peer.events(), [Event::Connected]);
            assert_eq!(peer.say(), []);
            script(peer);
        });
    }
}

fn sending(script: impl Fn(&mut Peer)) {
    against(Role::Opener, &sender(), |peer| {
        assert_eq!(peer.events(), [Event::Connected]);
        script(peer);
    });
}

/// The link must end because of this, and send nothing.
fn ends(peer: &mut Peer, input: &[u8], of: PeerMisbehaved) {
    // [STREAM-9]
    peer.hear(input);
    assert_eq!(
        peer.link.end_reason(),
        Some(&EndReason::Peer(of)),
        "{input:?}"
    );
    assert_eq!(peer.say(), []);
    assert!(peer.ended);
}

#[test]
fn lengths_are_digits() {
    // [STREAM-1]
    for good in ["5!hello", "0000005!hello", "00000000000000000005!hello"] {
        receiving(|peer| {
            peer.takes(good.as_bytes());
            assert_eq!(peer.say(), b"OK!");
            assert_eq!(peer.take(), Some((1, b"hello".to_vec())));
        });
    }
    for bad in [
        "!", "+5!", "-5!", " 5!", "5 !", "1_0!", "5\n!", "0x5!", "five!", "5.0!", "\u{665}!",
    ] {
        receiving(|peer| ends(peer, bad.as_bytes(), PeerMisbehaved::StreamLength));
    }
    let long = "0".repeat(20) + "5!hello";
    receiving(|peer| ends(peer, long.as_bytes(), PeerMisbehaved::StreamLength));
    sending(|peer| {
        peer.send(b"0123456789");
        assert_eq!(peer.say(), b"10!0123456789");
    });
}

#[test]
fn lengths_have_bounds() {
    // [STREAM-2] [STREAM-3] [STREAM-12]
    for zero in ["0!", "00!"] {
        receiving(|peer| ends(peer, zero.as_bytes(), PeerMisbehaved::StreamEmpty));
    }
    let limit = 1000;
    for (text, length) in [("1001!", 1001), ("99999999999999999999!", u64::MAX)] {
        let expected = PeerMisbehaved::MessageTooLarge { length, limit };
        receiving(|peer| ends(peer, text.as_bytes(), expected));
    }
    receiving(|peer| {
        peer.takes(&[b"1000!", &[7; 1000][..]].concat());
        assert_eq!(peer.take(), Some((1, vec![7; 1000])));
    });
    sending(|peer| {
        let refused = peer
            .link
            .send(peer.now, MAIN, &b""[..], None)
            .map_err(|e| e.why);
        assert_eq!(refused, Err(SendError::Empty));
    });
}

#[test]
fn messages_are_confirmed_when_they_are_here() {
    // [STREAM-5]
    receiving(|peer| {
        peer.takes(b"5!hell");
        assert_eq!(peer.say(), []);
        peer.takes(b"o");
        assert_eq!(peer.say(), b"OK!", "before the application takes it");
        assert_eq!(peer.events(), [Event::Readable(MAIN)]);
    });
    sending(|peer| {
        peer.send(b"a");
        peer.say();
        for part in [&b"O"[..], b"K"] {
            peer.takes(part);
            assert_eq!(peer.events(), []);
        }
        peer.takes(b"!");
        let (channel, first, last) = (MAIN, 1, 1);
        assert_eq!(
            peer.events(),
            [Event::Handled {
                channel,
                first,
                last,
                count: last - first + 1
            }]
        );
    });
}

#[test]
fn confirmations_wait_for_room() {
    // [STREAM-6]
    receiving(|peer| {
        peer.takes(b"1!a");
        assert_eq!(peer.say(), b"OK!");
        peer.takes(b"1!b");
        assert_eq!(peer.say(), [], "two of two");
        assert_eq!(peer.take(), Some((1, b"a".to_vec())));
        assert_eq!(peer.say(), b"OK!");
    });
    receiving(|peer| {
        peer.takes(&[b"1000!", &[7; 1000][..]].concat());
        assert_eq!(peer.say(), [], "all bytes taken");
        peer.take();
        assert_eq!(peer.say(), b"OK!");
    });
}

#[test]
fn one_message_is_outstanding() {
    // [STREAM-7]
    for early in [&b"1!a1!b"[..], b"1!a2", b"1!a!"] {
        receiving(|peer| ends(peer, early, PeerMisbehaved::StreamTooSoon));
    }
    sending(|peer| {
        peer.send(b"a");
        peer.send(b"b");
        assert_eq!(peer.say(), b"1!a");
        peer.takes(b"OK!");
        assert_eq!(peer.say(), b"1!b");
        peer.takes(b"OK!");
        assert_eq!(peer.say(), []);
    });
}

#[test]
fn only_ok_confirms() {
    // [STREAM-8]
    let wrong = PeerMisbehaved::StreamConfirmation;
    for text in ["o", "KO!", "OK?", "OK!O", "OK!OK!", "ok!"] {
        sending(|peer| {
            peer.send(b"a");
            peer.say();
            ends(peer, text.as_bytes(), wrong);
        });
    }
    sending(|peer| ends(peer, b"OK!", wrong));
    sending(|peer| {
        peer.send(&[1; 100]);
        let mut buffer = [0; 50];
        peer.link.poll_output(peer.now, &mut buffer);
        peer.hear(b"OK!");
        assert_eq!(peer.link.end_reason(), Some(&EndReason::Peer(wrong)));
    });
}

#[test]
fn an_end_between_messages_is_a_close() {
    // [STREAM-10]
    let by_peer = EndReason::closed(false);
    let lost = EndReason::Lost(Loss::PeerLeft);
    for (so_far, expected) in [
        (&b""[..], &by_peer),
        (b"1!a", &by_peer),
        (b"1", &lost),
        (b"3!", &lost),
        (b"3!ab", &lost),
    ] {
        receiving(|peer| {
            peer.takes(so_far);
            peer.say();
            peer.link.handle_eof(peer.now);
            peer.say();
            assert_eq!(peer.link.end_reason(), Some(expected), "{so_far:?}");
        });
    }
    for (confirmed, expected) in [(&b"OK!"[..], &by_peer), (b"OK", &lost), (b"", &lost)] {
        sending(|peer| {
            peer.send(b"a");
            peer.send(b"b");
            let mut buffer = [0; 3];
            peer.link.poll_output(peer.now, &mut buffer);
            peer.takes(confirmed);
            peer.link.handle_eof(peer.now);
            peer.say();
            assert_eq!(peer.link.end_reason(), Some(expected));
            let channel = MAIN;
            let verdict = |sequence, verdict| Event::Verdict {
                channel,
                sequence,
                verdict,
            };
            let events = peer.events();
            assert!(
                events.contains(&verdict(2, Verdict::Withdrawn)),
                "{events:?}"
            );
            let unknown = events.contains(&verdict(1, Verdict::Unknown));
            assert_eq!(unknown, expected == &lost);
        });
    }
}

#[test]
fn either_end_closes() {
    // [STREAM-11]
    for closing in [OPENER, ACCEPTOR] {
        paired(&sender(), &receiver(), |pair| {
            pair.run();
            for _ in 0..3 {
                pair.send(OPENER, MAIN, b"x");
            }
            pair.run();
            pair.ends[closing].close(pair.now, CloseMode::DrainBoth);
            let mut turns = 0;
            while pair.lives() != [LinkState::Ended; 2] {
                pair.take_all(ACCEPTOR, MAIN);
                pair.run();
                turns += 1;
                assert!(turns < 100, "{:?}", pair.lives());
            }
            for (end, link) in pair.ends.iter().enumerate() {
                let by_us = end == closing;
                assert_eq!(link.end_reason(), Some(&EndReason::closed(by_us)));
            }
        });
    }
    // Everything accepted is sent and confirmed first.
    sending(|peer| {
        peer.send(b"a");
        peer.send(b"b");
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), b"1!a");
        assert!(!peer.ended);
        peer.takes(b"OK!");
        assert_eq!(peer.say(), b"1!b");
        peer.takes(b"OK!");
        assert_eq!(peer.say(), []);
        assert!(peer.ended);
    });
}

#[test]
fn there_is_nothing_else_on_the_wire() {
    // [STREAM-4]
    sending(|peer| {
        peer.sleep(Duration::from_secs(3600));
        assert_eq!(peer.say(), []);
        assert_eq!(peer.link.poll_deadline(), None, "no pings");
        assert_eq!(peer.link.state(), LinkState::Open);
    });
}

#[test]
fn an_attempt_that_fails_loses_no_session() {
    let mut link = Link::new(&sender(), Role::Opener, [7; 16]).expect("a sound declaration");
    link.send(countersign_core::Instant::ZERO, MAIN, &b"hello"[..], None)
        .expect("room");
    for attempt in 0..3 {
        let now = link.poll_deadline().expect("another attempt");
        link.handle_timeout(now);
        assert!(link.wants_connect(), "{attempt}");
        link.handle_lost(now, Disconnect::Transport);
        assert_eq!(link.poll_event(), None, "{attempt}");
    }
    let now = link.poll_deadline().expect("another attempt");
    link.handle_timeout(now);
    link.handle_opened(now).expect("it wants to connect");
    link.handle_secured(now, None).expect("it is open");
    assert_eq!(link.poll_event(), Some(Event::Connected));
    let mut buffer = [0; 100];
    assert_eq!(link.poll_output(now, &mut buffer), Output::Written(7));
    assert_eq!(&buffer[..7], b"5!hello");
}

/// What the link says, and whether the end of its direction may be taken for an orderly one.
fn last_words(peer: &mut Peer) -> (Vec<u8>, bool) {
    let said = peer.say();
    assert!(peer.ended, "{:?}", peer.link.state());
    (said, !peer.link.breaks_off())
}

#[test]
fn a_receiver_that_closes_confirms_what_was_taken_and_no_more() {
    // [STREAM-14]
    for mode in [CloseMode::Drain, CloseMode::Withdraw] {
        receiving(|peer| {
            peer.takes(b"1!a");
            assert_eq!(peer.take(), Some((1, b"a".to_vec())));
            peer.link.close(peer.now, mode);
            assert_eq!(last_words(peer), (b"OK!".to_vec(), true));
        });
        // One that waits, one that is not whole, and one that comes behind the close.
        for (before, after) in [(&b"1!a"[..], &b""[..]), (b"2!a", b"b"), (b"", b"1!a")] {
            receiving(|peer| {
                peer.takes(before);
                peer.link.close(peer.now, mode);
                peer.takes(after);
                assert_eq!(last_words(peer), (vec![], true));
                assert_eq!(peer.take(), None);
            });
        }
    }
    // The same with a receiver that was dropped.
    receiving(|peer| {
        peer.takes(b"1!a");
        peer.link.abandon(peer.now, MAIN).expect("receive mode");
        assert_eq!(last_words(peer), (vec![], true));
    });
    // Draining both ways takes the rest.
    receiving(|peer| {
        peer.takes(b"2!a");
        peer.link.close(peer.now, CloseMode::DrainBoth);
        assert_eq!(peer.say(), []);
        assert!(!peer.ended);
        peer.takes(b"b");
        assert_eq!(last_words(peer), (b"OK!".to_vec(), true));
        assert_eq!(peer.take(), Some((1, b"ab".to_vec())));
    });
}

#[test]
fn an_end_with_which_not_all_is_well_breaks_off() {
    // [STREAM-15] [STREAM-11]
    let failed = || CloseReason::new(3, "no input");
    sending(|peer| {
        peer.send(b"a");
        assert_eq!(peer.say(), b"1!a");
        peer.link.close_with(peer.now, CloseMode::Drain, failed());
        assert_eq!(peer.say(), []);
        peer.takes(b"OK!");
        assert_eq!(last_words(peer), (b"0".to_vec(), false));
        peer.link.handle_eof(peer.now);
        let expected = EndReason::Closed {
            by_us: true,
            ours: failed(),
            theirs: CloseReason::ALL_WELL,
        };
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    receiving(|peer| {
        peer.link.close_with(peer.now, CloseMode::Drain, failed());
        assert_eq!(last_words(peer), (vec![], false));
    });
    // A violation, and an end without a close.
    sending(|peer| {
        peer.send(b"a");
        peer.say();
        peer.hear(b"NO!");
        assert_eq!(last_words(peer), (vec![], false));
    });
    sending(|peer| {
        assert!(!peer.link.breaks_off());
        peer.link.handle_lost(peer.now, Disconnect::Abandoned);
        assert!(peer.link.breaks_off());
    });
    // The other end notices, without TLS too.
    paired(&sender(), &receiver(), |pair| {
        pair.run();
        pair.send(OPENER, MAIN, b"a");
        pair.run();
        pair.take_all(ACCEPTOR, MAIN);
        pair.run();
        pair.ends[OPENER].close_with(pair.now, CloseMode::Drain, failed());
        pair.run();
        let reason = pair.ends[ACCEPTOR].end_reason().expect("ended");
        assert_eq!(reason, &EndReason::Lost(Loss::PeerLeft));
        assert!(!reason.ends_stream());
    });
}
