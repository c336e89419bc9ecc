//! Messages: numbers, SKIP, fragments.

use countersign_core::{Config, PeerMisbehaved, ReceiveChannel, SendChannel};

use crate::common::bytes::{ack, first, frame, message, next, number, skip};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, against_receiver, against_sender};

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

#[test]
fn numbers_count_from_one() {
    // [NUMBER-1]
    against_sender(&Config::default(), |peer| {
        assert_eq!([peer.send(b"a"), peer.send(b"b")], [1, 2]);
        assert_eq!(
            peer.say(),
            [message(0, 1, b"a"), message(0, 2, b"b")].concat()
        );
    });
}

#[test]
fn a_number_that_does_not_follow_is_a_violation() {
    // [NUMBER-2]
    for wrong in [0, 2, u32::MAX] {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&message(0, wrong, b"x"), PeerMisbehaved::SequenceGap, 4);
        });
    }
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.refuses(&message(0, 1, b"x"), PeerMisbehaved::SequenceGap, 4);
    });
    // Only the low half travels.
    against_receiver(&receiver(), |peer| {
        peer.takes(&skip(0, 0xFFFF_FFFE));
        peer.takes(&message(0, 0xFFFF_FFFF, b"x"));
        peer.takes(&message(0, 0, b"y"));
        peer.takes(&message(0, 1, b"z"));
        peer.take();
        assert_eq!(peer.take(), Some((0x1_0000_0000, b"y".to_vec())));
        assert_eq!(peer.take(), Some((0x1_0000_0001, b"z".to_vec())));
        assert_eq!(peer.say(), ack(0, 0x1_0000_0001));
    });
    against_receiver(&receiver(), |peer| {
        peer.refuses(&next(0, 2, true, b"x"), PeerMisbehaved::SequenceGap, 4);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&first(0, 1, 4, b"x"));
        peer.refuses(&next(0, 2, false, b"x"), PeerMisbehaved::SequenceGap, 4);
    });
}

#[test]
fn numbers_left_out_are_announced() {
    // [SKIP-1]
    let config = Config::new().channel(SendChannel::new("main").in_flight(1));
    against_sender(&config, |peer| {
        peer.send(b"a");
        peer.say();
        let soon = peer.now + core::time::Duration::from_millis(1);
        for _ in 0..2 {
            peer.link
                .send(peer.now, MAIN, &b"b"[..], Some(soon))
                .expect("accepted");
        }
        peer.send(b"c");
        peer.sleep(core::time::Duration::from_millis(1));
        peer.takes(&ack(0, 1));
        let answer = peer.answer_to_welcome();
        assert_eq!(
            peer.say(),
            [answer, skip(0, 3), message(0, 4, b"c")].concat()
        );
    });
}

#[test]
fn skips_go_forward_between_messages() {
    // [SKIP-2] [SKIP-3]
    against_receiver(&receiver(), |peer| {
        peer.refuses(&skip(0, 0), PeerMisbehaved::SkippedBackwards, 4);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.refuses(&skip(0, 1), PeerMisbehaved::SkippedBackwards, 4);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&skip(0, 5));
        peer.refuses(&skip(0, 5), PeerMisbehaved::SkippedBackwards, 4);
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&first(0, 1, 9, b"x"));
        peer.refuses(&skip(0, 5), PeerMisbehaved::FragmentOrder, 4);
    });
}

#[test]
fn numbers_have_a_bound() {
    // [SKIP-4]
    against_receiver(&receiver(), |peer| {
        peer.takes(&skip(0, (1 << 63) - 1));
        peer.takes(&message(0, 0, b"x"));
        assert_eq!(peer.take(), Some((1 << 63, b"x".to_vec())));
    });
    for through in [1 << 63, u64::MAX] {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&skip(0, through), PeerMisbehaved::SequenceGap, 4);
        });
    }
}

#[test]
fn skipped_numbers_are_settled() {
    // [SKIP-5]
    against_receiver(&receiver(), |peer| {
        peer.takes(&skip(0, 5));
        assert_eq!(peer.say(), ack(0, 5));
        peer.takes(&message(0, 6, b"x"));
        peer.takes(&skip(0, 9));
        assert_eq!(peer.say(), []);
        peer.take();
        assert_eq!(peer.say(), ack(0, 9));
    });
}

#[test]
fn long_messages_travel_in_fragments() {
    // [FRAGMENT-1] [FRAGMENT-6]
    let expected: Vec<u8> = (0..=255).cycle().take(2000).collect();
    against_sender(&Config::default().frame_limit(512), |peer| {
        peer.send(&expected);
        let heads = [
            first(0, 1, 2000, &expected[..492]),
            next(0, 1, false, &expected[492..992]),
            next(0, 1, false, &expected[992..1492]),
            next(0, 1, false, &expected[1492..1992]),
            next(0, 1, true, &expected[1992..]),
        ];
        assert_eq!(peer.say(), heads.concat());
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&first(0, 1, 2000, &expected[..1]));
        peer.takes(&next(0, 1, false, &expected[1..1500]));
        peer.takes(&next(0, 1, false, &expected[1500..1501]));
        assert_eq!(peer.take(), None);
        peer.takes(&next(0, 1, true, &expected[1501..]));
        assert_eq!(peer.take(), Some((1, expected.clone())));
    });
}

#[test]
fn fragments_add_up() {
    // [FRAGMENT-2]
    let wrong = [
        first(0, 1, 4, b"abcd"),
        first(0, 1, 4, b"abcde"),
        [first(0, 1, 4, b"ab"), next(0, 1, false, b"cd")].concat(),
        [first(0, 1, 4, b"ab"), next(0, 1, true, b"c")].concat(),
        [first(0, 1, 4, b"ab"), next(0, 1, true, b"cde")].concat(),
        [first(0, 1, 4, b"ab"), next(0, 1, false, b"cde")].concat(),
    ];
    for bytes in wrong {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::FragmentLength, 4);
        });
    }
}

#[test]
fn fragments_carry_something() {
    // [FRAGMENT-3]
    let wrong = [
        first(0, 1, 4, b""),
        first(0, 1, 0, b""),
        [first(0, 1, 4, b"ab"), next(0, 1, false, b"")].concat(),
    ];
    for bytes in wrong {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::FragmentLength, 4);
        });
    }
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b""));
        assert_eq!(peer.take(), Some((1, Vec::new())));
    });
}

#[test]
fn fragments_have_an_order() {
    // [FRAGMENT-4]
    for last in [false, true] {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&next(0, 1, last, b"x"), PeerMisbehaved::FragmentOrder, 4);
        });
    }
    for again in [first(0, 1, 4, b"ab"), message(0, 1, b"x")] {
        against_receiver(&receiver(), |peer| {
            peer.takes(&first(0, 1, 4, b"ab"));
            peer.refuses(&again, PeerMisbehaved::FragmentOrder, 4);
        });
    }
}

#[test]
fn other_frames_come_between_fragments() {
    // [FRAGMENT-5]
    let two = Config::new()
        .channel(ReceiveChannel::new("main"))
        .channel(ReceiveChannel::new("more"));
    crate::common::peer::against(countersign_core::Role::Acceptor, &two, |peer| {
        use crate::common::bytes::Entry;
        peer.hello(&[Entry::send("main"), Entry::send("more")]);
        peer.takes(&first(0, 1, 4, b"ab"));
        peer.takes(&number(0x20, 0, 3));
        peer.takes(&skip(1, 7));
        peer.takes(&first(1, 8, 2, b"x"));
        peer.takes(&frame(0x99, 0, 0, b"whatever"));
        peer.takes(&next(0, 1, true, b"cd"));
        peer.takes(&next(1, 8, true, b"y"));
        assert_eq!(peer.take(), Some((1, b"abcd".to_vec())));
    });
}

#[test]
fn messages_keep_to_the_receivers_largest() {
    // [FRAGMENT-7]
    let config = Config::new().channel(ReceiveChannel::new("main").max_message(10));
    let limit = 10;
    against_receiver(&config, |peer| {
        peer.takes(&message(0, 1, &[1; 10]));
        peer.takes(&first(0, 2, 10, &[1; 9]));
    });
    against_receiver(&config, |peer| {
        let length = 11;
        let expected = PeerMisbehaved::MessageTooLarge { length, limit };
        peer.refuses(&message(0, 1, &[1; 11]), expected, 3);
    });
    for length in [11, u64::MAX] {
        against_receiver(&config, |peer| {
            let expected = PeerMisbehaved::MessageTooLarge { length, limit };
            peer.refuses(&first(0, 1, length, b"x"), expected, 3);
        });
    }
    paired(&Config::default(), &config, |pair| {
        pair.run();
        pair.send(OPENER, MAIN, &[7; 10]);
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [[7; 10]]);
    });
}
