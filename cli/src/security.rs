//! From files and fingerprints to a link's security.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use countersign_tokio::endpoint::{
    Fingerprint, Identity, Pin, Pins, Security, SetupError, ValidityDates,
};

use crate::args::SecurityArgs;
use crate::exit::Failure;

/// One `--peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The fingerprint of a public key, as it was written.
    Fingerprint(String),
    /// A file with certificates or fingerprints.
    File(PathBuf),
}

impl FromStr for Peer {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_fingerprint = text
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("sha256:"));
        Ok(match is_fingerprint {
            true => Self::Fingerprint(text.to_owned()),
            false => Self::File(text.into()),
        })
    }
}

impl Peer {
    fn pins(&self) -> Result<Vec<Pin>, Failure> {
        match self {
            Self::Fingerprint(text) => match text.parse::<Fingerprint>() {
                Ok(fingerprint) => Ok(vec![fingerprint.into()]),
                Err(error) => Err(Failure::usage(format!("--peer {text}: {error}"))),
            },
            Self::File(path) => Ok(Pins::from_files([path])?.iter().cloned().collect()),
        }
    }
}

/// Puts together what the command line says about security, and logs what is questionable.
///
/// # Errors
/// A file that can't be used, or a fingerprint that is none.
pub fn from_args(args: &SecurityArgs) -> Result<Security, Failure> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        tracing::warn!("--plaintext: anybody on the way can read and change everything");
        return Ok(Security::plaintext());
    };
    let mut pins = Vec::new();
    for peer in &args.peer {
        pins.extend(peer.pins()?);
    }
    let dates = match args.ignore_dates {
        true => ValidityDates::Ignore,
        false => ValidityDates::Check,
    };
    let pins = Pins::new(pins)?.with_validity_dates(dates);
    let identity = Identity::from_pem_files(cert, key)?;
    for warning in identity.warnings() {
        tracing::warn!("{warning}");
    }
    if pins.fingerprints().any(|pin| pin == identity.fingerprint()) {
        tracing::warn!("--peer names our own key; it takes the peer's certificate");
    }
    if args.key_log {
        warn_about_key_log();
    }
    let security = Security::tls(identity, pins).key_log(args.key_log).build();
    security.map_err(|error: SetupError| error.into())
}

fn warn_about_key_log() {
    match std::env::var_os("SSLKEYLOGFILE") {
        Some(path) => tracing::warn!(
            "--key-log: whoever reads {} can read this connection",
            path.display()
        ),
        None => tracing::warn!("--key-log: SSLKEYLOGFILE names no file, so no keys are written"),
    }
}
