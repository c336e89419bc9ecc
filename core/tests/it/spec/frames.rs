//! Frames and Violations.

use countersign_core::{
    Config, EndReason, Event, PeerMisbehaved, ReceiveChannel, Role, SendChannel, abort,
};

use crate::common::bytes::{
    Entry, Greeting, ack, close, closing, coded, frame, message, noted, number, reject, skip,
};
use crate::common::peer::{MAIN, against, against_receiver, against_sender};

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

#[test]
fn headers_are_eight_bytes_in_network_order() {
    // [FRAME-1]
    against_receiver(&receiver(), |peer| {
        peer.takes(&[
            0x10, 3, 0, 0, 0, 0, 0, 7, // MESSAGE, FIRST and LAST, channel 0, 7 bytes
            0, 0, 0, 1, b'a', b'b', b'c',
        ]);
        assert_eq!(peer.take(), Some((1, b"abc".to_vec())));
        assert_eq!(
            peer.say(),
            [0x12, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]
        );
    });
}

#[test]
fn texts_are_utf8() {
    // [FRAME-2]
    against_sender(&Config::default(), |peer| {
        peer.send(b"x");
        peer.say();
        let mut bad = reject(0, 1, 5, "ab");
        *bad.last_mut().expect("not empty") = 0xFF;
        peer.refuses(&bad, PeerMisbehaved::NotText, 1);
    });
    against_sender(&Config::default(), |peer| {
        peer.refuses(&coded(0x32, 0, 1, &[0xC0]), PeerMisbehaved::NotText, 1);
    });
    against(Role::Acceptor, &receiver(), |peer| {
        let mut entry = Entry::send("main");
        entry.name = vec![0xFF];
        let hello = Greeting::hello(&[entry]).bytes();
        peer.refuses(&hello, PeerMisbehaved::NotText, 1);
    });
}

/// Type, shortest and longest body.
const BOUNDS: [(u8, usize, usize); 12] = [
    (0x01, 50, 8192),
    (0x02, 50, 8192),
    (0x03, 4, 260),
    (0x11, 8, 8),
    (0x12, 8, 8),
    (0x13, 8, 4104),
    (0x14, 8, 8),
    (0x20, 8, 8),
    (0x21, 24, 24),
    (0x30, 6, 902),
    (0x31, 0, 0),
    (0x32, 4, 260),
];

#[test]
fn bodies_have_bounds() {
    // [FRAME-3]
    for (kind, least, most) in BOUNDS {
        let outside = [least.checked_sub(1), Some(most + 1)];
        for length in outside.into_iter().flatten() {
            against_receiver(&receiver(), |peer| {
                let expected = PeerMisbehaved::FrameLength { kind, length };
                peer.refuses(&frame(kind, 0, 0, &vec![0; length]), expected, 1);
            });
        }
        for length in [least, most] {
            against_receiver(&receiver(), |peer| {
                peer.hear(&frame(kind, 0, 0, &vec![0; length]));
                let refused = matches!(
                    peer.link.end_reason(),
                    Some(EndReason::Peer(PeerMisbehaved::FrameLength { length: l, .. })) if *l != most
                );
                assert!(!refused, "{kind:#x} {length} {:?}", peer.link.end_reason());
            });
        }
    }
    // MESSAGE has its number, its length where it begins and goes on, and its times with a flag.
    for (flags, length) in [(3, 3), (2, 3), (0, 3), (1, 11), (7, 19), (5, 27)] {
        against_receiver(&receiver(), |peer| {
            let expected = PeerMisbehaved::FrameLength { kind: 0x10, length };
            peer.refuses(&frame(0x10, flags, 0, &vec![0; length]), expected, 1);
        });
    }
}

#[test]
fn messages_keep_to_the_receivers_frame_limit() {
    // [FRAME-4]
    let config = receiver().frame_limit(512);
    against_receiver(&config, |peer| {
        peer.takes(&message(0, 1, &[7; 500]));
        assert_eq!(peer.take(), Some((1, vec![7; 500])));
    });
    against_receiver(&config, |peer| {
        let expected = PeerMisbehaved::FrameLength {
            kind: 0x10,
            length: 505,
        };
        peer.refuses(&message(0, 1, &[7; 501]), expected, 1);
    });
    // The other way round: a link keeps to what the peer declared.
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        let mut welcome = Greeting::welcome(&[Entry::receive("main")]);
        welcome.frame_limit = 512;
        peer.takes(&welcome.bytes());
        peer.send(&[1; 501]);
        let said = peer.say();
        assert_eq!(said[..8], [0x10, 1, 0, 0, 0, 0, 1, 0xF8], "512 in all");
        assert_eq!(said.len(), 512 + 12 + 501 - 492);
    });
}

#[test]
fn unknown_types_are_violations_or_skipped() {
    // [FRAME-5] [FRAME-6]
    let known = [
        0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x21, 0x30, 0x31, 0x32,
    ];
    for kind in (0..0x80).filter(|kind| !known.contains(kind)) {
        against_receiver(&receiver(), |peer| {
            peer.refuses(
                &frame(kind, 0, 0, &[]),
                PeerMisbehaved::UnknownFrame(kind),
                1,
            );
        });
    }
    for kind in [0x80, 0x99, 0xFF] {
        against(Role::Acceptor, &receiver().frame_limit(512), |peer| {
            peer.takes(&frame(kind, 0xFF, 77, &[0x55; 504]));
            peer.hello(&[Entry::send("main")]);
            peer.takes(&frame(kind, 0xFF, 77, &[]));
            peer.takes(&message(0, 1, b"x"));
            peer.takes(&frame(kind, 1, 0, &[0x55; 504]));
            assert_eq!(peer.take(), Some((1, b"x".to_vec())));
            let length = 505;
            let expected = PeerMisbehaved::FrameLength { kind, length };
            peer.refuses(&frame(kind, 0, 0, &vec![0; length]), expected, 1);
        });
    }
}

#[test]
fn unknown_flags_are_violations() {
    // [FRAME-7]
    for (kind, _, most) in BOUNDS {
        // REFUSE, VERDICT and CLOSE have one flag.
        let first = u8::from(matches!(kind, 0x03 | 0x13 | 0x30));
        for bit in first..8 {
            let flags = 1 << bit;
            against_receiver(&receiver(), |peer| {
                let expected = PeerMisbehaved::UnknownFlags { kind, flags };
                peer.refuses(&frame(kind, flags, 0, &vec![0; most]), expected, 1);
            });
        }
    }
    // MESSAGE has three, one of them only where the message begins.
    for flags in (3..8).map(|bit| 3 | 1 << bit).chain([4, 6]) {
        against_receiver(&receiver(), |peer| {
            let kind = 0x10;
            let expected = PeerMisbehaved::UnknownFlags { kind, flags };
            peer.refuses(&frame(kind, flags, 0, &[0; 21]), expected, 1);
        });
    }
}

#[test]
fn idle_channels_and_reserved_bytes_are_ignored() {
    // [FRAME-8] [FRAME-9]
    against(Role::Acceptor, &receiver(), |peer| {
        let mut entry = Entry::send("main");
        entry.reserved = 0xEE;
        let mut hello = Greeting::hello(&[entry]);
        hello.reserved = [1, 2, 3];
        let mut hello = hello.bytes();
        hello[3] = 9;
        peer.takes(&hello);
        let welcome = peer.say();
        assert_eq!(welcome[2..4], [0, 0], "channel");
        assert_eq!(welcome[8 + 9..8 + 12], [0; 3]);
        peer.takes(&number(0x20, 500, 7));
        assert_eq!(peer.say(), peer.answer_to_ping(7));
        let mut abort = coded(0x32, 500, 4, b"no");
        abort[10..12].copy_from_slice(&[8, 9]);
        peer.hear(&abort);
        let (code, text) = (4, "no".to_owned());
        let expected = EndReason::AccusedByPeer { code, text };
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}

#[test]
fn bodies_end_with_their_last_field() {
    // [FRAME-10]
    against_receiver(&receiver(), |peer| {
        let mut body = vec![0, 0, 0, 0, 0, 1];
        body.extend([0; 9]);
        peer.refuses(&frame(0x30, 0, 0, &body), PeerMisbehaved::Truncated, 1);
    });
    against_receiver(&receiver(), |peer| {
        // What is behind the list of a CLOSE is its text.
        let long = closing(0, 0, &[(0, 0)], &[b'a'; 257]);
        let (kind, length) = (0x30, 16 + 257);
        let expected = PeerMisbehaved::FrameLength { kind, length };
        peer.refuses(&long, expected, 1);
    });
    against(Role::Acceptor, &receiver(), |peer| {
        let mut hello = Greeting::hello(&[Entry::send("main")]);
        hello.count = Some(2);
        peer.refuses(&hello.bytes(), PeerMisbehaved::Truncated, 1);
    });
}

#[test]
fn channels_are_those_of_the_handshake() {
    // [FRAME-11]
    let all = [
        message(1, 1, b"x"),
        skip(1, 1),
        ack(1, 0),
        reject(1, 1, 0, ""),
        noted(1, 1),
    ];
    for bytes in all {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::UnknownChannel(1), 4);
        });
    }
}

#[test]
fn channels_have_a_direction() {
    // [FRAME-12]
    for bytes in [ack(0, 0), reject(0, 1, 0, "")] {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::WrongDirection(0), 4);
        });
    }
    for bytes in [
        message(0, 1, b"x"),
        skip(0, 1),
        noted(0, 1),
        close(&[(0, 0)]),
    ] {
        against_sender(&Config::default(), |peer| {
            if bytes[0] == 0x30 {
                // The peer sends on no channel, so its list is empty.
                peer.refuses(&bytes, PeerMisbehaved::CloseList, 5);
            } else {
                peer.refuses(&bytes, PeerMisbehaved::WrongDirection(0), 4);
            }
        });
    }
}

#[test]
fn a_violation_is_answered_with_abort_and_nothing_else() {
    // [ABORT-1] [ABORT-2]
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.hear(&[ack(0, 9), message(0, 2, b"y")].concat());
        peer.accused(PeerMisbehaved::WrongDirection(0), 4);
        assert_eq!(peer.take(), Some((1, b"x".to_vec())), "can still be taken");
        assert_eq!(peer.take(), None);
    });
    // The text that a link sends is text for people, within its bound.
    against_receiver(&receiver(), |peer| {
        peer.hear(&ack(0, 9));
        let said = peer.say();
        let text = core::str::from_utf8(&said[12..]).expect("text");
        assert!(!text.is_empty() && text.len() <= 256);
    });
    let long = "ä".repeat(200);
    let mut out = [0; 400];
    let aborting = countersign_core::wire::Frame::Abort {
        code: 1,
        text: &long,
    };
    assert_eq!(aborting.encode(&mut out), Ok(8 + 4 + 256));
    let odd = format!("x{long}");
    let aborting = countersign_core::wire::Frame::Abort {
        code: 1,
        text: &odd,
    };
    assert_eq!(aborting.encode(&mut out), Ok(8 + 4 + 255));
}

#[test]
fn abort_is_not_answered() {
    // [ABORT-3] [ABORT-4]
    let expected = EndReason::AccusedByPeer {
        code: abort::LIMIT,
        text: "too much".to_owned(),
    };
    against_sender(&Config::default(), |peer| {
        peer.hear(&coded(0x32, 0, abort::LIMIT, b"too much"));
        assert_eq!(peer.link.end_reason(), Some(&expected));
        assert!(!expected.can_retry());
        assert_eq!(peer.say(), []);
        assert!(peer.ended);
    });
    for role in [Role::Opener, Role::Acceptor] {
        against(role, &receiver(), |peer| {
            peer.hear(&coded(0x32, 0, abort::LIMIT, b"too much"));
            assert_eq!(peer.link.end_reason(), Some(&expected));
            assert_eq!(peer.say(), []);
        });
    }
}

#[test]
fn a_violation_gives_every_message_its_verdict() {
    // [ABORT-5]
    use countersign_core::Verdict;
    let config = Config::new().channel(SendChannel::new("main").in_flight(1));
    against_sender(&config, |peer| {
        peer.send(b"on the wire");
        peer.send(b"not begun");
        peer.say();
        peer.hear(&ack(0, 2));
        let verdict = |sequence, verdict| Event::Verdict {
            channel: MAIN,
            sequence,
            verdict,
        };
        assert_eq!(
            peer.events(),
            [
                verdict(2, Verdict::Withdrawn),
                verdict(1, Verdict::Unknown),
                Event::Ended
            ]
        );
        peer.say();
    });
}
