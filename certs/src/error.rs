//! What can go wrong when identities are made and written.

use std::path::PathBuf;

/// Why an identity could not be made or written. One line that says what to change.
#[derive(Debug, thiserror::Error)]
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
    /// The dates can't stand in a certificate, or end before they begin.
    #[error("the certificate cannot be valid in that time: {why}")]
    BadValidity {
        /// What is wrong with it, as a clause.
        why: &'static str,
    },
    /// The system has no random bytes to give, or the cryptographic library failed.
    #[error("no key could be made: {detail}")]
    Generation {
        /// What the library said.
        detail: String,
    },
    /// A file of that name is there already, and overwriting was not asked for.
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
        /// What the system said.
        source: std::io::Error,
    },
}
