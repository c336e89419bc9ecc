//! Urgent messages behind others, on a slow network.

use std::thread;
use std::time::Duration;

use countersign_core::{Config, ReceiveChannel, SendChannel};

use super::both_ways_lasting;
use crate::backend::Link;
use crate::pair::payload;
use crate::{Direction, Pair, Proxy};

scenarios! {
    SECURED_OR_PLAIN {
        urgent_within_a_budget: "cuts by itself",
        urgent_without_a_budget: "cuts by itself",
    }
}

/// How much the network lets pass at once, in bytes, at most once in a millisecond.
const STEP: u64 = 200;
/// When the network has had enough to pass for its rate to be known.
const MEASURED: u64 = 40_000;
/// The most that is under way with the budget: several times what the rate and the budget are, for
/// a machine that is slow too. Less than `MANY`, which fit into the buffers of system and proxy.
const FEW: u64 = 50_000;
const MANY: u64 = 100_000;
const BUDGET: Duration = Duration::from_millis(20);

fn send() -> Config {
    Config::new()
        .channel(SendChannel::new("stop").urgent())
        .channel(SendChannel::new("bulk"))
}

fn receive() -> Config {
    Config::new()
        .channel(ReceiveChannel::new("stop"))
        .channel(ReceiveChannel::new("bulk"))
}

/// Has more to send than the network carries, which is slow until `enough`, and then stands still.
/// Returns how many bytes it has let pass.
fn fill(from: &dyn Link, proxy: &Proxy, way: Direction, enough: impl Fn(u64) -> bool) -> u64 {
    let mut passed = proxy.passed(way);
    proxy.allow(way, passed);
    let mut bulk = (0..4000).map(|at| payload(1000, at).into()).collect();
    drop(from.sender("bulk").unwrap().send_batch(&mut bulk).unwrap());
    while !enough(passed) {
        passed += STEP;
        proxy.allow(way, passed);
        thread::sleep(Duration::from_millis(1));
    }
    passed
}

/// Returns how many bytes the sender has written that the receiver does not have.
fn under_way(from: &dyn Link, to: &dyn Link) -> u64 {
    // In this order, what is written in between does not count.
    let sent = from.status().link.bytes_sent;
    sent.saturating_sub(to.status().link.bytes_received)
}

fn stop_is_in_flight(from: &dyn Link) -> bool {
    from.status().link.channels[0].in_flight > 0
}

/// What was written before an urgent message, and arrives before it, is little.
fn urgent_within_a_budget(pair: &Pair) {
    let sending = send().latency_budget(BUDGET);
    both_ways_lasting(pair, &sending, &receive(), |from, to, proxy, way| {
        let mut receiver = to.receiver("stop").unwrap();
        let is_measured = || from.status().link.rate.is_some();
        let passed = fill(&*from, proxy, way, |passed| {
            passed > MEASURED && is_measured()
        });
        let receipt = from.sender("stop").unwrap().give("stop");
        let check = || {
            let before = under_way(&*from, &*to);
            assert!(before < FEW, "{before} bytes");
        };
        // The system takes it at once: its buffers are not full.
        while !stop_is_in_flight(&*from) {
            check();
            thread::yield_now();
        }
        check();
        // With what encryption adds.
        proxy.allow(way, passed + FEW * 11 / 10);
        assert_eq!(receiver.take(), "stop");
        proxy.resume();
        assert!(receipt.wait().is_handled());
    });
}

/// Without a budget, it is as much as fits into all buffers on the way.
fn urgent_without_a_budget(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, way| {
        let mut receiver = to.receiver("stop").unwrap();
        let passed = fill(&*from, proxy, way, |passed| {
            passed > MEASURED && under_way(&*from, &*to) >= MANY
        });
        let receipt = from.sender("stop").unwrap().give("stop");
        proxy.allow(way, passed + FEW * 11 / 10);
        proxy.wait_for(way, passed + FEW * 11 / 10);
        assert_eq!(receiver.try_recv().unwrap(), None);
        proxy.resume();
        assert_eq!(receiver.take(), "stop");
        assert!(receipt.wait().is_handled());
    });
}
