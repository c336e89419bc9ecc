//! Errors of making and writing identities.

use std::fmt;
use std::path::PathBuf;

/// Why an identity could not be made or written, in one line that says what to change.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name can't be a common name and a file name.
    #[error("`{}` cannot name an identity: {why}", .name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it, as a clause.
        why: &'static str,
    },
    /// A certificate can't hold the dates, or validity ends before it begins.
    #[error("the certificate cannot be valid in that time: {why}")]
    BadValidity {
        /// What is wrong with it, as a clause.
        why: &'static str,
    },
    /// The system provides no random bytes, or the cryptographic library failed.
    #[error("no key could be made: {detail}")]
    Generation {
        /// The library's message.
        detail: String,
    },
    /// The file exists already, and overwriting was not asked for.
    #[error("{}: exists already; choose another name, or ask for it to be overwritten", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("{}: cannot be written ({source})", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl fmt::Debug for Error {
    /// Writes the text: a program whose `main` returns an error prints it with `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
