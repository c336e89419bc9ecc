//! A link whose peer settles messages in an order of its choice takes no more memory than it says
//! ([`Setup::memory_bound`]), however long its application keeps its queue full.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_core::{Config, MAX_REASON, ReceiveChannel, SendChannel};
use countersign_driver::Setup;
use countersign_endpoint::Security;
use countersign_tests::memory::{CAPACITY, connected, connecting};
use countersign_tests::size::leaves_out;

use crate::{MEMORY, in_turn};

/// What the connection in memory takes: each direction grows by doubling.
const NETWORK: usize = 2 * 3 * CAPACITY;
/// What one thread keeps for the next borrower of a buffer.
const SPARE: usize = 4 * 66_560;
/// Three quarters of what a list has that grew by doubling, and a little more: with a third as many
/// that have their verdicts and are not taken out, it is full and grows once more.
const QUEUE: usize = 3 * 1024 + 16;
/// How many are settled before the queue is filled again.
const STEPS: [usize; 4] = [1, QUEUE / 16, QUEUE / 4, QUEUE];
/// Enough that the link takes more than it says if something stays for each of them.
const MESSAGES: usize = 24 * QUEUE;

/// Which of those that are held is next, given how many there are and how many were settled.
type Order = fn(usize, usize) -> usize;

const ORDERS: [(&str, Order); 6] = [
    // Each makes room in the queue at once, and the others only when those before them are gone.
    ("the first first", |_, _| 0),
    ("the second first", |held, _| 1 % held),
    ("from the middle outwards", |held, at| {
        (held / 2 + at % 2) % held
    }),
    ("the last first", |held, _| held - 1),
    ("every other", |held, at| (2 * at) % held),
    ("anyhow", |held, at| at.wrapping_mul(2_654_435_761) % held),
];

/// What one of two links takes, whose calls are told apart from those of the other.
#[derive(Default)]
struct Meter {
    has: isize,
    most: isize,
}

impl Meter {
    fn count<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let usage = |bytes: usize| isize::try_from(bytes).unwrap();
        let before = usage(MEMORY.current_usage());
        MEMORY.reset_peak_usage();
        let result = call();
        let most = self.has + usage(MEMORY.peak_usage()) - before;
        self.most = self.most.max(most);
        self.has += usage(MEMORY.current_usage()) - before;
        result
    }
}

/// The link that is attacked, and one that settles its messages and has room for all of them.
fn setups() -> [Setup; 2] {
    let sends = SendChannel::new("up").max_message(1).queue(QUEUE, 1 << 20);
    let receives = ReceiveChannel::new("up").max_message(1).manual();
    let receives = receives.window(u32::try_from(2 * MESSAGES).unwrap(), 1 << 20);
    [
        Config::new().channel(sends),
        Config::new().channel(receives),
    ]
    .map(|config| Setup::new(config, Security::plaintext()).unwrap())
}

/// The most that the link takes whose messages are rejected.
fn attack(setups: &[Setup; 2], order: Order, step: usize) -> usize {
    let mut meter = Meter::default();
    let (connecting, mut ends) = meter.count(|| connecting(&setups[0], &setups[1]));
    let mut settle = |meter: &mut Meter| {
        while meter.count(|| ends[0].run_if_woken()) | ends[1].run_if_woken() {}
    };
    settle(&mut meter);
    let links = connecting.map(connected);
    let sender = meter.count(|| links[0].sender("up").unwrap());
    let mut receiver = links[1].manual_receiver("up").unwrap();
    let (mut held, mut settled) = (Vec::new(), 0);
    let reason = "x".repeat(MAX_REASON);
    // Small steps cost as much each as large ones.
    let messages = MESSAGES.min(QUEUE + step * 2000);
    loop {
        // All receipts are dropped.
        while meter.count(|| sender.try_send(vec![]).is_ok()) {}
        settle(&mut meter);
        held.extend(std::iter::from_fn(|| receiver.try_recv().unwrap()));
        assert!(!held.is_empty() && held.len() <= QUEUE, "{}", held.len());
        if settled >= messages || step == 0 {
            break;
        }
        for _ in 0..step.min(held.len()) {
            held.remove(order(held.len(), settled)).reject(1, &reason);
            settled += 1;
        }
        settle(&mut meter);
    }
    usize::try_from(meter.most).unwrap()
}

#[test]
fn verdicts_in_any_order_take_no_more_than_is_said() {
    in_turn(|| {
        let setups = setups();
        let bound = setups[0].memory_bound() + NETWORK + SPARE;
        let part = leaves_out("verdicts that come in small numbers");
        let steps = if part { &STEPS[3..] } else { &STEPS[..] };
        let mut worst = 0;
        for (name, order) in ORDERS {
            for &step in steps {
                let most = attack(&setups, order, step);
                println!("{name}, {step} at a time: {most} of {bound} bytes");
                assert!(most <= bound, "{name}, {step}: {most} of {bound} bytes");
                worst = worst.max(most);
            }
        }
        // With nothing settled, what waits takes this much.
        let calm = attack(&setups, |_, _| 0, 0);
        println!("{calm} bytes without a verdict");
        assert!(
            worst > calm + calm / 5,
            "{worst}: what was settled took nothing"
        );
    });
}
