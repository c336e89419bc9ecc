//! Whole processes on a bad network: two network namespaces, a cable that delays, loses and reorders
//! packets, is slow, and is pulled for seconds. TLS as in earnest.
//!
//! `COUNTERSIGN_MESSAGES` says how many messages go each way, 100,000 if not set, and
//! `COUNTERSIGN_SEED` what the network does to packets; what meets which packet is up to the
//! machine.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "panicking is how a helper of a test fails"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::Duration;

use countersign_tests::air::Quality;
use countersign_tests::namespaces::{FIRST, Namespaces};
use countersign_tests::pair::IDENTITIES;

const PORT: u16 = 7000;
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
/// At which tenths of the way.
const PULLS: [u64; 4] = [2, 4, 6, 8];

/// A process at one end.
struct End {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl End {
    fn start(network: &Namespaces, at: usize, backend: &str, folder: &Path, count: u64) -> Self {
        let role = ["listen", "connect"][at];
        let mut command = network.command(at, env!("CARGO_BIN_EXE_bad-network-end"));
        command.args([role, backend, &format!("{FIRST}:{PORT}")]);
        command.arg(folder).arg(count.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until so much has come.
    fn wait_for(&mut self, received: u64) {
        let line = format!("received {received}");
        let found = self.lines.any(|said| said.unwrap() == line);
        assert!(found, "the process has ended before '{line}'");
    }

    /// The figures that it ends with.
    fn figures(mut self) -> BTreeMap<String, String> {
        let last = self.lines.by_ref().map(Result::unwrap).last().unwrap();
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
fn network(tag: char, seed: u64) -> Option<Namespaces> {
    match Namespaces::new(tag, QUALITY, seed) {
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
    for (role, identity) in ["listen", "connect"].iter().zip(&*IDENTITIES) {
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
    println!("COUNTERSIGN_SEED={seed}");
    let Some(network) = network(tag, seed) else {
        return;
    };
    let count = number("COUNTERSIGN_MESSAGES", 100_000);
    let folder = identities();
    let start = |at: usize| End::start(&network, at, backends[at], folder.path(), count);
    let (listens, mut connects) = (start(0), start(1));
    for tenths in PULLS {
        connects.wait_for(count / 10 * tenths);
        network.set_up(false).unwrap();
        thread::sleep(PULLED);
        network.set_up(true).unwrap();
    }
    let figures = [connects.figures(), listens.figures()];
    println!("{tag}: {figures:?}");
    for end in figures {
        let number = |name: &str| end[name].parse::<u64>().unwrap();
        assert_eq!(number("handled"), count, "lost: {end:?}");
        assert_eq!(number("received"), count, "lost: {end:?}");
        assert_eq!(number("other") + number("wrong"), 0, "{end:?}");
        assert_eq!(end["orderly"], "true", "{end:?}");
        assert!(number("resumes") >= PULLS.len() as u64, "{end:?}");
    }
}

#[test]
fn tokio_at_both_ends() {
    survive('t', ["tokio"; 2]);
}

#[test]
fn std_at_both_ends() {
    survive('s', ["std"; 2]);
}
