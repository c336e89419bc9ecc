//! compio's timer and tasks, as the shared driver wants them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use compio::runtime::spawn;
use compio::time::sleep_until;
use countersign_driver::endpoint::SetupError;
use countersign_driver::{Connecting, Dial, Driver, Link, LinkError, Timer};

/// One of compio's timers, made when it is first needed.
#[derive(Default)]
pub(crate) struct Alarm(Option<(Instant, Sleep)>);

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

impl Timer for Alarm {
    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let sleep = match &mut self.0 {
                // A deadline that moves away with every byte that arrives is not worth another
                // timer each time: this one goes off early, and the next is for what is true then.
                Some((set_to, sleep)) if *set_to <= deadline => sleep,
                _ => &mut self.0.insert((deadline, Box::pin(sleep_until(deadline)))).1,
            };
            ready!(sleep.as_mut().poll(context));
            self.0 = None;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }
}

/// Drives a link in a task of its own.
pub(crate) fn drive<D: Dial + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Connecting, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    spawn(driver.run(Alarm::default())).detach();
    Ok(connecting)
}

/// Drives a link in a task of its own, and waits until the peer has accepted this end.
pub(crate) async fn establish<D: Dial + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Link, LinkError> {
    drive(made)?.connected().await
}
