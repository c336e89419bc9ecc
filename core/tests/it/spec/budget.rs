//! The latency budget, over a path with a bottleneck and full buffers, in virtual time.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, Config, ConfigProblem, Dialect, MAX_LATENCY_BUDGET, MIN_LATENCY_BUDGET, Output,
    ReceiveChannel, SendChannel,
};

use crate::common::bottleneck::{
    BUDGET, BULK, MESSAGE, Path, SECOND, STOP, Way, World, always, relay,
};
use crate::common::pair::{ACCEPTOR, OPENER, lasting};

/// Bulk alone, and with a budget. Returns the worst times and the rates.
fn both(path: fn() -> Path) -> ([Duration; 2], [u64; 2]) {
    let mut worst = [Duration::ZERO; 2];
    let mut rates = [0; 2];
    for (at, budget) in [None, Some(BUDGET)].into_iter().enumerate() {
        let mut world = World::new(path(), budget);
        world.run(2 * SECOND, always);
        world.took.clear();
        rates[at] = world.run(25 * SECOND, always);
        worst[at] = world.worst();
    }
    (worst, rates)
}

#[test]
fn an_urgent_message_waits_for_no_more_than_the_budget() {
    let paths: [(fn() -> Path, u64); 3] = [
        (|| relay(|_| 500_000, |_| 100), 0),
        (|| relay(|_| 2_000_000, |_| 5_000), 10),
        (|| relay(|_| 500_000, |_| 40_000), 80),
    ];
    for (path, round_trip) in paths {
        let (worst, rates) = both(path);
        let most = BUDGET + 2 * Duration::from_millis(round_trip) + Duration::from_millis(30);
        assert!(worst[0] > most, "{worst:?}");
        assert!(worst[1] <= most, "{worst:?}");
        assert!(rates[1] * 100 >= rates[0] * 93, "{rates:?}");
    }
}

#[test]
fn a_path_that_changes_is_measured_again() {
    // Faster by ten, slower by ten.
    let rate = |now| match now / 6_000_000 {
        0 | 2 => 200_000,
        _ => 2_000_000,
    };
    let mut world = World::new(relay(rate, |_| 1_000), Some(BUDGET));
    for (seconds, least) in [(6, 180_000), (6, 1_700_000), (6, 180_000)] {
        // What is under way when the path gets slower has to get through first.
        world.run(2 * SECOND, always);
        world.took.clear();
        let rate = world.run((seconds - 2) * SECOND, always);
        assert!(rate >= least, "{rate} of {least}");
        // What is under way at least, 4 KiB, takes 20 ms here, and the round trip is measured with
        // up to twice that.
        let worst = world.worst();
        assert!(worst < Duration::from_millis(110), "{worst:?}");
        let told = world.status().rate.expect("measured");
        assert!((least..=least * 5 / 4).contains(&told), "{told} of {least}");
    }
}

#[test]
fn what_has_queued_is_no_round_trip() {
    // At first, and when it is measured again after 10 s.
    for rate in [|_| 50_000, |_| 100_000, |_| 200_000] {
        let mut world = World::new(relay(rate, |_| 1_000), Some(BUDGET));
        world.run(2 * SECOND, always);
        world.took.clear();
        let carried = world.run(20 * SECOND, always);
        // It is measured with 4 KiB under way.
        let most = BUDGET + Duration::from_micros(4096 * 1_000_000 / rate(0)) + SECOND / 100;
        let worst = world.worst();
        assert!(worst < most, "{worst:?} of {most:?}");
        assert!(carried * 100 >= rate(0) * 95, "{carried} of {}", rate(0));
    }
}

#[test]
fn a_longer_way_does_not_starve_messages() {
    let delay = |now| if now < 5_000_000 { 2_000 } else { 150_000 };
    let mut world = World::new(relay(|_| 500_000, delay), Some(BUDGET));
    world.run(30 * SECOND, always);
    let rate = world.run(10 * SECOND, always);
    assert!(rate >= 450_000, "{rate}");
    let trip = world.status().round_trip.expect("measured");
    let way = Duration::from_millis(300);
    assert!(trip >= way, "the shortest of late: {trip:?}");
}

#[test]
fn little_to_send_and_a_slow_begin_starve_nothing() {
    let slow = |now| if now < 10_000_000 { 1_000 } else { 500_000 };
    // The urgent messages alone, some 500 bytes a second; and bulk.
    for begins_slowly in [false, true] {
        let rate = if begins_slowly { slow } else { |_| 500_000 };
        let mut world = World::new(relay(rate, |_| 1_000), Some(BUDGET));
        world.run(10 * SECOND, |_| begins_slowly);
        world.run(SECOND, always);
        let rate = world.run(2 * SECOND, always);
        assert!(rate >= 450_000, "{rate}");
    }
}

#[test]
fn bulk_gets_what_urgent_messages_leave() {
    for (delay, every, length) in [(40_000, 5_000, 500), (100_000, 1_000, 100)] {
        let path: fn(u64) -> u64 = if delay == 40_000 {
            |_| 40_000
        } else {
            |_| 100_000
        };
        let mut world = World::new(relay(|_| 500_000, path), Some(BUDGET));
        world.stop = (every, length);
        world.run(3 * SECOND, always);
        for _ in 0..3 {
            // Over the 10 s after which the round trip is measured again.
            let rate = world.run(10 * SECOND, always);
            assert!(rate >= 340_000, "{rate} beside 100,000");
        }
    }
}

#[test]
fn budgets_that_are_short_or_long_for_the_way_cost_little() {
    let millis = Duration::from_millis;
    let cases: [(Path, Duration); 7] = [
        (relay(|_| 500_000, |_| 40_000), MIN_LATENCY_BUDGET),
        (relay(|_| 500_000, |_| 40_000), millis(5)),
        (relay(|_| 500_000, |_| 40_000), millis(10)),
        (relay(|_| 500_000, |_| 40_000), MAX_LATENCY_BUDGET),
        (relay(|_| 2_000_000, |_| 100_000), BUDGET),
        (relay(|_| 500_000, |_| 300_000), BUDGET),
        (relay(|_| 2_000_000, |_| 150_000), BUDGET),
    ];
    for (path, budget) in cases {
        let most = (path.rate)(0);
        let mut world = World::new(path, Some(budget));
        world.run(10 * SECOND, always);
        let rate = world.run(30 * SECOND, always);
        assert!(rate * 100 >= most * 80, "{rate} of {most}, {budget:?}");
    }
}

#[test]
fn a_peer_with_bulk_of_its_own_needs_a_budget_too() {
    for (budget, most) in [(None, 1_200), (Some(BUDGET), 120)] {
        let config = |first: bool| {
            let config = Config::new();
            let urgent = if first {
                SendChannel::new("stop").urgent().into()
            } else {
                ChannelConfig::from(ReceiveChannel::new("stop"))
            };
            let config = config.channel(urgent);
            if first {
                config
                    .channel(SendChannel::new("bulk"))
                    .channel(ReceiveChannel::new("back"))
                    .latency_budget(BUDGET)
            } else {
                let config = config
                    .channel(ReceiveChannel::new("bulk"))
                    .channel(SendChannel::new("back"));
                match budget {
                    Some(budget) => config.latency_budget(budget),
                    None => config,
                }
            }
        };
        let mut world = World::new(relay(|_| 500_000, |_| 1_000), None);
        world.back = Way::new(relay(|_| 500_000, |_| 1_000));
        world.connect(&config(true), &config(false));
        world.answers = true;
        world.run(5 * SECOND, always);
        world.took.clear();
        let rate = world.run(10 * SECOND, always);
        let worst = world.worst();
        assert!(rate >= 300_000, "{rate}, {budget:?}");
        assert!(worst < Duration::from_millis(most), "{worst:?}, {budget:?}");
    }
}

#[test]
fn an_encoder_that_follows_the_target_waits_for_nothing() {
    let mut world = World::new(relay(|_| 500_000, |_| 10_000), Some(BUDGET));
    // Some at full speed, and then 30 pictures a second of the length that the target allows.
    for _ in 0..30 {
        assert!(world.send(BULK, MESSAGE));
    }
    world.run(SECOND, |_| false);
    let mut targets = Vec::new();
    for _ in 0..600 {
        let target = world.status().target_bitrate.expect("measured");
        targets.push(target);
        let length = usize::try_from(target / 8 / 30).expect("small");
        assert!(world.send(BULK, length));
        world.run(Duration::from_micros(33_300), |_| false);
        let oldest = world.status().channels[1].oldest.unwrap_or_default();
        assert!(oldest < Duration::from_millis(120), "{oldest:?}");
    }
    let (least, most) = (targets.iter().min(), targets.iter().max());
    assert!(most < Some(&4_000_000), "{most:?}");
    assert!(least > Some(&3_400_000), "{least:?}");
}

#[test]
fn a_target_grows_until_messages_wait() {
    // Half of the time there is nothing to send.
    let mut world = World::new(relay(|_| 500_000, |_| 1_000), Some(BUDGET));
    world.run(5 * SECOND, |now| now % 1_000_000 < 1_000);
    assert!(world.status().rate.is_some());
    world.run(5 * SECOND, always);
    let target = world.status().target_bitrate.expect("measured");
    assert!((3_200_000..=4_000_000).contains(&target), "{target}");
}

#[test]
fn without_a_budget_nothing_is_measured() {
    let mut world = World::new(relay(|_| 500_000, |_| 1_000), None);
    world.run(SECOND, always);
    assert_eq!(world.status().rate, None);
    assert_eq!(world.status().target_bitrate, None);
}

#[test]
fn a_budget_has_bounds_and_needs_pings() {
    let config = || Config::new().channel(SendChannel::new("main"));
    let check = |config: Config| config.check().map_err(|error| error.problem);
    let nano = Duration::from_nanos(1);
    for budget in [MIN_LATENCY_BUDGET, MAX_LATENCY_BUDGET] {
        assert_eq!(check(config().latency_budget(budget)), Ok(()));
    }
    for budget in [MIN_LATENCY_BUDGET - nano, MAX_LATENCY_BUDGET + nano] {
        let refused = Err(ConfigProblem::LatencyBudget);
        assert_eq!(check(config().latency_budget(budget)), refused);
    }
    assert_eq!(
        check(config().latency_budget(BUDGET).dialect(Dialect::TlsStream)),
        Err(ConfigProblem::BudgetTlsStream)
    );
}

/// PINGs are dated back, the first ones to before the greeting in front of them. Answers to both
/// count.
#[test]
fn the_first_messages_on_a_connection_have_an_age() {
    for sent in [0, 100, 30_000] {
        let sender = Config::new()
            .channel(SendChannel::new("data"))
            .channel(ReceiveChannel::new("bulk"));
        let receiver = Config::new()
            .latency_budget(BUDGET)
            .channel(ReceiveChannel::new("data"))
            .channel(SendChannel::new("bulk"));
        lasting(&sender, &receiver, |pair| {
            if sent > 0 {
                pair.send(ACCEPTOR, BULK, &vec![7; sent]);
            }
            let expires = Some(pair.now + SECOND);
            pair.ends[OPENER]
                .send(pair.now, STOP, vec![7; 10], expires)
                .unwrap();
            pair.run();
            let taken = pair.ends[ACCEPTOR].take(pair.now, STOP).unwrap();
            let age = taken.unwrap().age(pair.now).unwrap();
            assert!(age.at_most < Duration::from_millis(1), "{age}");
        });
    }
}

/// What is urgent is not bounded, so there may be more PINGs on the way than are remembered. The
/// answer to one that is not says what has arrived, too.
#[test]
fn more_pings_than_are_remembered() {
    let sender = Config::new()
        .latency_budget(BUDGET)
        .channel(SendChannel::new("stop").urgent())
        .channel(SendChannel::new("bulk"));
    let receiver = Config::new()
        .channel(ReceiveChannel::new("stop"))
        .channel(ReceiveChannel::new("bulk"));
    lasting(&sender, &receiver, |pair| {
        pair.run();
        for _ in 0..100 {
            pair.send(OPENER, STOP, &[7; 1000]);
            pair.send(OPENER, BULK, &[7; 1000]);
        }
        // All that the sender writes arrives at once, and with it the PING of its timer.
        let mut buffer = vec![0; 1000];
        let mut written = Vec::new();
        for _ in 0..2 {
            while let Output::Written(length) = pair.ends[OPENER].poll_output(pair.now, &mut buffer)
            {
                written.extend_from_slice(&buffer[..length]);
            }
            pair.now = pair.now + 6 * SECOND;
            pair.ends[OPENER].handle_timeout(pair.now);
        }
        assert!(written.len() < 200_000, "bulk waits");
        pair.ends[ACCEPTOR].handle_input(pair.now, &written);
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, STOP).len(), 100);
        let begin = pair.now;
        let mut bulk = pair.take_all(ACCEPTOR, BULK).len();
        while bulk < 100 {
            assert!(pair.sleep(), "nothing will happen any more");
            pair.run();
            bulk += pair.take_all(ACCEPTOR, BULK).len();
            let took = pair.now.saturating_since(begin);
            assert!(took < 5 * SECOND, "{bulk} of 100");
        }
    });
}
