//! The parts of the `countersign` program, so that tests can use them without running it.
//!
//! The program itself is `main.rs`, which reads the arguments and calls [`run`].
//!
//! - [`args`]: flags and commands; [`usage`] reads the command line, [`values`] the values of
//!   flags.
//! - [`exit`]: exit codes, and failures that end the program early.
//! - [`log`]: where the log goes.
//! - [`keygen`], [`pin`], [`pipe`], [`demo`]: the commands.
//! - [`proxy`]: a connection that can be cut, for the demo, over a [`relay`].
//! - [`security`]: turns files and fingerprints into a link's security.
//! - [`capture`], [`trace`]: what links do, recorded and shown.
//! - [`stdio`]: standard input, output and error.
//! - [`words`]: what the program says about links, in the terms of the command line.
//! - [`split`]: how a stream of bytes becomes messages, and messages a stream again.

pub mod args;
pub mod capture;
pub mod demo;
pub mod exit;
mod help;
pub mod keygen;
pub mod log;
pub mod pin;
pub mod pipe;
pub mod proxy;
pub mod relay;
pub mod security;
pub mod split;
pub mod stdio;
pub mod trace;
pub mod usage;
pub mod values;
pub mod words;

use args::{Args, Command};
use exit::Failure;

/// Runs the command line.
///
/// # Errors
/// The failure that ended the program early, with its exit code.
pub fn run(args: Args) -> Result<(), Failure> {
    // Clap can't relate global flags to those of a command.
    if args.log.quiet && args.command.writes_keys() {
        let why = "--key-log cannot be used with --quiet: the log has to warn of it";
        return Err(Failure::usage(why));
    }
    if args.command.names_a_channel_in_vain() {
        let why = "--channel cannot be used with --dialect tlsstream, which has no channels";
        return Err(Failure::usage(why));
    }
    match args.command {
        Command::Keygen(args) => keygen::run(&args),
        Command::Pin(args) => pin::run(&args),
        Command::Pipe(args) => pipe::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Trace(args) => trace::run(&args),
    }
}
