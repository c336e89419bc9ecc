//! `--capture`: records everything that the program's links do in a file.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use countersign::Setup;
use countersign::capture::{Capture, Captured, Options};

use crate::args::{CaptureArgs, Payloads};
use crate::exit::Failure;
use crate::words::count;

/// The capture that the command line asks for, if any.
#[derive(Debug, Default)]
pub struct Recording(Option<(Capture, PathBuf)>);

/// How a capture ends that has all that was asked for: `--capture-limit` asks for less.
const WHOLE: [&str; 2] = ["finished", "limit"];

impl Recording {
    /// Creates the file. Everything else that may be wrong with the command line must be checked
    /// first, since the file would be in the way of the next try.
    ///
    /// # Errors
    /// The file exists already, or can't be created.
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

    /// Returns the setup with its links recorded.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        match &self.0 {
            Some((capture, _)) => setup.capture(capture),
            None => setup,
        }
    }

    /// Waits until the capture is written, and returns how the program ends: with `result`, or with
    /// a failure if that is a success and the capture is incomplete. An incomplete capture does not
    /// affect the links, but the user asked for a complete one, so it is reported in any case.
    ///
    /// # Errors
    /// That of `result`, or the capture is incomplete.
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
