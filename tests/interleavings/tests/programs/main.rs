//! Small programs of a few threads, in whose every run the threads interleave differently.
//!
//! A wake-up that is lost shows as a deadlock: nothing is ever due here, so who sleeps is woken or
//! sleeps for ever. Each program ends well in all of its runs, and finds each mistake that is planted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "panicking is how a test fails"
)]

use std::task::{Context, Poll};
use std::time::Instant;

use countersign_core::{CloseMode, Config, ReceiveChannel, Role, SendChannel, Timeouts, Verdict};
use countersign_endpoint::Security;
use countersign_interleavings::planted::{Mistake, plant};
use countersign_interleavings::{
    Clock, Connecting, Limits, Link, LinkEvent, Listener, RecvError, Setup, Timer, memory, serve,
};
use network::{Cable, Network};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Runner, thread};

mod network;

/// Runs of each program; a variable in the environment asks for more.
const RUNS: usize = 1000;
const MORE: &str = "COUNTERSIGN_INTERLEAVINGS";
/// The same interleavings every time, unless there are to be more.
const SEED: u64 = 1;
/// How often a run may change its mind about who goes first, where that is what is drawn.
const DEPTH: usize = 3;

/// Time stands still.
struct Never;

impl Timer for Never {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

fn setup(config: Config) -> Setup {
    let begun = Instant::now();
    let timeouts = Timeouts {
        // An acknowledgement that waits for others would wait for ever.
        ack_delay: std::time::Duration::ZERO,
        ..Timeouts::default()
    };
    let setup = Setup::new(config.timeouts(timeouts), Security::plaintext()).unwrap();
    setup.timed_by(Clock::following(move || begun))
}

fn sender() -> Setup {
    setup(Config::new().channel(SendChannel::new("data")))
}

fn receiver() -> Setup {
    setup(Config::new().channel(ReceiveChannel::new("data")))
}

/// Two ends, each of them driven by a thread of its own, and the cable between them.
fn linked() -> (Link, Link, Cable) {
    let (near, far) = memory();
    let cable = Cable::default();
    let over = |setup, role, end| Connecting::over(&setup, role, cable.of(end)).unwrap();
    let (opening, opener) = over(sender(), Role::Opener, near);
    let (accepting, acceptor) = over(receiver(), Role::Acceptor, far);
    thread::spawn(move || block_on(opener.run(Never)));
    thread::spawn(move || block_on(acceptor.run(Never)));
    (
        block_on(opening).unwrap(),
        block_on(accepting).unwrap(),
        cable,
    )
}

/// What is sent is handled, and who sent it hears so.
fn send_and_wait() {
    let (near, far, _cable) = linked();
    let sends = thread::spawn(move || {
        let sender = near.sender("data").unwrap();
        let first = block_on(sender.send("one")).unwrap();
        let second = block_on(sender.send("two")).unwrap();
        assert_eq!(block_on(first), Verdict::HANDLED);
        assert_eq!(block_on(second), Verdict::HANDLED);
    });
    let mut receiver = far.receiver("data").unwrap();
    assert_eq!(block_on(receiver.recv()).unwrap().unwrap(), "one");
    assert_eq!(block_on(receiver.recv()).unwrap().unwrap(), "two");
    sends.join().unwrap();
}

/// Who waits for messages hears of the end, and so does who closes.
fn receive_and_close() {
    let (near, far, _cable) = linked();
    let receives = thread::spawn(move || {
        let mut receiver = far.receiver("data").unwrap();
        assert_eq!(block_on(receiver.recv()).unwrap().unwrap(), "one");
        assert_eq!(block_on(receiver.recv()).unwrap(), None);
    });
    let sender = near.sender("data").unwrap();
    let receipt = block_on(sender.send("one")).unwrap();
    assert!(block_on(near.close(CloseMode::Drain)).is_orderly());
    assert_eq!(block_on(receipt), Verdict::HANDLED);
    receives.join().unwrap();
}

/// However a connection is cut, every receipt has its verdict, and who receives hears of it.
fn loss_while_sending() {
    let (near, far, cable) = linked();
    let receives = thread::spawn(move || {
        let mut receiver = far.receiver("data").unwrap();
        let mut taken = 0;
        loop {
            match block_on(receiver.recv()) {
                Ok(Some(_)) => taken += 1,
                Ok(None) => panic!("nobody has closed"),
                Err(error) => {
                    assert!(matches!(error, RecvError::Link(_)), "{error}");
                    return taken;
                }
            }
        }
    });
    let cuts = thread::spawn(move || cable.cut());
    let sender = near.sender("data").unwrap();
    let mut receipts = Vec::new();
    while receipts.len() < 2 {
        match block_on(sender.send("data")) {
            Ok(receipt) => receipts.push(receipt),
            Err(_) => break,
        }
    }
    let verdicts: Vec<_> = receipts.into_iter().map(block_on).collect();
    cuts.join().unwrap();
    let handled = verdicts.iter().filter(|verdict| verdict.is_handled());
    let handled = handled.count();
    assert!(handled <= receives.join().unwrap(), "{verdicts:?}");
}

/// A wait that is given up takes no message, and no wake-up, with it.
fn drop_while_waking() {
    let (near, far, _cable) = linked();
    let mut receiver = far.receiver("data").unwrap();
    let sends = thread::spawn(move || {
        let sender = near.sender("data").unwrap();
        let receipt = block_on(sender.send("one")).unwrap();
        assert_eq!(block_on(receipt), Verdict::HANDLED);
    });
    let early = block_on(network::polled_once(receiver.recv()));
    let message = match early {
        Some(message) => message,
        None => block_on(receiver.recv()),
    };
    assert_eq!(message.unwrap().unwrap(), "one");
    sends.join().unwrap();
}

/// A peer that comes back through a listener goes on with its link.
fn returning_peer() {
    let network = Network::default();
    let (listener, task) = Listener::new((), receiver(), Limits::default());
    let accepts = network.clone();
    thread::spawn(move || {
        let start = |end, pending: countersign_interleavings::PendingConnection| {
            let served = pending.serve(end)?;
            thread::spawn(move || block_on(served.run(Never)));
            Ok(())
        };
        block_on(serve(task, move || accepts.accept(), start, || Never));
    });
    let opens = network.clone();
    let (connecting, driver) = Connecting::dial(&sender(), move || opens.open()).unwrap();
    thread::spawn(move || block_on(driver.run(Never)));
    let receives = thread::spawn(move || {
        let link = block_on(listener.accept()).unwrap();
        let mut receiver = link.receiver("data").unwrap();
        assert_eq!(block_on(receiver.recv()).unwrap().unwrap(), "one");
        assert_eq!(block_on(receiver.recv()).unwrap().unwrap(), "two");
        assert_eq!(block_on(receiver.recv()).unwrap(), None);
        block_on(listener.close());
    });
    let link = block_on(connecting).unwrap();
    let sender = link.sender("data").unwrap();
    let first = block_on(sender.send("one")).unwrap();
    network.cut();
    loop {
        match block_on(link.event()).unwrap() {
            // The pause before the next attempt would never end.
            LinkEvent::Lost { .. } => _ = link.connect_now(),
            LinkEvent::Resumed => break,
            other => panic!("{other:?}"),
        }
    }
    let second = block_on(sender.send("two")).unwrap();
    assert!(block_on(link.close(CloseMode::Drain)).is_orderly());
    assert_eq!(block_on(first), Verdict::HANDLED);
    assert_eq!(block_on(second), Verdict::HANDLED);
    receives.join().unwrap();
}

/// Runs a program under a scheduler that interleaves its threads.
fn try_all(program: fn(), scheduler: impl Scheduler + 'static) {
    let mut config = shuttle::Config::new();
    // A link is put together on the stack.
    config.stack_size = 1 << 20;
    Runner::new(scheduler, config).run(program);
}

const PROGRAMS: [(&str, fn()); 5] = [
    ("send and wait", send_and_wait),
    ("receive and close", receive_and_close),
    ("loss while sending", loss_while_sending),
    ("drop while waking", drop_while_waking),
    ("returning peer", returning_peer),
];

/// One test: what is planted is planted for the whole process.
#[test]
fn every_program_ends_well_and_mistakes_are_found() {
    for (name, program) in PROGRAMS {
        println!("{name}");
        match std::env::var(MORE) {
            Ok(runs) => {
                let runs = runs.parse().expect("a number of runs");
                try_all(program, RandomScheduler::new(runs));
                try_all(program, PctScheduler::new(DEPTH, runs));
            }
            Err(_) => {
                try_all(program, RandomScheduler::new_from_seed(SEED, RUNS));
                try_all(program, PctScheduler::new_from_seed(SEED, DEPTH, RUNS));
            }
        }
    }
    for mistake in [Mistake::SleepsBlindly, Mistake::LooksFirst] {
        plant(mistake);
        let found = PROGRAMS.into_iter().filter(|(_, program)| {
            let run = || try_all(*program, RandomScheduler::new_from_seed(SEED, RUNS));
            std::panic::catch_unwind(run).is_err()
        });
        let found: Vec<_> = found.map(|(name, _)| name).collect();
        println!("{mistake:?} is found by {found:?}");
        assert!(!found.is_empty(), "{mistake:?}");
    }
    plant(Mistake::None);
}
