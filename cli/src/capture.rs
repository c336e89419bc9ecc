//! `--capture`: everything that the program's links do, in a file.

use std::io;

use countersign_tokio::Setup;
use countersign_tokio::capture::{Capture, Options};

use crate::args::{CaptureArgs, Payloads};
use crate::exit::Failure;
use crate::words::count;

/// The capture that the command line asks for, if it does.
#[derive(Debug, Default)]
pub struct Recording(Option<Capture>);

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
        Ok(Self(Some(capture)))
    }

    /// The same setup, whose links are recorded.
    #[must_use]
    pub fn of(&self, setup: Setup) -> Setup {
        match &self.0 {
            Some(capture) => setup.capture(capture),
            None => setup,
        }
    }

    /// Waits until all of it is written. What went wrong with it has been logged, and is no failure
    /// of what the program was asked for.
    pub fn finish(self) {
        if let Some(Ok(captured)) = self.0.map(|capture| capture.finish()) {
            let bytes = count(captured.bytes, "byte");
            tracing::info!("captured {bytes} ({})", captured.why);
        }
    }
}
