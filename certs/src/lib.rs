//! Identities for countersign: a private key and its self-signed certificate, generated together.
//!
//! ```
//! use countersign_certs::{NewIdentity, Overwrite};
//!
//! let directory = tempfile::tempdir()?;
//! let identity = NewIdentity::new("robot").generate()?;
//! let files = identity.write(directory.path(), Overwrite::No)?;
//! assert!(files.certificate.ends_with("robot.crt") && files.key.ends_with("robot.key"));
//! println!("give {} to the peer, or tell it {}", files.certificate.display(), identity.fingerprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The certificates are accepted by rustls, by OpenSSL 3 with `-x509_strict` and by Python 3.13
//! with `VERIFY_X509_STRICT`, also when the certificate itself is loaded as the authority to trust,
//! which is how the Python original pins its peer.
//!
//! # Features
//!
//! `aws-lc-rs` (default) or `ring` makes keys and signs. One of them is required, and the first is
//! used where both are enabled. It need not be the one that links use.
//!
//! # Modules
//! `generate` makes identities, `files` writes them, `error` has the errors, and `fixtures` (with
//! the feature of that name) makes flawed ones for tests.

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("keys are made by aws-lc-rs or by ring: turn on the feature of that name");

mod error;
mod files;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod generate;

pub use error::Error;
pub use files::{Overwrite, WrittenFiles};
pub use generate::{Algorithm, GeneratedIdentity, NewIdentity};
