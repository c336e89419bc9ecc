//! Exit codes, and failures that end the program early.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use countersign::{Blame, EndReason, LinkError, SetupError, refuse};

use crate::words;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything requested was done.
    Done = 0,
    /// Something failed on the way.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// One end refused the other.
    Refused = 3,
    /// An identity, a pin or a local file can't be used.
    Files = 4,
    /// Stopped by [`Signal::Hangup`].
    HungUp = 129,
    /// Stopped by [`Signal::Interrupt`].
    Interrupted = 130,
    /// Stopped by [`Signal::Terminate`].
    Terminated = 143,
}

impl Exit {
    /// All exit codes, in ascending order.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Files,
        Self::HungUp,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// Returns the number that the system gets.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the meaning that `--help` and the guide give.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => {
                "all is well; of a pipe, the whole of the stream was handled, or dropped as a flag asks for"
            }
            Self::Failed => {
                "failed on the way: no connection, link lost or broken off, message not handled"
            }
            Self::Usage => "the command line makes no sense",
            Self::Refused => "one end refused the other: pin, certificate, dialect, channel",
            Self::Files => {
                "a file cannot be used: identity, pin, capture, log file, input or output that is closed"
            }
            Self::HungUp => "broken off by SIGHUP, where there are no files to read again",
            Self::Interrupted => "broken off by SIGINT (Ctrl-C)",
            Self::Terminated => "broken off by SIGTERM",
        }
    }

    /// Returns the meaning for the command of this name, or `None` if it can't end so. Any other
    /// name stands for all commands.
    #[must_use]
    pub fn meaning_for(self, command: &str) -> Option<&'static str> {
        let done_or_failed = match command {
            "keygen" => ["the files are made", UNWRITTEN],
            "pin" => ["every file was shown", UNWRITTEN],
            "trace" => [
                "the capture was shown, or played back and did the same",
                "it did something else when played back, or standard output cannot be written",
            ],
            "demo" => [
                "every message ended as its verdict says",
                "a link failed or was not what it should be, or something cannot be written",
            ],
            _ => return Some(self.meaning()),
        };
        match self {
            Self::Done => Some(done_or_failed[0]),
            Self::Failed => Some(done_or_failed[1]),
            Self::Usage | Self::Files => Some(self.meaning()),
            _ => None,
        }
    }

    /// Returns the list of exit codes at the end of a command's `--help`.
    #[must_use]
    pub fn help(command: &str) -> String {
        let mut text = String::from("Exit codes:");
        for exit in Self::ALL {
            if let Some(meaning) = exit.meaning_for(command) {
                text.push_str(&format!("\n  {:<3}  {meaning}", exit.code()));
            }
        }
        text
    }
}

/// The meaning of a failure for commands where nothing else can fail.
const UNWRITTEN: &str = "standard output cannot be written, or the system failed";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A signal that asks the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP, which closing a terminal sends.
    Hangup,
    /// SIGINT, which Ctrl-C sends.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// Returns how the program ends then: with the code that a shell gives to one killed by the
    /// signal.
    #[must_use]
    pub const fn exit(self) -> Exit {
        match self {
            Self::Hangup => Exit::HungUp,
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Why the program ended early: one line that says what to change, the exit code, and the cause.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Returns a failure for something that failed on the way.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Returns a failure for a command line that is invalid in a way that only shows now.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Returns a failure for a local file that can't be used.
    pub fn files(message: impl Into<String>) -> Self {
        Self::new(Exit::Files, message)
    }

    /// Returns a failure for a program that was asked to stop before it was done.
    #[must_use]
    pub fn stopped(signal: Signal) -> Self {
        Self::new(signal.exit(), format!("broken off by {signal}"))
    }

    /// Returns the same failure, brought about by a signal.
    #[must_use]
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        if self.exit != signal.exit() {
            self.message = format!("broken off by {signal}: {}", self.message);
            self.exit = signal.exit();
        }
        self
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            source: None,
        }
    }

    /// Returns a failure for a link that ended or never came to be, after `what` this end was
    /// doing.
    #[must_use]
    pub fn link(what: &str, error: LinkError) -> Self {
        let refused = match (error.security(), error.reason()) {
            (Some(security), _) => security.blame() == Blame::Refused,
            // Nothing is wrong with either end's settings: a new link may succeed.
            (None, EndReason::Refused(refusal)) if refusal.code == refuse::SESSION_OVER => false,
            (
                None,
                EndReason::Incompatible(_)
                | EndReason::Refused(_)
                | EndReason::TurnedAway(_)
                | EndReason::Revoked { .. },
            ) => true,
            (None, _) => false,
        };
        let exit = if refused { Exit::Refused } else { Exit::Failed };
        let words = words::of_link(&error);
        Self::new(exit, format!("{what}: {words}")).because(error)
    }

    /// Adds what else can be done.
    #[must_use]
    pub fn or(mut self, other: &str) -> Self {
        self.message.push_str(", or ");
        self.message.push_str(other);
        self
    }

    /// Adds what to check.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(hint);
        self
    }

    /// Adds the cause, which `--verbose` shows.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Logs the failure, with the chain of causes if `verbose`.
    pub fn report(&self, verbose: bool) {
        tracing::error!("{self}");
        let mut said = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next.filter(|_| verbose) {
            // Most of the library's errors contain the text of their cause already.
            let words = cause.to_string();
            if !said.contains(&words) {
                tracing::error!("caused by: {words}");
            }
            said = words;
            next = cause.source();
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::files(error.to_string()).because(error)
    }
}
