//! `--capture`: everything that the program's links do, in a file.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use countersign::Setup;
use countersign::capture::{Capture, Captured, Options};

use crate::args::{CaptureArgs, Payloads};
use crate::exit::Failure;
use crate::words::count;

/// The capture that the command line asks for, if it does.
#[derive(Debug, Default)]
pub struct Recording(Option<(Capture, PathBuf)>);

/// The ends of a capture that has all that it was asked to have: `--capture-limit` is such a wish too.
const WHOLE: [&str; 2] = ["finished", "limit"];

impl Recording {
    /// Makes the file. What else may be wrong with the command line is to be found before, since the
    /// file would be in the way of the next try.
    ///
    /// # Errors
    /// It is there already, or can't be made.
    pub fn begin(args: &CaptureArgs) -> Result<Self, Failure> {
        let Some(path) = &args.capture else {
            return Ok(Self(None));
        };
        let options = Options::new()
            .limit(args.capture_limit)
            .payloads(args.capture_payloads == Payloads::All);
        let capture = Capture::file(path, options).map_err(|error| {
            let path = path.display();
            let message = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("--capture {path}: this file is there already; choose another name")
                }
                _ => format!("--capture {path}: cannot be written ({error}); choose another name"),
            };
            Failure::files(message).because(error)
        })?;
        Ok(Self(Some((capture, path.clone()))))
    }

    /// The same setup, whose links are recorded.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        match &self.0 {
            Some((capture, _)) => setup.capture(capture),
            None => setup,
        }
    }

    /// Waits until all of it is written, and says how the program ends, which without it would be with
    /// `result`. That the file is incomplete changes nothing for the links, and does for whoever asked for
    /// it: it is a failure where nothing else is, and has its line in any case.
    ///
    /// # Errors
    /// That of `result`, or the capture lacks something.
    pub fn conclude(self, result: Result<(), Failure>) -> Result<(), Failure> {
        match (result, self.finish()) {
            (Ok(()), written) => written,
            (result, Ok(())) => result,
            (result, Err(incomplete)) => {
                tracing::error!("{incomplete}");
                result
            }
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let Some((capture, path)) = self.0 else {
            return Ok(());
        };
        let path = path.display();
        let incomplete = |why: &dyn Display| {
            Failure::failed(format!(
                "--capture {path}: the capture is incomplete: {why}"
            ))
        };
        match capture.finish() {
            Ok(Captured { bytes, why }) if WHOLE.contains(&why) => {
                let bytes = count(bytes, "byte");
                tracing::info!("captured {bytes} ({why})");
                Ok(())
            }
            Ok(Captured { why: "overrun", .. }) => Err(incomplete(
                &"the file takes less than the links do; choose a faster disk",
            )),
            Ok(Captured { .. }) => Err(incomplete(&"a call had more bytes than it can record")),
            Err(error) => Err(incomplete(&error).because(error)),
        }
    }
}
