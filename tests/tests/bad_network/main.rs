//! Whole processes on a bad network: two network namespaces, a cable that delays, loses and
//! reorders packets, is slow, stands still, and is pulled for seconds. TLS as in production.
//!
//! `COUNTERSIGN_MESSAGES` says how many messages go each way, 100,000 where all is tried, and
//! `COUNTERSIGN_SEED` what the network does to packets; what meets which packet is up to the
//! machine.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "panicking is how a helper of a test fails"
)]

mod leases;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign_tests::air::Quality;
use countersign_tests::namespaces::{FIRST, Namespaces};
use countersign_tests::pair::IDENTITIES;
use countersign_tests::size::leaves_out;

const PORT: u16 = 7000;
const ROLES: [&str; 2] = ["listen", "connect"];
const QUALITY: Quality = Quality {
    delay: Duration::from_millis(10),
    jitter: Duration::from_millis(3),
    lost: 50,
    overtaking: 200,
    rate: 2_500_000,
    queue: 250_000,
};
/// For how long the cable is pulled: longer than the ends wait for a silent peer.
const PULLED: Duration = Duration::from_secs(3);
/// At which tenths of the way: where all is tested, and else.
const PULLS: [&[u64]; 2] = [&[2, 4, 6, 8], &[5]];

/// A process at one end. What it says is read all the time: otherwise it would stop some time.
struct End {
    child: Child,
    lines: mpsc::IntoIter<String>,
}

impl End {
    fn start(network: &Namespaces, at: usize, program: &str, arguments: &[&str]) -> Self {
        let mut command = network.command(at, program);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            // Nobody hears it where the test has failed.
            let mut lines = output.lines().map(Result::unwrap);
            lines.try_for_each(|line| said.send(line))
        });
        let lines = lines.into_iter();
        Self { child, lines }
    }

    /// Waits until it prints one of these words, and returns the time that follows it.
    fn receive(&mut self, words: &[&str]) -> (String, i64) {
        let found = self.lines.find_map(|line| {
            let (word, time) = line.rsplit_once(' ')?;
            words
                .contains(&word)
                .then(|| (word.to_owned(), time.parse().unwrap()))
        });
        found.unwrap_or_else(|| panic!("the process has ended before it said {words:?}"))
    }

    /// Has it send a message.
    fn ask(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "message").unwrap();
    }

    /// Waits until so much has come.
    fn wait_for(&mut self, received: u64) {
        let line = format!("received {received}");
        let found = self.lines.any(|said| said == line);
        assert!(found, "the process has ended before '{line}'");
    }

    /// The figures that it ends with.
    fn figures(mut self) -> BTreeMap<String, String> {
        let last = self.lines.by_ref().last().unwrap();
        assert!(self.child.wait().unwrap().success(), "{last}");
        let words: Vec<_> = last.split(' ').skip(1).map(str::to_owned).collect();
        let pairs = words
            .chunks(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()));
        pairs.collect()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Only where the test has failed is it still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this machine lets a test make a network. Where it has to, not being able is a failure.
fn network(tag: char, quality: Quality, seed: u64) -> Option<Namespaces> {
    match Namespaces::new(tag, quality, seed) {
        Ok(network) => Some(network),
        Err(error) if std::env::var_os("CI").is_some() => panic!("no network: {error}"),
        Err(error) => {
            eprintln!("skipped, because there is no network to be had: {error}");
            None
        }
    }
}

fn identities() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (role, identity) in ROLES.iter().zip(&*IDENTITIES) {
        let write = |kind: &str, pem: &str| {
            std::fs::write(folder.path().join(format!("{role}.{kind}")), pem).unwrap();
        };
        write("crt", identity.certificate_pem());
        write("key", identity.key_pem());
    }
    folder
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect("a number"))
}

fn survive(tag: char, backends: [&str; 2]) {
    let seed = number("COUNTERSIGN_SEED", fastrand::u64(..));
    println!("COUNTERSIGN_SEED={seed} cargo test -p countersign-tests --test bad_network");
    let Some(network) = network(tag, QUALITY, seed) else {
        return;
    };
    let part = leaves_out("messages above 10,000, and pulling the cable more than once");
    let most = if part { 10_000 } else { 100_000 };
    let pulls = PULLS[usize::from(part)];
    let count = number("COUNTERSIGN_MESSAGES", most);
    let folder = identities();
    let program = env!("CARGO_BIN_EXE_bad-network-end");
    let (address, folder_name) = (
        format!("{FIRST}:{PORT}"),
        folder.path().display().to_string(),
    );
    let start = |at: usize| {
        let count = count.to_string();
        let arguments = [ROLES[at], backends[at], &address, &folder_name, &count];
        End::start(&network, at, program, &arguments)
    };
    let (listens, mut connects) = (start(0), start(1));
    for tenths in pulls {
        connects.wait_for(count / 10 * tenths);
        network.set_up(0, false).unwrap();
        thread::sleep(PULLED);
        network.set_up(0, true).unwrap();
    }
    let figures = [connects.figures(), listens.figures()];
    println!("{tag}: {figures:?}");
    for end in figures {
        let number = |name: &str| end[name].parse::<u64>().unwrap();
        assert_eq!(number("handled"), count, "lost: {end:?}");
        assert_eq!(number("received"), count, "lost: {end:?}");
        assert_eq!(number("other") + number("wrong"), 0, "{end:?}");
        assert_eq!(end["orderly"], "true", "{end:?}");
        assert!(number("resumes") >= pulls.len() as u64, "{end:?}");
    }
}

#[test]
fn tokio_at_both_ends() {
    if !leaves_out("tokio at both ends of a bad network") {
        survive('t', ["tokio"; 2]);
    }
}

#[test]
fn tokio_and_std() {
    survive('m', ["tokio", "std"]);
}

#[test]
fn std_at_both_ends() {
    if !leaves_out("std at both ends of a bad network") {
        survive('s', ["std"; 2]);
    }
}

/// How soon a message that was lost arrives once there is a way again, on a network with a delay of
/// 50 ms each way. The figure is printed, and depends on the machine; `latency.rs` has it exactly.
#[test]
fn how_soon_a_link_goes_on() {
    const DELAY: Duration = Duration::from_millis(50);
    const ROUNDS: [usize; 2] = [5, 2];
    let rounds = ROUNDS[usize::from(leaves_out("more than two losses of the network"))];
    let quality = Quality {
        delay: DELAY,
        jitter: Duration::ZERO,
        lost: 0,
        overtaking: 0,
        ..QUALITY
    };
    let Some(network) = network('r', quality, 1) else {
        return;
    };
    let folder = identities();
    let program = env!("CARGO_BIN_EXE_return-end");
    let (address, folder_name) = (
        format!("{FIRST}:{PORT}"),
        folder.path().display().to_string(),
    );
    let start = |at: usize| End::start(&network, at, program, &[ROLES[at], &address, &folder_name]);
    let (mut listens, mut connects) = (start(0), start(1));
    connects.ask();
    listens.receive(&["got"]);
    let mut took = Vec::new();
    for _ in 0..rounds {
        // Without a network an end's attempt to connect fails at once, and it soon tries again.
        network.set_up(1, false).unwrap();
        connects.ask();
        connects.receive(&["lost"]);
        network.set_up(1, true).unwrap();
        let mut dialed = 0;
        while let (word, time) = connects.receive(&["dial", "resumed"])
            && word == "dial"
        {
            dialed = time;
        }
        let (_, got) = listens.receive(&["got"]);
        took.push(Duration::from_micros(u64::try_from(got - dialed).unwrap()));
    }
    drop(connects.child.stdin.take());
    let (_, replayed) = connects.receive(&["replayed"]);
    println!("from the attempt to the first replayed message: {took:?}, {replayed} in all");
    // Faster than the network carries it, it would be another message.
    assert!(took.iter().all(|took| *took >= 6 * DELAY), "{took:?}");
}
