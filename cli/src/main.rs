//! The `countersign` program; its parts are in the library beside it.

use std::process::ExitCode;

use countersign_cli::exit::Exit;
use countersign_cli::{log, run, stdio, usage};

fn main() -> ExitCode {
    stdio::outlive_file_limits();
    let args = match usage::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return say(&error),
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

/// Prints help and version to standard output, as results, and everything else to standard error.
fn say(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let text = |styled: bool| match styled {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    if error.use_stderr() {
        stdio::tell(text(stdio::styles_errors()).trim_end());
        return Exit::Usage.into();
    }
    let text = text(stdio::styles_output());
    match stdio::output().and_then(|mut out| stdio::print(&mut out, text)) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            stdio::tell(format_args!("error: {failure}"));
            failure.exit().into()
        }
    }
}
