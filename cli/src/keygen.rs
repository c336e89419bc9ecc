//! `countersign keygen`: makes an identity.

use std::time::Duration;

use countersign_certs::{Algorithm, Error, NewIdentity, Overwrite};

use crate::args::KeygenArgs;
use crate::exit::Failure;
use crate::stdio;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes NAME.crt and NAME.key and prints what to do with them.
///
/// # Errors
/// The name or the validity can't be in a certificate, or the files or standard output can't be
/// written.
pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    // Opened before any file is made: a user who can't read the fingerprint would have to remove
    // them.
    let mut out = stdio::output()?;
    let mut new = NewIdentity::new(&args.name);
    if args.ed25519 {
        new = new.algorithm(Algorithm::Ed25519);
    }
    if let Some(days) = args.days {
        new = new.valid_for(DAY * days);
    }
    let overwrite = match args.force {
        true => Overwrite::Yes,
        false => Overwrite::No,
    };
    let identity = new.generate().map_err(failure)?;
    let files = identity.write(&args.dir, overwrite).map_err(failure)?;
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let fingerprint = identity.fingerprint();
    let made = format_args!(
        "{fingerprint}\n\
         certificate: {certificate} (copy it to the peer, which names it with --peer)\n\
         private key: {key} (stays on this machine; readable by its owner alone)\n"
    );
    stdio::print(&mut out, made)
}

fn failure(error: Error) -> Failure {
    let message = match &error {
        Error::BadName { .. } | Error::BadValidity { .. } => {
            return Failure::usage(error.to_string());
        }
        Error::Exists { path } => format!(
            "{}: exists already; choose another name, or replace it with --force",
            path.display()
        ),
        Error::Write { .. } => format!("{error}; choose another --dir"),
        Error::Generation { .. } => return Failure::failed(error.to_string()),
        other => other.to_string(),
    };
    Failure::files(message).because(error)
}
