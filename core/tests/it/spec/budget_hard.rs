//! The latency budget where it is hard to keep: clocks that are coarse or stand still, a path that
//! stands still, bursts that never make messages wait, and a peer that lies.

use core::time::Duration;

use countersign_core::wire::{Frame, Pong};
use countersign_core::{
    Config, Disconnect, Instant, Link, Output, ReceiveChannel, Role, SendChannel,
};

use crate::common::bottleneck::{BUDGET, BULK, SECOND, STEP, World, always, relay};

/// A sender with a budget, and its receiver, connected.
fn connected() -> [Link; 2] {
    let sends = Config::new()
        .channel(SendChannel::new("stop").urgent())
        .channel(SendChannel::new("bulk"))
        .latency_budget(BUDGET);
    let receives = Config::new()
        .channel(ReceiveChannel::new("stop"))
        .channel(ReceiveChannel::new("bulk"));
    let mut ends = [
        Link::new(&sends, Role::Opener, [1; 16]).expect("valid"),
        Link::new(&receives, Role::Acceptor, [2; 16]).expect("valid"),
    ];
    for end in &mut ends {
        end.handle_opened(Instant::from_micros(SECOND_MICROS))
            .expect("offline");
        end.handle_secured(Instant::from_micros(SECOND_MICROS), None)
            .expect("securing");
    }
    ends
}

const SECOND_MICROS: u64 = 1_000_000;

/// Passes on what one end says that it has to say.
fn carry(now: Instant, from: &mut Link, to: &mut Link) {
    let mut buffer = [0; 16_384];
    while from.wants_output()
        && let Output::Written(length) = from.poll_output(now, &mut buffer)
    {
        to.handle_input(now, &buffer[..length]);
    }
    while from.poll_event().is_some() {}
}

/// However seldom a clock ticks, messages go on with its next tick, and whoever waits is told when
/// that is.
#[test]
fn a_coarse_clock_holds_nothing_up() {
    const MESSAGES: u64 = 20_000;
    for tick in [1, 100, 1_000] {
        let [mut sender, mut receiver] = connected();
        let (mut sent, mut taken, mut real) = (0, 0, SECOND_MICROS);
        while taken < MESSAGES {
            real += 20;
            assert!(real < 2 * SECOND_MICROS, "{taken} with a tick of {tick} µs");
            let now = Instant::from_micros(real / tick * tick);
            for end in [&mut sender, &mut receiver] {
                if end.poll_deadline().is_some_and(|at| at <= now) {
                    end.handle_timeout(now);
                }
            }
            while sent < MESSAGES && sender.send(now, BULK, vec![7; 1000], None).is_ok() {
                sent += 1;
            }
            carry(now, &mut sender, &mut receiver);
            while receiver.take(now, BULK).expect("open").is_some() {
                taken += 1;
            }
            carry(now, &mut receiver, &mut sender);
        }
    }
}

/// Where time passes only while everybody waits, as in virtual time.
#[test]
fn a_clock_that_stands_still_until_all_wait_holds_nothing_up() {
    let [mut sender, mut receiver] = connected();
    let mut now = Instant::from_micros(SECOND_MICROS);
    let begin = now;
    let mut sent = 0;
    let mut taken = 0;
    while taken < 3000 {
        loop {
            let before = (sent, taken);
            while sent < 3000 && sender.send(now, BULK, vec![7; 1000], None).is_ok() {
                sent += 1;
            }
            carry(now, &mut sender, &mut receiver);
            while receiver.take(now, BULK).expect("open").is_some() {
                taken += 1;
            }
            carry(now, &mut receiver, &mut sender);
            if before == (sent, taken) && !sender.wants_output() && !receiver.wants_output() {
                break;
            }
        }
        if taken < 3000 {
            let deadlines = [&sender, &receiver].map(Link::poll_deadline);
            now = deadlines.into_iter().flatten().min().expect("a deadline");
            sender.handle_timeout(now);
            receiver.handle_timeout(now);
            assert!(now.saturating_since(begin) < SECOND, "{taken} messages");
        }
    }
}

/// A path that has stood still is as fast as before soon after.
#[test]
fn a_standstill_is_over_soon_after() {
    for (budget, delay) in [(1, 50_000), (5, 50_000), (50, 50_000), (1, 1_000)] {
        let delay: fn(u64) -> u64 = if delay == 1_000 {
            |_| 1_000
        } else {
            |_| 50_000
        };
        let stands = |now| match now {
            5_000_000..8_000_000 => 0,
            _ => 2_000_000,
        };
        let mut world = World::new(relay(stands, delay), Some(Duration::from_millis(budget)));
        world.run(8 * SECOND, always);
        world.run(SECOND, always);
        let rate = world.run(2 * SECOND, always);
        assert!(rate > 500_000, "{rate} with a budget of {budget} ms");
    }
}

/// Bursts that never make a message wait fill the queue too: once that is seen, they are bounded.
#[test]
fn bursts_that_fit_what_is_allowed_at_first_are_bounded_later() {
    // The path, how often and how long bursts are, for how long they may be anything, and the
    // longest time to a verdict then, in milliseconds.
    let slow = || relay(|_| 50_000, |_| 5_000);
    let long = || relay(|_| 500_000, |_| 50_000);
    let cases = [
        (slow(), 3_700_000, 14_000, 16, 120),
        (slow(), 500_000, 10_000, 4, 120),
        (long(), 200_000, 60_000, 4, 190),
    ];
    for (path, every, length, free, most) in cases {
        let mut world = World::new(path, Some(BUDGET));
        for second in 0..40 {
            for _ in 0..SECOND_MICROS / STEP {
                if world.now.is_multiple_of(every) {
                    world.send(BULK, length);
                }
                world.step(&|_| false);
            }
            if second == free {
                world.took.clear();
            }
        }
        let worst = world.worst();
        assert!(
            worst < Duration::from_millis(most),
            "{worst:?} with {length} bytes"
        );
    }
}

/// A link that has lost its connection waits for nothing on it.
#[test]
fn a_link_that_has_ended_waits_for_no_room() {
    let mut world = World::new(relay(|_| 500_000, |_| 1_000), Some(BUDGET));
    let config = world.sender.config().clone().single_connection();
    let receives = world.receiver.config().clone();
    world.connect(&config, &receives);
    world.run(3 * SECOND, always);
    let soon = |world: &World| {
        let deadline = world.sender.poll_deadline();
        deadline.is_some_and(|at| at.as_micros() < world.now + 100_000)
    };
    while !soon(&world) {
        world.step(&always);
    }
    let now = Instant::from_micros(world.now);
    world.sender.handle_lost(now, Disconnect::Transport);
    let sender = &mut world.sender;
    sender.handle_timeout(now + SECOND);
    assert!(!sender.wants_output());
    assert_eq!(sender.poll_deadline(), None);
}

/// Replaces what every PONG on its way to the sender says about the peer's clock.
fn lie(world: &mut World, mut time: impl FnMut() -> [u64; 2]) -> usize {
    let mut pong = [0; 64];
    let [echo, arrived, time_at] = [0; 3];
    let length = Frame::Pong(Pong {
        echo,
        arrived,
        time: time_at,
    })
    .encode(&mut pong)
    .expect("long enough");
    let head = length - 24;
    let mut bytes: Vec<u8> = world.back.queue.drain(..).collect();
    let (mut at, mut lies) = (0, 0);
    while at + length <= bytes.len() {
        if bytes[at..at + head] == pong[..head] {
            let [arrived, time] = time();
            bytes[at + head + 8..at + head + 16].copy_from_slice(&arrived.to_be_bytes());
            bytes[at + head + 16..at + length].copy_from_slice(&time.to_be_bytes());
            at += length;
            lies += 1;
        } else {
            at += 1;
        }
    }
    world.back.queue.extend(bytes);
    lies
}

/// Whatever a peer's answers say about its clock, what is sent to it goes on, at a pace that is its
/// own affair.
#[test]
fn a_peer_that_lies_in_its_answers_slows_nothing_but_what_it_is_sent() {
    let mut random = 12_345_u64;
    let mut last = 0_u64;
    let patterns: [fn(&mut u64, &mut u64) -> [u64; 2]; 7] = [
        |random, _| {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            [*random, random.rotate_left(31)]
        },
        |_, _| [0, 0],
        |_, _| [u64::MAX, 0],
        |_, _| [0, u64::MAX],
        |_, last| {
            *last = last.wrapping_add(1 << 62);
            [*last, *last]
        },
        |_, last| {
            *last = last.wrapping_add(999);
            [*last, *last]
        },
        |random, last| {
            *last = last.wrapping_sub(5_000_000);
            [*last, *random]
        },
    ];
    for (number, pattern) in patterns.into_iter().enumerate() {
        let mut world = World::new(relay(|_| 500_000, |_| 1_000), Some(BUDGET));
        world.run(Duration::from_millis(200), always);
        let (before, end) = (world.bulk, world.now + 5 * SECOND_MICROS);
        let mut lies = 0;
        while world.now < end {
            world.step(&always);
            lies += lie(&mut world, || pattern(&mut random, &mut last));
        }
        assert!(lies > 20, "{lies} lies of pattern {number}");
        assert_eq!(world.sender.end_reason(), None);
        let rate = (world.bulk - before) / 5;
        assert!(rate > 20_000, "{rate} in pattern {number}");
        // Honest again.
        world.run(2 * SECOND, always);
        let rate = world.run(2 * SECOND, always);
        assert!(rate > 400_000, "{rate} after pattern {number}");
    }
}
