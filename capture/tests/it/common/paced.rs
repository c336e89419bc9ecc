//! A link that keeps a latency budget.

use std::collections::VecDeque;
use std::time::Duration;

use countersign_capture::Capture;
use countersign_core::{Config, Output, ReceiveChannel, SendChannel};

use super::{Pair, VIDEO, payload};

fn configs() -> [Config; 2] {
    let sender = Config::new()
        .latency_budget(Duration::from_millis(20))
        .channel(SendChannel::new("video"))
        .channel(SendChannel::new("stop").urgent());
    let receiver = Config::new()
        .channel(ReceiveChannel::new("video"))
        .channel(ReceiveChannel::new("stop"));
    [sender, receiver]
}

/// Lets a millisecond pass on a path with a bottleneck. Returns how many bytes wait at that.
fn carry(pair: &mut Pair, way: &mut VecDeque<u8>) -> usize {
    let mut buffer = vec![0; 4096];
    while let Output::Written(length) = pair.ends[0].poll_output(pair.now, &mut buffer) {
        way.extend(&buffer[..length]);
    }
    let waiting = way.len();
    pair.sleep(1000);
    let through: Vec<u8> = way.drain(..waiting.min(1000)).collect();
    for piece in through.chunks(pair.cut.min(1000)) {
        pair.ends[1].handle_input(pair.now, piece);
    }
    while let Output::Written(length) = pair.ends[1].poll_output(pair.now, &mut buffer) {
        pair.ends[0].handle_input(pair.now, &buffer[..length]);
    }
    let deadline = pair.ends[0].poll_deadline();
    if deadline.is_some_and(|at| at <= pair.now) {
        pair.ends[0].handle_timeout(pair.now);
    }
    waiting
}

/// More than the budget lets through at once, and urgent messages among it.
pub(crate) fn paced(capture: &Capture, cut: usize) {
    let mut pair = Pair::new(capture, &configs());
    pair.cut = cut;
    pair.connect();
    pair.settle();
    let stop = pair.ends[0].channel_id("stop").unwrap();
    for at in 0..60 {
        let (now, length) = (pair.now, 3000);
        pair.ends[0]
            .send(now, VIDEO, payload(length), None)
            .unwrap();
        if at % 20 == 0 {
            pair.ends[0].send(now, stop, payload(20), None).unwrap();
        }
    }
    let mut way = VecDeque::new();
    let (mut videos, mut stops) = (0, 0);
    let mut most = 0;
    while videos < 60 {
        most = most.max(carry(&mut pair, &mut way));
        while pair.ends[1].take(pair.now, stop).unwrap().is_some() {
            stops += 1;
            assert!(videos <= 1, "what is urgent does not wait");
        }
        while pair.ends[1].take(pair.now, VIDEO).unwrap().is_some() {
            videos += 1;
        }
    }
    assert_eq!(stops, 3);
    assert!(pair.ends[0].status(pair.now).rate.is_some());
    // Until the rate is known, twice the budget; without one it would be 180,000.
    assert!(
        most < 80_000,
        "messages wait for the budget, not here: {most}"
    );
    pair.settle();
    pair.close();
}
