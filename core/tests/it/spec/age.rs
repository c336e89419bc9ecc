//! Age: what a receiver knows of its peer's clock, and which messages are late.

use core::time::Duration;

use countersign_core::{
    Age, Config, Event, Instant, Link, Output, ReceiveChannel, Role, SendChannel, Verdict, reject,
};

use crate::common::bytes::{
    Entry, Greeting, ack, first, message, next, noted, number, pong, reject as rejected, timed,
};
use crate::common::pair::{ACCEPTOR, OPENER, lasting, paired};
use crate::common::peer::{MAIN, Peer, against, against_lasting, against_receiver, against_sender};

const MS: u64 = 1000;
/// The epoch of the peer's clock is anywhere.
const PEER: u64 = u64::MAX - 3;
const NEVER: u64 = u64::MAX;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn auto() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn manual() -> Config {
    Config::new().channel(ReceiveChannel::new("main").manual())
}

/// What the peer's clock shows this long after it showed [`PEER`].
fn peer(micros: u64) -> u64 {
    PEER.wrapping_add(micros)
}

/// The peer opens. What it says takes `there` microseconds, and what it hears `back`. It answers
/// WELCOME at once. Returns what its clock shows when that has arrived.
fn greeted(end: &mut Peer, there: u64, back: u64) -> u64 {
    let written = peer(0);
    end.now = end.now + Duration::from_micros(there);
    let mut hello = Greeting::hello(&[Entry::send("main")]);
    hello.times = [written, 0];
    end.hear(&hello.bytes());
    let welcome = end.say();
    assert_eq!(end.events(), [Event::Connected]);
    let time = end.now.as_micros();
    assert_eq!(welcome[40..48], time.to_be_bytes(), "when it was written");
    assert_eq!(welcome[48..56], time.to_be_bytes(), "when HELLO arrived");
    let arrived = peer(there + back);
    end.now = end.now + Duration::from_micros(back + there);
    end.takes(&pong(time, arrived, arrived));
    peer(there + back + there)
}

fn life(accepted: u64, life: u64) -> [u64; 2] {
    [accepted, accepted.wrapping_add(life)]
}

#[test]
fn a_message_is_taken_while_it_is_good_and_no_longer() {
    // [AGE-5] [AGE-6] One millisecond each way: what is not known of the offset is up to two.
    for (waits, in_time) in [
        (0, true),
        (197_000, true),
        (200_000, false),
        (4_000_000, false),
    ] {
        against_receiver_of(&auto(), |end| {
            let now = greeted(end, MS, MS);
            end.takes(&timed(0, 1, life(now, 200 * MS), b"go"));
            let late_at = end.link.late_at(MAIN).expect("it has a limited life");
            assert!(late_at < end.now + millis(200));
            assert!(late_at > end.now + millis(197));
            end.now = end.now + Duration::from_micros(waits);
            let ping = end.say();
            assert_eq!(ping[0], 0x20, "it asks as soon as it is worth it");
            let taken = end.take();
            if in_time {
                assert_eq!(taken, Some((1, b"go".to_vec())));
                assert_eq!(end.say(), ack(0, 1));
            } else {
                assert_eq!(taken, None);
                assert_eq!(end.say(), rejected(0, 1, reject::EXPIRED, ""));
                end.takes(&noted(0, 1));
                assert_eq!(end.say(), ack(0, 1));
            }
        });
    }
}

/// A link that accepts, opposite a peer that has not said anything yet.
fn against_receiver_of(config: &Config, script: impl Fn(&mut Peer)) {
    against(Role::Acceptor, config, script);
}

#[test]
fn the_age_is_between_its_bounds() {
    // [AGE-1] [AGE-5] The peer's message is 10 ms old when it is written, and takes 3 ms.
    against_receiver_of(&manual(), |end| {
        let now = greeted(end, 5 * MS, MS);
        end.takes(&timed(0, 1, [now.wrapping_sub(7 * MS), NEVER], b"x"));
        let message = end
            .link
            .take(end.now, MAIN)
            .expect("receive mode")
            .expect("it came");
        let Age { at_least, at_most } = message.age(end.now).expect("it has times");
        // HELLO took 5 ms and WELCOME 1 ms, and nobody knows how the 6 ms were shared.
        assert!(
            at_least < millis(7) && at_least >= Duration::from_micros(1_900),
            "{at_least:?}"
        );
        assert!(
            at_most >= millis(7) && at_most < Duration::from_micros(8_100),
            "{at_most:?}"
        );
        let later = message.age(end.now + millis(100)).expect("it has times");
        assert!(later.at_least < millis(107) && later.at_most >= millis(107));
        assert!(later.at_most < Duration::from_micros(108_300), "{later}");
    });
}

#[test]
fn messages_without_times_have_no_age_and_are_never_late() {
    // [AGE-3]
    against_receiver(&auto(), |end| {
        end.takes(&message(0, 1, b"x"));
        end.sleep(millis(1));
        let taken = end
            .link
            .take(end.now, MAIN)
            .expect("receive mode")
            .expect("it came");
        assert_eq!(taken.age(end.now), None);
        assert_eq!(end.link.late_at(MAIN), None);
    });
}

#[test]
fn messages_with_a_limited_life_carry_their_times_and_others_do_not() {
    // [AGE-2] [AGE-3] [AGE-4]
    against_sender(&Config::default(), |end| {
        end.send(b"a");
        let late = end.now + millis(200);
        let sent = end.link.send(end.now, MAIN, &b"b"[..], Some(late));
        sent.expect("accepted");
        end.send(b"c");
        let now = end.now.as_micros();
        // What answers WELCOME goes before everything.
        let said = end.say();
        assert_eq!(said[..32], pong(0, now, now));
        let expected = [
            message(0, 1, b"a"),
            timed(0, 2, [now, late.as_micros()], b"b"),
            message(0, 3, b"c"),
        ];
        assert_eq!(said[32..], expected.concat());
        end.sleep(millis(10));
        let sent = end.link.send(end.now, MAIN, &b"d"[..], Some(late));
        sent.expect("accepted");
        let now = end.now.as_micros();
        assert_eq!(
            end.say(),
            timed(0, 4, [now, late.as_micros()], b"d"),
            "once is enough"
        );
    });
}

#[test]
fn a_receiver_that_wants_times_gets_them_with_every_message() {
    // [AGE-3]
    against(Role::Opener, &Config::default(), |end| {
        let mut entry = Entry::receive("main");
        entry.reserved = 0x01;
        end.welcome(&[entry]);
        end.send(b"a");
        let now = end.now.as_micros();
        let expected = [pong(0, now, now), timed(0, 1, [now, NEVER], b"a")];
        assert_eq!(end.say(), expected.concat());
    });
}

#[test]
fn times_stay_the_same_when_a_message_is_sent_again() {
    // [AGE-2]
    against_lasting(Role::Opener, &Config::default(), |end| {
        end.welcome(&[Entry::receive("main")]);
        let (accepted, late) = (end.now.as_micros(), end.now + millis(60_000));
        let sent = end.link.send(end.now, MAIN, &b"a"[..], Some(late));
        sent.expect("accepted");
        end.say();
        end.sleep(millis(500));
        end.lose();
        let said = end.resumes([0, 0, 0]);
        let times = [accepted, late.as_micros()];
        assert!(said.ends_with(&timed(0, 1, times, b"a")), "{said:02x?}");
    });
}

#[test]
fn what_a_message_in_fragments_says_of_its_times_it_says_first() {
    // [AGE-2]
    against_receiver_of(&auto(), |end| {
        let now = greeted(end, MS, MS);
        let times = life(now, 200 * MS).map(u64::to_be_bytes);
        let mut bytes = first(0, 1, 4, b"ab");
        bytes[1] |= 4;
        bytes[7] += 16;
        bytes.splice(20..20, times.as_flattened().iter().copied());
        end.takes(&bytes);
        assert_eq!(end.link.late_at(MAIN), None, "it has not arrived");
        end.takes(&next(0, 1, true, b"cd"));
        assert!(end.link.late_at(MAIN).is_some());
        end.sleep(millis(201));
        assert_eq!(end.take(), None);
    });
}

#[test]
fn a_message_that_was_late_when_it_was_accepted_is_late() {
    // [AGE-7]
    against_receiver_of(&auto(), |end| {
        let now = greeted(end, MS, MS);
        end.takes(&timed(0, 1, [now, now], b"x"));
        end.takes(&timed(0, 2, [now, now.wrapping_sub(1)], b"x"));
        assert_eq!(end.take(), None);
        let expired = |number| rejected(0, number, reject::EXPIRED, "");
        let said = end.say();
        assert!(
            said.ends_with(&[expired(1), expired(2)].concat()),
            "{said:02x?}"
        );
        assert_eq!(end.link.report()[0].expired, 2);
    });
}

#[test]
fn without_a_clock_to_go_by_a_message_is_late() {
    // [AGE-6] The peer has not answered WELCOME.
    against_receiver(&auto(), |end| {
        end.takes(&timed(0, 1, life(0, 60_000 * MS), b"x"));
        end.takes(&message(0, 2, b"y"));
        assert_eq!(end.take(), Some((2, b"y".to_vec())), "others are not");
        let said = end.say();
        assert!(
            said.starts_with(&number(0x20, 0, end.now.as_micros())),
            "it asks"
        );
        assert!(said.ends_with(&rejected(0, 1, reject::EXPIRED, "")));
    });
}

#[test]
fn expired_comes_back_through_cuts() {
    // [AGE-6] [RESUME-13]
    let opener = Config::default();
    lasting(&opener, &auto(), |pair| {
        pair.run();
        let late = pair.now + millis(50);
        let sent = pair.ends[OPENER].send(pair.now, MAIN, &b"x"[..], Some(late));
        sent.expect("accepted");
        pair.one_way(OPENER);
        pair.now = pair.now + millis(50);
        assert_eq!(pair.ends[ACCEPTOR].take(pair.now, MAIN), Ok(None));
        // What it says of that is lost, twice.
        for _ in 0..2 {
            pair.lose_output(ACCEPTOR);
            pair.cut();
            pair.reconnect();
        }
        pair.run();
        let verdict = Event::Verdict {
            channel: MAIN,
            sequence: 1,
            verdict: Verdict::Expired,
        };
        let verdicts = pair.events[OPENER]
            .iter()
            .filter(|event| **event == verdict);
        assert_eq!(verdicts.count(), 1);
        let report = pair.ends[OPENER].report();
        assert_eq!(report[0].verdicts.to_string(), "1 expired");
    });
}

#[test]
fn a_clock_that_jumps_is_noticed() {
    // [AGE-8] A second later the peer's clock is ahead by ten.
    against_receiver_of(&auto(), |end| {
        let now = greeted(end, MS, MS);
        end.takes(&timed(0, 1, life(now, 60_000 * MS), b"a"));
        assert_eq!(end.say()[0], 0x20);
        end.sleep(millis(1000));
        let now = now.wrapping_add(11_000 * MS);
        end.takes(&timed(0, 2, life(now, 200 * MS), b"b"));
        assert_eq!(
            end.take(),
            Some((1, b"a".to_vec())),
            "nothing that is known has changed"
        );
        assert_eq!(end.take(), None, "and of this one nothing is");
        let asked = end.now.as_micros();
        let said = end.say();
        assert!(
            said.starts_with(&number(0x20, 0, asked)),
            "it asks: {said:02x?}"
        );
        end.takes(&noted(0, 2));
        end.now = end.now + millis(2);
        let now = now.wrapping_add(MS);
        end.takes(&pong(asked, now, now));
        end.takes(&timed(0, 3, life(now, 200 * MS), b"c"));
        assert_eq!(end.take(), Some((3, b"c".to_vec())));
    });
}

#[test]
fn a_peer_that_lies_makes_its_own_messages_early_or_late_and_nothing_else() {
    // [AGE-8] [PING-5]
    against_receiver_of(&auto(), |end| {
        greeted(end, MS, MS);
        for (number, times) in (1_u32..).zip([
            [0, 0],
            [u64::MAX, 0],
            [0, u64::MAX],
            [1 << 63, (1 << 63) - 1],
            [u64::MAX - 1, u64::MAX],
        ]) {
            let now = end.now.as_micros();
            end.takes(&pong(now, u64::from(number) << 60, times[0]));
            end.takes(&pong(u64::MAX, times[1], times[0]));
            end.takes(&timed(0, number, times, b"x"));
            end.sleep(millis(7));
            end.take();
            end.say();
        }
        end.takes(&message(0, 6, b"still there"));
        assert_eq!(end.take(), Some((6, b"still there".to_vec())));
    });
}

#[test]
fn the_clock_is_asked_as_often_as_it_is_worth_it() {
    // [PING-4] Nothing but what arrives makes it ask, and no timer.
    against_receiver_of(&auto(), |end| {
        let mut now = greeted(end, MS, MS);
        let mut pings = Vec::new();
        for sent in 1..=400_u32 {
            end.takes(&timed(0, sent, life(now, 200 * MS), b"x"));
            end.take();
            let said = end.say();
            if said.first() == Some(&0x20) {
                pings.push(sent);
                let asked = end.now.as_micros();
                end.takes(&pong(asked, now, now));
            }
            now = now.wrapping_add(10 * MS);
            end.now = end.now + millis(10);
        }
        // After 10, 20, 40 ms and so on, and every second in the end.
        assert_eq!(pings[..7], [1, 3, 7, 15, 31, 63, 127]);
        assert_eq!(pings[7..], [227, 327]);
        end.sleep(millis(900));
        assert_eq!(end.say(), [], "it does not ask while nothing arrives");
    });
}

#[test]
fn the_opener_knows_the_clock_from_the_greetings() {
    // [AGE-1]
    let opener = Config::new().channel(ReceiveChannel::new("main"));
    let acceptor = Config::new().channel(SendChannel::new("main"));
    paired(&opener, &acceptor, |pair| {
        pair.run();
        let late = pair.now + millis(50);
        let sent = pair.ends[ACCEPTOR].send(pair.now, MAIN, &b"x"[..], Some(late));
        sent.expect("accepted");
        pair.run();
        let taken = pair.ends[OPENER].take(pair.now, MAIN);
        let message = taken.expect("receive mode").expect("in time");
        let age = message.age(pair.now).expect("it has times");
        assert!(age.at_most < Duration::from_micros(10), "{age}");
    });
}

#[test]
fn a_link_that_ends_or_loses_its_session_delivers_nothing_late() {
    // [AGE-6]
    let opener = Config::default();
    lasting(&opener, &auto(), |pair| {
        pair.run();
        for life in [50, 500] {
            let late = pair.now + millis(life);
            let sent = pair.ends[OPENER].send(pair.now, MAIN, vec![0; 3], Some(late));
            sent.expect("accepted");
        }
        pair.one_way(OPENER);
        pair.ends[ACCEPTOR].revoke(pair.now);
        pair.now = pair.now + millis(60);
        let taken = pair.ends[ACCEPTOR]
            .take(pair.now, MAIN)
            .expect("receive mode");
        assert_eq!(taken.map(|message| message.sequence), Some(2));
        pair.now = pair.now + millis(600);
        assert_eq!(pair.ends[ACCEPTOR].take(pair.now, MAIN), Ok(None));
    });
}

#[test]
fn two_links_agree_whatever_their_clocks_show() {
    // [AGE-5] The acceptor's clock is a year behind.
    let year = Duration::from_secs(31_536_000);
    let configs = [Config::default(), auto()];
    let roles = [Role::Opener, Role::Acceptor];
    let mut ends = [0, 1].map(|at| {
        let mut link = Link::new(&configs[at], roles[at], [1; 16]).expect("a config that fits");
        let now = Instant::ZERO + if at == 0 { year } else { Duration::ZERO };
        link.handle_opened(now).expect("offline");
        link.handle_secured(now, None).expect("securing");
        link
    });
    let mut now = Instant::ZERO;
    let mut buffer = vec![0; 4096];
    let mut carry = |ends: &mut [Link; 2], now: Instant| {
        let mut moved = true;
        while moved {
            moved = false;
            for from in [0, 1] {
                let times = [now + year, now];
                while let Output::Written(length) = ends[from].poll_output(times[from], &mut buffer)
                {
                    ends[1 - from].handle_input(times[1 - from], &buffer[..length]);
                    moved = true;
                }
            }
        }
    };
    carry(&mut ends, now);
    for (waits, in_time) in [(0, true), (150, true), (201, false)] {
        let accepted = now + year;
        let late = Some(accepted + millis(200));
        ends[0]
            .send(accepted, MAIN, &b"x"[..], late)
            .expect("accepted");
        carry(&mut ends, now);
        now = now + millis(waits);
        let taken = ends[1].take(now, MAIN).expect("receive mode");
        assert_eq!(taken.is_some(), in_time, "after {waits} ms");
    }
}
