//! A robot or its operator on a bad network, as a separate process. Both say when they did what, in
//! nanoseconds of the clock that they have in common.
//!
//! `lease-end listen BACKEND ADDRESS FOLDER LEASE` is the robot, with a lease of so many milliseconds;
//! the folder as for `bad-network-end`. It prints `took COMMAND TIME`, with a time from before it took
//! the command, and `held COMMAND TIME` for the last time at which it saw its lease held while this
//! command was the newest, with a time from before it looked.
//!
//! `lease-end connect BACKEND ADDRESS FOLDER LIFE...` is the operator, whose commands have these lives
//! in turn, in milliseconds. It prints `sent COMMAND LIFE MADE ACCEPTED`, with times from after the
//! life began and after the link accepted the command, and `lost` and `resumed`. When its input ends,
//! it closes the link and prints `end HANDLED EXPIRED OTHER`.

#![allow(
    clippy::unwrap_used,
    reason = "this is a part of a test, and panicking is how a test fails"
)]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use countersign_core::{CloseMode, Config, ReceiveChannel, SendChannel, VerdictKind};
use countersign_driver::{Limits, LinkEvent, Outgoing, Setup};
use countersign_tests::backend::Link;
use countersign_tests::backends::BACKENDS;
#[cfg(target_os = "linux")]
use countersign_tests::namespaces::now;
use countersign_tests::pair::{restless, role_security};

/// How often commands come, and how often the robot looks for one and at its lease.
const EVERY: Duration = Duration::from_millis(20);
const LOOKS: Duration = Duration::from_millis(1);

#[cfg(not(target_os = "linux"))]
fn now() -> u64 {
    panic!("only Linux has the networks that this is for")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, backend, address, folder, times @ ..] = &arguments[..] else {
        panic!("see the head of this program");
    };
    let entry = BACKENDS.iter().find(|entry| entry.name == backend);
    let backend = entry.expect("a backend's name").backend;
    let address = address.parse().unwrap();
    let times: Vec<_> = times
        .iter()
        .map(|time| Duration::from_millis(time.parse().unwrap()))
        .collect();
    let listens = role == "listen";
    let security = role_security(Path::new(folder), role);
    let setup = Setup::new(config(listens, &times), security).unwrap();
    if listens {
        let listener = backend.listen(address, setup, Limits::default());
        obey(&*listener.accept().unwrap());
    } else {
        steer(&*backend.connect(address, &setup).unwrap(), &times);
    }
}

fn config(listens: bool, times: &[Duration]) -> Config {
    let config = restless(Duration::from_secs(3));
    if listens {
        config.channel(ReceiveChannel::new("commands").lease(times[0]))
    } else {
        config.channel(SendChannel::new("commands"))
    }
}

/// Takes commands and looks at the lease in one loop, so that no other command is taken in between.
fn obey(link: &dyn Link) {
    let mut commands = link.receiver("commands").unwrap();
    let lease = link.lease("commands").unwrap();
    let mut newest = None;
    let mut held = None;
    let say_held = |newest: Option<u64>, held: Option<u64>| {
        if let (Some(newest), Some(held)) = (newest, held) {
            println!("held {newest} {held}");
        }
    };
    loop {
        let over = link.end_reason().is_some();
        let before = now();
        if let Some(command) = commands.try_recv().unwrap() {
            say_held(newest, held.take());
            let number = u64::from_be_bytes(command[..].try_into().unwrap());
            println!("took {number} {before}");
            newest = Some(number);
        } else if over {
            break;
        } else {
            thread::sleep(LOOKS);
        }
        let before = now();
        if lease.is_held() {
            assert!(
                newest.is_some(),
                "the lease is held before the first command"
            );
            held = Some(before);
        }
    }
    say_held(newest, held);
}

fn steer(link: &dyn Link, lives: &[Duration]) {
    let commands = link.sender("commands").unwrap();
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
            goes_on.store(false, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while let Some(event) = link.event() {
                match event {
                    LinkEvent::Lost { .. } => println!("lost"),
                    LinkEvent::Resumed => println!("resumed"),
                    LinkEvent::PeerClosing => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        for (number, life) in (0_u64..).zip(lives.iter().cycle()) {
            if !goes_on.load(Ordering::Relaxed) {
                break;
            }
            let command = Outgoing::from(number.to_be_bytes().to_vec()).expires_in(*life);
            let made = now();
            drop(commands.give(command));
            let accepted = now();
            println!("sent {number} {} {made} {accepted}", life.as_nanos());
            thread::sleep(EVERY);
        }
        let verdicts = link.close(CloseMode::Drain).verdicts();
        let [handled, expired] =
            [VerdictKind::Handled, VerdictKind::Expired].map(|kind| verdicts[kind]);
        let other = verdicts.total() - handled - expired;
        println!("end {handled} {expired} {other}");
    });
}
