//! compio's timer and tasks, as the shared driver wants them.

use std::io;

use compio::runtime::spawn;
use compio::time::sleep_until;
use countersign_driver::{Alarm, Connecting, Dial, Driver, LinkError, Timer};
use countersign_endpoint::SetupError;

/// A timer of compio's.
pub(crate) fn alarm() -> impl Timer {
    Alarm::new(sleep_until)
}

/// Drives a link in a task of its own.
pub(crate) fn drive<D: Dial + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Connecting, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    spawn(driver.run(alarm())).detach();
    Ok(connecting)
}
