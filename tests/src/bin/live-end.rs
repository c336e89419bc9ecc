//! A robot or its operator as a separate process, which can be stopped and made to go on.
//!
//! `live-end listen ADDRESS FOLDER` is the robot; the folder as for `bad-network-end`. It prints its
//! address, then `held` and `lapsed AGE` when the lease of its commands changes, with the age of the
//! newest command that it has taken, and at the end `taken COUNT oldest AGE expired COUNT`. Ages are in
//! microseconds, by the clock that both processes have in common.
//!
//! `live-end connect ADDRESS FOLDER EVERY` is the operator: it sends a command in so many milliseconds,
//! each good for [`LIFE`], until its standard input ends, and closes the link.

#![allow(
    clippy::unwrap_used,
    reason = "this is a part of a test, and panicking is how a test fails"
)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use countersign_core::{CloseMode, Config, ReceiveChannel, SendChannel};
use countersign_driver::{Outgoing, Setup};
use countersign_std::Link;
use countersign_tests::pair::role_security;

/// How long a command is good for, and how long it holds the lease.
const LIFE: Duration = Duration::from_millis(200);
const LEASE: Duration = Duration::from_millis(300);

/// The time by the clock of this machine, in microseconds.
fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, address, folder, rest @ ..] = &arguments[..] else {
        panic!("see the head of this program");
    };
    let security = role_security(Path::new(folder), role);
    if role == "listen" {
        let config = Config::new().channel(ReceiveChannel::new("commands").lease(LEASE));
        let setup = Setup::new(config, security).unwrap();
        let listener = countersign_std::listen(address.as_str(), setup).unwrap();
        println!("{}", listener.local_addr());
        obey(&listener.accept().unwrap());
    } else {
        let config = Config::new().channel(SendChannel::new("commands"));
        let setup = Setup::new(config, security).unwrap();
        let link = countersign_std::connect(address.as_str(), &setup).unwrap();
        let [every] = rest else {
            panic!("see the head of this program");
        };
        steer(&link, Duration::from_millis(every.parse().unwrap()));
    }
}

fn obey(link: &Link) {
    static NEWEST: AtomicU64 = AtomicU64::new(0);
    let lease = link.lease("commands").unwrap();
    let watching = lease.on_change_in_thread("motors", |held| {
        if held {
            println!("held");
        } else {
            println!("lapsed {}", now() - NEWEST.load(Ordering::SeqCst));
        }
    });
    let mut commands = link.receiver("commands").unwrap();
    let (mut taken, mut oldest) = (0, 0);
    while let Some(command) = commands.recv().unwrap() {
        let sent = u64::from_be_bytes(command[..].try_into().unwrap());
        NEWEST.store(sent, Ordering::SeqCst);
        oldest = oldest.max(now() - sent);
        taken += 1;
    }
    let report = link.ended();
    watching.unwrap().join().unwrap();
    let expired = report.channels[0].expired;
    println!("taken {taken} oldest {oldest} expired {expired}");
}

fn steer(link: &Link, every: Duration) {
    let reading = thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let commands = link.sender("commands").unwrap();
    while !reading.is_finished() {
        let command = Outgoing::from(now().to_be_bytes().to_vec());
        drop(commands.send(command.expires_in(LIFE)).unwrap());
        thread::sleep(every);
    }
    let report = link.close(CloseMode::Drain);
    println!("{}", report.verdicts());
}
