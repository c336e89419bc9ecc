//! Turns files and fingerprints into a link's security.

use std::path::{self, Path, PathBuf};

use countersign::{
    Escaped, Fingerprint, Origin, Pins, Security, SecurityFiles, SetupError, Trust, ValidityDates,
};

use crate::args::SecurityArgs;
use crate::exit::Failure;
use crate::values::Peer;

/// What the command line says about security, and how to read it again.
#[derive(Debug)]
pub struct Secured {
    /// Identity and pins, in force.
    pub security: Security,
    /// Where they come from; `None` in plain text.
    pub files: Option<SecurityFiles>,
}

/// Builds the security that the command line describes, and logs what is questionable.
///
/// # Errors
/// A file can't be used, or a fingerprint is invalid.
pub fn from_args(args: &SecurityArgs) -> Result<Secured, Failure> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        tracing::warn!("--plaintext: anybody on the way can read and change everything");
        return Ok(Secured {
            security: Security::plaintext(),
            files: None,
        });
    };
    let dates = match args.ignore_dates {
        true => ValidityDates::Ignore,
        false => ValidityDates::Check,
    };
    let mut files = SecurityFiles::new(cert, key).validity_dates(dates);
    for peer in &args.peer {
        files = match peer {
            Peer::File(path) => files.peer_file(path),
            Peer::Fingerprint(text) => match text.parse::<Fingerprint>() {
                Ok(fingerprint) => files.peer_pins(fingerprint),
                Err(error) => return Err(Failure::usage(format!("--peer {text}: {error}"))),
            },
        };
    }
    for list in &args.peers {
        files = files.peer_list(list);
    }
    let (identity, pins) = files.read().map_err(|error| unread(error, cert, key))?;
    let security = Security::tls(identity, pins)
        .key_log(args.key_log)
        .build()?;
    warn_about(&security);
    let files = Some(files);
    Ok(Secured { security, files })
}

/// Returns the failure for a file that can't be used. The remedy for a missing one depends on its
/// purpose.
fn unread(error: SetupError, cert: &Path, key: &Path) -> Failure {
    let error = match not_a_list(error) {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    let is_at = |path: &PathBuf, own: &Path| path::absolute(own).is_ok_and(|own| own == *path);
    let hint = match &error {
        SetupError::NotFound { path } if is_at(path, cert) || is_at(path, key) => {
            "make an identity with `countersign keygen`"
        }
        SetupError::NotFound { .. } => "copy the peer's certificate to this machine",
        _ => return error.into(),
    };
    Failure::from(error).or(hint)
}

/// Returns the failure for a file that should hold one peer's pins and is a good list of peers
/// instead.
///
/// # Errors
/// The same error, if it is about something else.
pub(crate) fn not_a_list(error: SetupError) -> Result<Failure, SetupError> {
    match &error {
        SetupError::NotAPin {
            origin: Origin::File(path),
            ..
        } if Pins::from_list_file(path).is_ok() => {
            let path = Escaped::whole(path.display());
            let why = format!("{path}: this is a list of peers; name it with --peers");
            Ok(Failure::files(why).because(error))
        }
        _ => Err(error),
    }
}

/// Logs what is questionable about the identity and the pins in force.
pub(crate) fn warn_about(security: &Security) {
    let Some(identity) = security.identity() else {
        return;
    };
    for warning in identity.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(Trust::Pins(pins)) = security.trust()
        && pins.fingerprints().any(|pin| pin == identity.fingerprint())
    {
        tracing::warn!("our own key is among the peers'; --peer takes the peer's certificate");
    }
}
