//! `countersign demo`: the library's main job on real input, in one process.
//!
//! A robot listens and an operator connects, over TLS on this machine. The robot sends a film on a
//! channel that carries the newest picture; the operator answers each picture with a command that
//! is useless when it is late, and the robot's motors run as long as the newest command is young
//! enough. Now and then the connection between them is cut, and both continue on the next; now and
//! then it stands still, and the motors with it. At the end, the demo checks that every message whose verdict says so did arrive,
//! unchanged, in order and once.
//!
//! - `robot` and `operator` are the two ends, `traffic` what both record.
//! - `backend` lets them run on threads or on tokio without knowing which.
//! - `cuts` says when the connection is cut and when it stands still, `motors` what the robot does
//!   meanwhile.
//! - `film` is the input, `check` compares the two ends, `table` is the report.

mod backend;
mod check;
mod cuts;
mod film;
mod motors;
mod operator;
mod robot;
mod table;
mod traffic;

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use countersign::{
    Config, Identity, Pins, ReceiveChannel, Reconnect, RecvError, Security, SendChannel, Setup,
};
use countersign_certs::{GeneratedIdentity, NewIdentity, Overwrite};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{BackendName, DemoArgs};
use crate::capture::Recording;
use crate::exit::Failure;
use crate::stdio;
use crate::words::count;
use backend::{Backend, Std, Tokio};
use check::Findings;
use cuts::{Cuts, PICTURES_PER_CUT, most_cuts};
use film::Film;
use traffic::Traffic;

/// The channel of the robot's pictures: the newest counts.
const VIDEO: &str = "video";
/// The channel of the operator's commands: every one counts, for a short time.
const COMMANDS: &str = "commands";
/// How long a command is good for.
const COMMAND_LIFE: Duration = Duration::from_millis(200);
/// How long the newest command keeps the motors running.
const LEASE: Duration = Duration::from_millis(300);
/// How long the operator waits for a picture before it repeats its last command.
const REPEAT: Duration = Duration::from_millis(50);
/// How long a picture is worth seeing.
const PICTURE_LIFE: Duration = Duration::from_secs(1);

/// How often the connection is cut and held up by default, if the film is long enough.
const CUTS: u32 = 3;
const STALLS: u32 = 1;
/// How late a command can look on a machine that is busy: the time when it was taken is read after
/// that.
const BUSY: Duration = Duration::from_millis(100);

/// Runs the demo and prints the result.
///
/// # Errors
/// A link failed or did not survive a cut, or a message did not arrive as its verdict says.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    match args.backend {
        BackendName::Std => run_on(&Std, args),
        BackendName::Tokio => run_on(&Tokio::start()?, args),
    }
}

fn run_on<B: Backend>(backend: &B, args: &DemoArgs) -> Result<(), Failure> {
    let asked = how_many("cut", args.cuts, CUTS, args)?;
    let stalls = how_many("stall", args.stalls, STALLS, args)?;
    let mut out = stdio::output()?;
    let film = Film::embedded()?;
    let setups = setups()?;
    let recording = Recording::begin(&args.capture)?;
    let [robot, operator] = setups.map(|setup| recording.of(setup));
    let progress = progress(args.frames);
    let listener = backend
        .listen(robot)
        .map_err(|error| Failure::failed(format!("cannot listen on this machine: {error}")))?;
    let mut address = backend.address(&listener);
    let cuts = match asked + stalls {
        0 => None,
        _ => {
            let cuts = Cuts::plan(address, asked, stalls, args.frames);
            Some(cuts.map_err(|error| Failure::failed("the system gives no proxy").because(error))?)
        }
    };
    if let Some(cuts) = &cuts {
        address = cuts.address();
    }
    let (robot, operator) = thread::scope(|scope| {
        let robot = scope.spawn(|| {
            let link = backend.accept(&listener);
            let link = link.map_err(|error| failed("robot", error.error().clone()))?;
            robot::run(backend, &link, &film, args, cuts.as_ref(), &progress)
        });
        let operator = scope.spawn(|| {
            let link = backend.connect(address, &operator);
            let link = link.map_err(|error| failed("operator", error))?;
            operator::run(backend, &link, cuts.as_ref())
        });
        (join(robot), join(operator))
    });
    progress.finish_and_clear();
    let made = cuts.map_or(0, |cuts| cuts.made());
    let concluded = robot.and_then(|robot| {
        let (report, verdict) = conclude(&robot, &operator?, asked, made, stalls);
        // The verdict matters more than a failure to print it.
        let printed = stdio::print(&mut out, report);
        verdict.and(printed)
    });
    recording.conclude(concluded)
}

/// Returns how many cuts or stalls to make.
fn how_many(what: &str, asked: Option<u32>, default: u32, args: &DemoArgs) -> Result<u32, Failure> {
    let most = most_cuts(args.frames);
    match asked {
        None => Ok(default.min(most)),
        Some(asked) if asked <= most => Ok(asked),
        Some(asked) => Err(Failure::usage(format!(
            "--{what}s {asked}: a film of {} bears {}, {PICTURES_PER_CUT} pictures for each; make it \
             longer with --frames",
            count(args.frames, "picture"),
            count(most, what)
        ))),
    }
}

/// Returns the report, which is the table with the check's findings, and whether the demo
/// succeeded.
fn conclude(
    robot: &Traffic,
    operator: &Traffic,
    asked: u32,
    made: u64,
    stalls: u32,
) -> (String, Result<(), Failure>) {
    let mut report = format!(
        "{}\n",
        table::render(
            (&robot.sent, &operator.received),
            (&operator.sent, &robot.received),
        )
    );
    // The end that connects knows which connections there were.
    let survived = operator.report.resumes.min(made);
    if asked > 0 {
        let replayed = robot.replayed() + operator.replayed();
        report += &format!("cuts survived: {survived} of {asked}; messages replayed: {replayed}\n");
    }
    let (late, worst) = motors::late(&operator.sent, &robot.received, COMMAND_LIFE);
    report += &told_of_motors(robot, operator, stalls, late);
    let video = check::check(&robot.sent, &operator.received);
    let commands = check::check(&operator.sent, &robot.received);
    let Findings {
        lost, duplicated, ..
    } = video + commands;
    report += &format!("messages lost: {lost}; duplicated: {duplicated}\n");
    for (channel, findings) in [(VIDEO, video), (COMMANDS, commands)] {
        if !findings.is_good() {
            let message = format!("channel {channel}, checked by SHA-256: {findings}");
            return (report, Err(Failure::failed(message)));
        }
    }
    report += "checked by SHA-256: what was handled arrived once, unchanged and in order\n";
    if worst > BUSY {
        let message = format!("a command was taken {} ms late", worst.as_millis());
        return (report, Err(Failure::failed(message)));
    }
    if survived < asked.into() {
        let message = format!("the link survived {survived} of the {asked} cuts asked for");
        return (report, Err(Failure::failed(message)));
    }
    (report, Ok(()))
}

/// Returns the lines about commands and motors.
fn told_of_motors(robot: &Traffic, operator: &Traffic, stalls: u32, late: usize) -> String {
    let mut told = String::new();
    if stalls > 0 {
        let seconds = cuts::STALL.as_secs();
        told += &format!("stalls of the network: {stalls}, {seconds} s each\n");
    }
    let longest = motors::longest(&robot.runs, &operator.sent, &robot.received);
    let longest = longest.unwrap_or_default().as_millis();
    told += &format!(
        "commands late: {late}; motors stopped: {}; longest without a fresh command: {longest} ms\n",
        robot.runs.len()
    );
    told
}

fn failed(end: &str, error: impl Into<RecvError>) -> Failure {
    let what = format!("the {end}'s link");
    match error.into() {
        RecvError::Link(error) => Failure::link(&what, error),
        border => Failure::failed(format!("{what}: {border}")),
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    let result = thread.join();
    result.unwrap_or_else(|_| Err(Failure::failed("a part of the demo panicked")))
}

/// Returns a progress bar, which shows on a terminal and nowhere else.
fn progress(frames: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {elapsed} {msg}");
    ProgressBar::new(frames.into())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Returns what the robot and the operator declare, each with an identity in files as on two
/// machines.
fn setups() -> Result<[Setup; 2], Failure> {
    let folder = tempfile::tempdir().map_err(|error| {
        Failure::files(format!("no temporary folder can be made: {error}")).because(error)
    })?;
    for name in ["robot", "operator"] {
        let identity = NewIdentity::new(name).generate();
        identity
            .and_then(|identity: GeneratedIdentity| identity.write(folder.path(), Overwrite::No))
            .map_err(|error| Failure::files(error.to_string()))?;
    }
    // No other peer is kept from connecting, so the delays can be short.
    let reconnect = Reconnect {
        longest_delay: Duration::from_millis(100),
        ..Reconnect::default()
    };
    let robot = Config::new()
        .channel(ReceiveChannel::new(COMMANDS).reliable().lease(LEASE))
        .channel(SendChannel::new(VIDEO).latest());
    let operator = Config::new()
        .reconnect(reconnect)
        .channel(SendChannel::new(COMMANDS))
        .channel(ReceiveChannel::new(VIDEO).latest());
    Ok([
        setup(robot, folder.path(), "robot", "operator")?,
        setup(operator, folder.path(), "operator", "robot")?,
    ])
}

fn setup(config: Config, folder: &Path, own: &str, peer: &str) -> Result<Setup, Failure> {
    let file = |name: &str, suffix: &str| folder.join(format!("{name}.{suffix}"));
    let identity = Identity::from_pem_files(file(own, "crt"), file(own, "key"))?;
    let pins = Pins::from_files([file(peer, "crt")])?;
    let security = Security::tls(identity, pins).build()?;
    Setup::new(config, security).map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use countersign::{Report, VerdictKind};

    use super::check::{Received, hash, message};
    use super::traffic::Sent;
    use super::*;

    /// Returns an end that has sent `sent` messages, all handled, and received those with these
    /// numbers.
    fn end(sent: u64, received: &[u64], resumes: u64) -> Traffic {
        let of = |identity| Sent {
            hash: hash(&message(identity, b"content")),
            bytes: 15,
            verdict: VerdictKind::Handled,
            at: Instant::now(),
            took: Duration::ZERO,
        };
        let arrived = |identity: &u64| Received::with(&message(*identity, b"content"));
        Traffic {
            sent: (1..=sent).map(of).collect(),
            received: received.iter().map(arrived).collect(),
            runs: Vec::new(),
            report: Report {
                end: None,
                resumes,
                channels: Vec::new(),
            },
        }
    }

    #[test]
    fn what_is_lost_or_doubled_or_not_survived_is_a_failure() {
        let conclude = |received: &[u64], resumes, made| {
            let (_, result) = conclude(&end(2, &[], 0), &end(0, received, resumes), 3, made, 0);
            result.map_err(|failure| (failure.exit().code(), failure.to_string()))
        };
        assert_eq!(conclude(&[1, 2], 3, 3), Ok(()));
        for (received, resumes, made, words) in [
            (&[1][..], 3, 3, "1 lost"),
            (&[1, 1, 2], 3, 3, "1 duplicated"),
            (&[1, 2], 2, 3, "survived 2 of the 3 cuts"),
            // A connection lost for another reason is not a cut.
            (&[1, 2], 3, 2, "survived 2 of the 3 cuts"),
        ] {
            let (code, message) = conclude(received, resumes, made).unwrap_err();
            assert!(code == 1 && message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_film_bears_so_many_cuts_and_no_more() {
        let cuts = |frames, cuts| {
            let args = DemoArgs {
                backend: BackendName::Std,
                frames,
                fps: crate::args::Pace::Max,
                cuts,
                stalls: None,
                capture: crate::args::CaptureArgs {
                    capture: None,
                    capture_limit: 0,
                    capture_payloads: crate::args::Payloads::None,
                },
            };
            how_many("cut", args.cuts, CUTS, &args).map_err(|failure| failure.exit().code())
        };
        assert_eq!(cuts(132, None), Ok(CUTS));
        assert_eq!(cuts(1, None), Ok(0));
        assert_eq!(cuts(132, Some(0)), Ok(0));
        assert_eq!(cuts(132, Some(132 / PICTURES_PER_CUT)), Ok(66));
        assert_eq!(cuts(132, Some(132 / PICTURES_PER_CUT + 1)), Err(2));
    }
}
