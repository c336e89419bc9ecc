//! `countersign demo`: the library's main job on real input, in one process.
//!
//! A robot listens and an operator connects, over TLS on this machine. The robot sends a film on a
//! channel that carries the newest picture; the operator answers each picture with a command that
//! is of no use when it is late. In the end it is checked that every message whose verdict says
//! so did arrive, unchanged, in order and once.
//!
//! - `robot` and `operator` are the two ends, `traffic` what both record.
//! - `backend` lets them run on threads or on tokio without knowing which.
//! - `film` is the input, `check` the judge, `table` the report.

mod backend;
mod check;
mod film;
mod operator;
mod robot;
mod table;
mod traffic;

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, NewIdentity, Overwrite};
use countersign_tokio::core::{ChannelConfig, Config};
use countersign_tokio::endpoint::{Identity, Pins, Security};
use countersign_tokio::{LinkError, Setup};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{BackendName, DemoArgs};
use crate::exit::Failure;
use backend::{Backend, Std, Tokio};
use film::Film;
use traffic::Traffic;

/// The robot's pictures: the newest counts.
const VIDEO: &str = "video";
/// The operator's commands: every one counts, for a short time.
const COMMANDS: &str = "commands";
/// How long a command is worth being sent.
const COMMAND_LIFE: Duration = Duration::from_millis(200);

/// Runs the demo and prints what came of it.
///
/// # Errors
/// A link failed, or a message did not arrive as its verdict says.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    match args.backend {
        BackendName::Std => run_on(&Std, args),
        BackendName::Tokio => run_on(&Tokio::start()?, args),
    }
}

fn run_on<B: Backend>(backend: &B, args: &DemoArgs) -> Result<(), Failure> {
    let film = Film::embedded()?;
    let [robot, operator] = setups()?;
    let progress = progress(args.frames);
    let listener = backend
        .listen(robot)
        .map_err(|error| Failure::failed(format!("cannot listen on this machine: {error}")))?;
    let address = backend.address(&listener);
    let (robot, operator) = thread::scope(|scope| {
        let robot = scope.spawn(|| {
            let link = backend.accept(&listener);
            let link = link.map_err(|error| failed("robot", error.error().clone()))?;
            robot::run(backend, &link, &film, args, &progress)
        });
        let operator = scope.spawn(|| {
            let link = backend.connect(address, &operator);
            let link = link.map_err(|error| failed("operator", error))?;
            operator::run(backend, &link)
        });
        (join(robot), join(operator))
    });
    progress.finish_and_clear();
    conclude(&robot?, &operator?)
}

/// Prints the table and gives the check's word.
fn conclude(robot: &Traffic, operator: &Traffic) -> Result<(), Failure> {
    println!("{}", table::render(&robot.sent, &operator.sent));
    for (channel, sender, receiver) in [(VIDEO, robot, operator), (COMMANDS, operator, robot)] {
        check::check(&sender.sent, &receiver.received)
            .map_err(|wrong| Failure::failed(format!("channel {channel}: {wrong}")))?;
    }
    println!("checked by SHA-256: what was handled arrived once, unchanged and in order");
    Ok(())
}

fn failed(end: &str, error: LinkError) -> Failure {
    Failure::link(&format!("the {end}'s link"), error)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    let result = thread.join();
    result.unwrap_or_else(|_| Err(Failure::failed("a part of the demo panicked")))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(frames: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {elapsed}");
    ProgressBar::new(frames.into())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What the robot and the operator declare, each with an identity in a file as on two machines.
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
    let robot = Config::new()
        .channel(ChannelConfig::receive(COMMANDS).reliable())
        .channel(ChannelConfig::send(VIDEO).latest());
    let operator = Config::new()
        .channel(ChannelConfig::send(COMMANDS))
        .channel(ChannelConfig::receive(VIDEO).latest());
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
