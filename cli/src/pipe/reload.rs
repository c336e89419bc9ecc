//! SIGHUP: identity and pins are read again, and put in force if they are good.

use crate::exit::Failure;
use crate::security::Secured;
#[cfg(unix)]
use crate::security::warn_about;

/// Takes SIGHUP from now on, for as long as the runtime runs. Where there are no files to read again
/// it keeps what it does otherwise, which is to end the program.
#[cfg(unix)]
pub(super) fn on_hangup(secured: &Secured) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let Some(files) = secured.files.clone() else {
        return Ok(());
    };
    let security = secured.security.clone();
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| Failure::failed("the system does not pass signals on").because(error))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let (files, security) = (files.clone(), security.clone());
            // In another thread: a file may be on a network that does not answer.
            let read = tokio::task::spawn_blocking(move || files.read());
            let Ok(read) = read.await else {
                return;
            };
            // Without a pause in between, so that the log tells of this before it tells of a link
            // that ends by it.
            match read.and_then(|(identity, pins)| security.replace(identity, pins)) {
                Ok(replaced) => {
                    tracing::warn!("read again: {replaced}");
                    warn_about(&security);
                }
                Err(error) => tracing::error!(
                    "read again, and nothing has changed, since it cannot be used: {error}"
                ),
            }
        }
    });
    Ok(())
}

/// Elsewhere nobody asks.
#[cfg(not(unix))]
pub(super) fn on_hangup(_: &Secured) -> Result<(), Failure> {
    Ok(())
}
