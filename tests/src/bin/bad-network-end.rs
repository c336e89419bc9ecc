//! One end of a link as a separate process: sends a number of messages, receives as many, and
//! reports what became of them.
//!
//! `bad-network-end listen|connect tokio|std ADDRESS FOLDER COUNT`; the folder holds `listen` and
//! `connect` as pairs of `.crt` and `.key`. Every tenth of the way a line `received N` goes out,
//! and in the end one with all figures.

#![allow(
    clippy::unwrap_used,
    reason = "this is a part of a test, and panicking is how a test fails"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign_core::{
    Bytes, CloseMode, Config, ReceiveChannel, SendChannel, VerdictCounts, VerdictKind,
};
use countersign_driver::{Limits, Setup};
use countersign_tests::backend::{Backend, Link};
use countersign_tests::on_std::Std;
use countersign_tests::on_tokio::Tokio;
use countersign_tests::pair::{restless, role_security};

/// The length of a message: its number, and bytes that follow from it.
const LENGTH: usize = 64;
const BATCH: usize = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, backend, address, folder, count] = &arguments[..] else {
        panic!("five arguments are needed, see the head of this program");
    };
    let listens = role == "listen";
    let backend: &dyn Backend = match backend.as_str() {
        "tokio" => &Tokio,
        "std" => &Std,
        other => panic!("no backend is called {other}"),
    };
    let address: SocketAddr = address.parse().unwrap();
    let count: u64 = count.parse().unwrap();
    let setup = Setup::new(config(listens), role_security(Path::new(folder), role)).unwrap();
    if listens {
        let listener = backend.listen(address, setup, Limits::default());
        let link = listener.accept().unwrap();
        work(&*link, count, true);
    } else {
        work(&*backend.connect(address, &setup).unwrap(), count, false);
    }
}

fn config(listens: bool) -> Config {
    let config = restless(Duration::from_millis(1500));
    let (up, down) = ("up", "down");
    if listens {
        let config = config.channel(ReceiveChannel::new(up));
        config.channel(SendChannel::new(down))
    } else {
        let config = config.channel(SendChannel::new(up));
        config.channel(ReceiveChannel::new(down).manual())
    }
}

fn message(number: u64) -> Bytes {
    let filling = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    let bytes = number
        .to_be_bytes()
        .into_iter()
        .chain(filling.into_iter().cycle());
    bytes.take(LENGTH).collect()
}

fn work(link: &dyn Link, count: u64, listens: bool) {
    let (arrived, all_arrived) = mpsc::channel();
    let (verdicts, ledger) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(link, count, listens, &arrived));
        let verdicts = send(link, count, if listens { "down" } else { "up" });
        all_arrived.recv().unwrap();
        if !listens {
            link.start_close(CloseMode::Drain);
        }
        (verdicts, receiver.join().unwrap())
    });
    let report = link.ended();
    let replayed: u64 = report.channels.iter().map(|channel| channel.replayed).sum();
    println!(
        "end handled {} other {} received {} wrong {} orderly {} resumes {} replayed {replayed}",
        verdicts[VerdictKind::Handled],
        verdicts.total() - verdicts[VerdictKind::Handled],
        ledger.right,
        ledger.wrong,
        report.is_orderly(),
        report.resumes,
    );
}

fn send(link: &dyn Link, count: u64, channel: &str) -> VerdictCounts {
    let sender = link.sender(channel).unwrap();
    let mut verdicts = VerdictCounts::default();
    let mut receipts = VecDeque::new();
    let mut numbers = (0..count).map(message).peekable();
    while numbers.peek().is_some() {
        let mut batch: VecDeque<Bytes> = numbers.by_ref().take(BATCH).collect();
        receipts.push_back(sender.send_batch(&mut batch).unwrap());
    }
    for receipt in receipts {
        verdicts += receipt.wait();
    }
    verdicts
}

/// What arrived, compared with what was expected.
#[derive(Default)]
struct Ledger {
    /// How many messages arrived in order.
    right: u64,
    /// How many differed from the expected one: lost, repeated or damaged.
    wrong: u64,
}

/// Receives to the very end, since nothing may follow, and says when everything has come.
fn receive(link: &dyn Link, count: u64, listens: bool, arrived: &mpsc::Sender<()>) -> Ledger {
    let mut ledger = Ledger::default();
    let mut take = |payload: &[u8]| {
        if payload == message(ledger.right) {
            ledger.right += 1;
        } else {
            ledger.wrong += 1;
        }
        let came = ledger.right + ledger.wrong;
        if came.is_multiple_of((count / 10).max(1)) {
            println!("received {came}");
        }
        if came == count {
            arrived.send(()).unwrap();
        }
    };
    if listens {
        let mut receiver = link.receiver("up").unwrap();
        while let Some(message) = receiver.recv().unwrap() {
            take(&message);
        }
    } else {
        let mut receiver = link.manual_receiver("down").unwrap();
        while let Some(delivery) = receiver.recv().unwrap() {
            take(&delivery);
            delivery.handled();
        }
    }
    ledger
}
