//! A robot and its operator in processes of their own, each of which is stopped for seconds.
//!
//! `COUNTERSIGN_LAPSES` says how many times a lease is to lapse in [`leases_lapse`], which prints how
//! long after the newest command each did.

#![allow(
    clippy::unwrap_used,
    reason = "panicking is how a helper of a test fails"
)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use countersign_tests::pair::IDENTITIES;

/// Much longer than commands are good for, so that a slow machine is not taken for a mistake.
const STOPPED: Duration = Duration::from_secs(3);

struct End {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl End {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-end"));
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }

    /// Reads on to a line that begins with this word, and returns the rest of it.
    fn until(&mut self, word: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Has an operator send no more.
    fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Stops the process as a shell would, for a while.
    fn stop_for(&self, time: Duration) {
        for (signal, then) in [("-STOP", time), ("-CONT", Duration::ZERO)] {
            let id = self.child.id().to_string();
            let sent = Command::new("kill").args([signal, &id]).status().unwrap();
            assert!(sent.success());
            thread::sleep(then);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Only where the test has failed is it still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn robot_and_operator(folder: &tempfile::TempDir, every: &str) -> (End, End) {
    for (role, identity) in ["listen", "connect"].iter().zip(&*IDENTITIES) {
        let write = |kind: &str, pem: &str| {
            std::fs::write(folder.path().join(format!("{role}.{kind}")), pem).unwrap();
        };
        write("crt", identity.certificate_pem());
        write("key", identity.key_pem());
    }
    let folder = folder.path().to_str().unwrap();
    let mut robot = End::start(&["listen", "127.0.0.1:0", folder]);
    let address = robot.line();
    let operator = End::start(&["connect", &address, folder, every]);
    (robot, operator)
}

/// Whoever of the two stands still: no command is taken late, and the motors stop.
#[cfg(unix)]
#[test]
fn processes_that_stand_still() {
    let folder = tempfile::tempdir().unwrap();
    let (mut robot, mut operator) = robot_and_operator(&folder, "20");
    for stops_robot in [false, true] {
        robot.until("held");
        let stopped = if stops_robot { &robot } else { &operator };
        stopped.stop_for(STOPPED);
        robot.until("lapsed");
    }
    robot.until("held");
    operator.end_input();
    let figures = robot.until("taken");
    let [taken, _, oldest, _, expired] = figures.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{figures}");
    };
    println!("{figures}, {}", operator.line());
    assert!(taken.parse::<u64>().unwrap() > 10);
    // What the operator sent while the robot stood still waited in its socket.
    assert!(expired.parse::<u64>().unwrap() > 10, "{figures}");
    let oldest = Duration::from_micros(oldest.parse().unwrap());
    assert!(oldest < STOPPED / 2, "a command was taken {oldest:?} old");
}

/// Each command is the last for a while, so the lease lapses after each.
#[test]
fn leases_lapse() {
    let lapses = std::env::var("COUNTERSIGN_LAPSES");
    let count: usize = lapses.map_or(5, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let (mut robot, _operator) = robot_and_operator(&folder, "400");
    let mut ages: Vec<u64> = Vec::new();
    for _ in 0..count {
        robot.until("held");
        ages.push(robot.until("lapsed").parse().unwrap());
    }
    ages.sort_unstable();
    let at = |part: f64| ages[((ages.len() as f64 * part).ceil() as usize).max(1) - 1];
    println!(
        "{count} lapses after the newest command was sent: median {} us, 99.9th percentile {} us, \
         latest {} us",
        at(0.5),
        at(0.999),
        at(1.0),
    );
    // The clock of this measurement is another one, and a machine may be slow.
    assert!(ages[0] > 200_000, "{ages:?}");
}
