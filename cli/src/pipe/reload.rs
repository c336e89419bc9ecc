//! SIGHUP: opens the log file again, reads identity and pins again, and puts them in force if they
//! are good.

#[cfg(unix)]
use countersign::{Identity, Pins, Security, SetupError};

use crate::args::LinkArgs;
use crate::exit::Failure;
use crate::log;
use crate::security::Secured;
#[cfg(unix)]
use crate::security::warn_about;

/// Returns whether SIGHUP asks to open files again. If there are none, it ends the pipe.
pub(super) fn takes_hangups(args: &LinkArgs) -> bool {
    !args.security.plaintext || log::has_file()
}

/// Handles SIGHUP from now on, for as long as the runtime runs, if there are files to open again.
#[cfg(unix)]
pub(super) fn on_hangup(secured: &Secured) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    if secured.files.is_none() && !log::has_file() {
        return Ok(());
    }
    let files = secured.files.clone();
    let security = secured.security.clone();
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| Failure::failed("the system does not pass signals on").because(error))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let files = files.clone();
            // In another thread: a file may be on a network that does not answer.
            let read = tokio::task::spawn_blocking(move || {
                log::reopen();
                files.map(|files| files.read())
            });
            match read.await {
                Ok(Some(read)) => replace(&security, read),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    });
    Ok(())
}

/// Puts in force what was read, without awaiting in between, so that the log reports this before a
/// link that ends because of it.
#[cfg(unix)]
fn replace(security: &Security, read: Result<(Identity, Pins), SetupError>) {
    match read.and_then(|(identity, pins)| security.replace(identity, pins)) {
        Ok(replaced) => {
            tracing::warn!("read again: {replaced}");
            warn_about(security);
        }
        Err(error) => {
            tracing::error!(
                "read again, and nothing has changed, since it cannot be used: {error}"
            );
        }
    }
}

/// Other systems have no SIGHUP.
#[cfg(not(unix))]
pub(super) fn on_hangup(_: &Secured) -> Result<(), Failure> {
    Ok(())
}
