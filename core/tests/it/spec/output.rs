//! Order of output, and output into buffers of any length.

use core::time::Duration;

use countersign_core::{Config, LinkState, Output, ReceiveChannel, Role, SendChannel};

use crate::common::Cut;
use crate::common::bytes::{Entry, ack, first, message, next, noted, number, reject};
use crate::common::pair::{ACCEPTOR, OPENER, Pair};
use crate::common::peer::{MAIN, against};

fn both_ways(manual: bool) -> (Config, Config) {
    let back = ReceiveChannel::new("back");
    let back = if manual { back.manual() } else { back };
    let opener = Config::new()
        .channel(SendChannel::new("there"))
        .channel(back);
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("there"))
        .channel(SendChannel::new("back"));
    (opener, acceptor)
}

#[test]
fn answers_go_before_messages() {
    // [ORDER-1]
    against(Role::Opener, &both_ways(true).0, |peer| {
        peer.welcome(&[Entry::receive("there"), Entry::send("back")]);
        let back = peer.link.channel_id("back").expect("declared");
        peer.send(b"1");
        peer.say();
        peer.send(b"2");
        peer.takes(&[message(1, 1, b"a"), message(1, 2, b"b"), number(0x20, 0, 0)].concat());
        peer.takes(&reject(0, 1, 3, ""));
        for _ in 0..2 {
            peer.link.take(peer.now, back).expect("receive mode");
        }
        peer.link.reject(peer.now, back, 2, 4, "").expect("taken");
        peer.link.handle(peer.now, back, 1).expect("taken");
        let said = peer.say();
        assert!(
            said.ends_with(&[message(0, 2, b"2"), ack(1, 1)].concat()),
            "{said:02x?}"
        );
        let head = [peer.answer_to_ping(0), noted(0, 1), reject(1, 2, 4, "")].concat();
        assert!(said.starts_with(&head), "{said:02x?}");
    });
}

#[test]
fn a_full_window_holds_no_answer_back() {
    // [ORDER-1]
    against(Role::Opener, &both_ways(false).0, |peer| {
        let mut there = Entry::receive("there");
        there.window_messages = 1;
        peer.welcome(&[there, Entry::send("back")]);
        let back = peer.link.channel_id("back").expect("declared");
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.takes(&[message(1, 1, b"a"), number(0x20, 0, 0)].concat());
        peer.link.take(peer.now, back).expect("receive mode");
        let answer = peer.answer_to_ping(0);
        assert_eq!(peer.say(), [answer, ack(1, 1)].concat());
    });
}

#[test]
fn channels_declared_earlier_go_first() {
    // [ORDER-2] [FRAGMENT-5]
    let config = Config::new()
        .channel(SendChannel::new("urgent"))
        .channel(SendChannel::new("bulk"))
        .frame_limit(512);
    against(Role::Opener, &config, |peer| {
        peer.welcome(&[Entry::receive("urgent"), Entry::receive("bulk")]);
        let bulk = peer.link.channel_id("bulk").expect("declared");
        let payload = [9; 1000];
        peer.link
            .send(peer.now, bulk, payload.to_vec(), None)
            .expect("accepted");
        let mut buffer = [0; 512];
        assert_eq!(
            peer.link.poll_output(peer.now, &mut buffer),
            Output::Written(512)
        );
        assert_eq!(buffer[..], first(1, 1, 1000, &payload[..492]));
        peer.send(b"now");
        let expected = [
            message(0, 1, b"now"),
            next(1, 1, false, &payload[..500]),
            next(1, 1, true, &payload[..8]),
        ];
        assert_eq!(peer.say(), expected.concat());
    });
    let acceptor = Config::new()
        .channel(SendChannel::new("second of hello"))
        .channel(SendChannel::new("first of hello"));
    against(Role::Acceptor, &acceptor, |peer| {
        peer.hello(&[
            Entry::receive("first of hello"),
            Entry::receive("second of hello"),
        ]);
        let other = peer.link.channel_id("first of hello").expect("declared");
        peer.link
            .send(peer.now, other, &b"b"[..], None)
            .expect("accepted");
        peer.send(b"a");
        assert_eq!(
            peer.say(),
            [message(1, 1, b"a"), message(0, 1, b"b")].concat()
        );
    });
}

/// What two ends do with each other when every buffer has this length.
fn with_buffers_of(length: usize) -> (Vec<Vec<u8>>, [String; 2]) {
    let (opener, acceptor) = both_ways(false);
    let mut pair = Pair::new(&opener, &acceptor, Cut::Whole);
    pair.buffer = length;
    pair.run();
    let lengths = [0, 1, 2, 255, 256, 257, 600, 5000, 0, 1];
    for length in lengths {
        pair.send(OPENER, MAIN, &vec![7; length]);
    }
    // One that will be skipped.
    let soon = pair.now;
    pair.ends[OPENER]
        .send(pair.now, MAIN, &b"x"[..], Some(soon))
        .expect("accepted");
    pair.send(OPENER, MAIN, b"end");
    pair.run();
    let taken = pair.take_all(ACCEPTOR, MAIN);
    pair.run();
    pair.ends[OPENER].close(pair.now, countersign_core::CloseMode::Drain);
    pair.run();
    assert_eq!(pair.lives(), [LinkState::Ended; 2]);
    let reports = pair.ends.map(|end| end.report()[0].verdicts.to_string());
    (taken, reports)
}

#[test]
fn output_fits_into_buffers_of_any_length() {
    // [FRAGMENT-6]
    // The pair grows a buffer to what `TooSmall` asks for and to nothing more, so this ends only
    // if that is always enough.
    let expected = with_buffers_of(65_536);
    assert_eq!(expected.1[OPENER], "11 handled, 1 expired");
    for length in (0..40).chain([100, 511, 512, 513, 1000]) {
        assert_eq!(with_buffers_of(length), expected, "buffers of {length}");
    }
}

#[test]
fn too_small_asks_for_what_is_enough() {
    // [FRAGMENT-6]
    against(Role::Opener, &Config::default(), |peer| {
        let entry = 52 + 4;
        let needed = 8 + 50 + entry;
        let mut buffer = [0; 200];
        for length in [0, 1, needed - 1] {
            let output = peer.link.poll_output(peer.now, &mut buffer[..length]);
            assert_eq!(output, Output::TooSmall { needed });
        }
        let output = peer.link.poll_output(peer.now, &mut buffer[..needed]);
        assert_eq!(output, Output::Written(needed));
        assert_eq!(peer.link.poll_output(peer.now, &mut []), Output::Idle);
    });
}

#[test]
fn a_driver_that_sleeps_to_the_deadline_never_stalls() {
    // [ACK-6] [PING-2] [WINDOW-5]
    let opener = Config::new().channel(SendChannel::new("main"));
    let channel = ReceiveChannel::new("main").max_message(64).window(3, 64);
    let acceptor = Config::new().channel(channel);
    for cut in [Cut::Whole, Cut::Bytes] {
        let mut pair = Pair::new(&opener, &acceptor, cut);
        pair.run();
        let total = 500;
        let (mut sent, mut taken, mut turns) = (0, 0, 0);
        while taken < total {
            while sent < total
                && pair.ends[OPENER]
                    .send(pair.now, MAIN, vec![1; sent % 65], None)
                    .is_ok()
            {
                sent += 1;
            }
            pair.run();
            // A slow application: one message, then it waits for the next event or deadline.
            if pair.ends[ACCEPTOR]
                .take(pair.now, MAIN)
                .expect("receive mode")
                .is_some()
            {
                taken += 1;
            } else {
                assert!(pair.sleep(), "nothing to do, nothing to wait for");
            }
            turns += 1;
            assert!(turns < 10 * total, "stalled");
        }
        pair.pass(Duration::from_millis(10));
        assert_eq!(
            pair.ends[OPENER].report()[0].verdicts.to_string(),
            "500 handled"
        );
    }
}
