//! The `countersign` program: see the library beside it.

use std::process::ExitCode;

use countersign_cli::exit::Exit;
use countersign_cli::{log, run, usage};

fn main() -> ExitCode {
    let args = match usage::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let verbose = args.log.verbose > 0;
    let expects_losses = args.command.loses_connections();
    let result = log::start(&args.log, expects_losses).and_then(|()| run(args));
    match result {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            failure.report(verbose);
            failure.exit().into()
        }
    }
}
