//! Many links at one listener, most of them idle: none is lost, and everything arrives.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use countersign_core::{
    ChannelConfig, CloseMode, Config, ReceiveChannel, SendChannel, Timeouts, Verdict,
};
use countersign_tests::backend::{Link, Receipt, Receiver, Sender};
use countersign_tests::backends::{Entry, tried_backends};
use countersign_tests::pair::{loopback, payload};
use countersign_tests::size::Size;
use countersign_tests::{Pair, Transport, watch};

/// How many links there are, where only a part is tested, where all is, and before a release.
const LINKS: [usize; 3] = [110, 330, 330];
/// How many of them work.
const BUSY: usize = 30;
const MESSAGES: usize = 200;
const SIZE: usize = 1024;
/// How many connect at once.
const AT_ONCE: usize = 8;
/// Files for each link, both ends together: sockets, and what wakes their threads.
const FILES: u64 = 8;

fn links() -> usize {
    Size::get().of(LINKS)
}

/// An opener's end, and an acceptor's.
type Opened = (usize, Box<dyn Link>);
type Accepted = (usize, Box<dyn Link>, Box<dyn Receiver>);

/// Idle links are pinged again and again while the busy ones work.
fn config(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel).timeouts(Timeouts {
        ping: Duration::from_millis(50),
        give_up: Duration::from_secs(100),
        ..Timeouts::default()
    })
}

/// All links, by number, which each opener sends as its first message.
fn gather(pair: &Pair) -> (Vec<Opened>, Vec<Accepted>) {
    let receiving = pair.lasting_server(config(ReceiveChannel::new("data")));
    let limits = countersign_driver::Limits::default();
    let listener = pair.server.listen(loopback(), receiving, limits);
    let sending = pair.lasting_client(config(SendChannel::new("data")));
    let (address, next) = (listener.address(), AtomicUsize::new(0));
    let open = || {
        let mut opened = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= links() {
                return opened;
            }
            let link = pair.client.connect(address, &sending).unwrap();
            let sender = link.sender("data").unwrap();
            assert!(sender.deliver(number.to_string()).is_handled());
            opened.push((number, link));
        }
    };
    let (mut opened, mut accepted) = thread::scope(|scope| {
        let opening: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(open)).collect();
        let accepted: Vec<Accepted> = (0..links())
            .map(|_| {
                let link = listener.accept().unwrap();
                let mut receiver = link.receiver("data").unwrap();
                let number = String::from_utf8(receiver.take().to_vec()).unwrap();
                (number.parse().unwrap(), link, receiver)
            })
            .collect();
        let opened = opening.into_iter().flat_map(|each| each.join().unwrap());
        (opened.collect::<Vec<_>>(), accepted)
    });
    opened.sort_by_key(|(number, ..)| *number);
    accepted.sort_by_key(|(number, ..)| *number);
    (opened, accepted)
}

/// Sends all, and then waits for the verdicts.
fn send(number: usize, sender: &(dyn Sender + 'static)) {
    let sent = (0..MESSAGES).map(|at| sender.give(payload(SIZE, number + at)));
    let receipts: Vec<Box<dyn Receipt>> = sent.collect();
    for receipt in receipts {
        assert_eq!(receipt.wait(), Verdict::HANDLED);
    }
}

fn receive(number: usize, receiver: &mut (dyn Receiver + 'static)) {
    for at in 0..MESSAGES {
        assert_eq!(receiver.take(), payload(SIZE, number + at));
    }
}

fn assert_undisturbed(number: usize, link: &dyn Link) {
    let report = link.report();
    assert!(report.end.is_none(), "link {number}: {report}");
    assert_eq!(report.resumes, 0, "link {number}");
}

fn crowd(pair: &Pair) {
    let (opened, mut accepted) = gather(pair);
    thread::scope(|scope| {
        for ((number, opener), (.., receiver)) in opened.iter().zip(&mut accepted).take(BUSY) {
            scope.spawn(|| send(*number, &*opener.sender("data").unwrap()));
            scope.spawn(|| receive(*number, &mut **receiver));
        }
    });
    for ((number, opener), (_, acceptor, receiver)) in opened.iter().zip(&mut accepted) {
        let receipt = opener.sender("data").unwrap().give("still here");
        assert_eq!(receiver.take(), "still here");
        assert_eq!(receipt.wait(), Verdict::HANDLED);
        assert_undisturbed(*number, &**opener);
        assert_undisturbed(*number, &**acceptor);
    }
    for (number, opener) in &opened {
        let report = opener.close(CloseMode::Drain);
        assert!(report.is_orderly(), "link {number}: {report}");
    }
    for (number, acceptor, _) in &accepted {
        let report = acceptor.ended();
        assert!(report.is_orderly(), "link {number}: {report}");
    }
}

#[test]
fn every_backend_holds_a_crowd() {
    let needed = FILES * links() as u64;
    let allowed = rlimit::increase_nofile_limit(needed).unwrap();
    assert!(
        allowed >= needed,
        "{needed} open files are needed, {allowed} allowed"
    );
    for Entry { name, backend, .. } in tried_backends("crowds") {
        for transport in [Transport::Tls, Transport::Plain] {
            println!("{name}, {}", transport.name());
            let pair = Pair {
                client: *backend,
                server: *backend,
                transport,
            };
            watch(move || crowd(&pair));
        }
    }
}
