//! A link that is not up yet.

use std::time::Duration;

use countersign_driver::{self as driver, ConnectHandle, FailedAttempt, LinkError, Status};

use crate::block;
use crate::link::Link;
use crate::timeout::{ConnectTimeoutError, WaitTimeoutError};

/// A link that is being established in a thread of its own, as [`start_connect`](crate::start_connect)
/// begins it.
///
/// While it waits for a peer that is not there, it tells of each attempt that has failed, and can be
/// told to try again at once. Dropping it gives the connection up, or the wait for one;
/// [`handle`](Self::handle) gives what does that from another thread.
///
/// ```no_run
/// use std::time::Duration;
///
/// use countersign_std::{Config, Security, SendChannel, Setup, start_connect};
///
/// let operator = Config::new().channel(SendChannel::new("commands"));
/// let operator = Setup::new(operator, Security::plaintext())?;
/// let mut connecting = start_connect("robot.local:4433", &operator)?;
/// let handle = connecting.handle();
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_secs(60));
///     // The one below stops waiting then.
///     handle.cancel();
/// });
/// while let Some(failed) = connecting.failed() {
///     eprintln!("attempt {}: {failed}", failed.number);
/// }
/// let link = connecting.wait()?;
/// # drop(link);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it gives the connection up"]
pub struct Connecting(pub(crate) driver::Connecting);

impl Connecting {
    /// Waits until the peer has accepted this end.
    ///
    /// # Errors
    ///
    /// Why there is no link: as for [`connect`](crate::connect);
    /// [`ClosedBeforeConnected`](countersign_core::EndReason::ClosedBeforeConnected) after
    /// [`ConnectHandle::cancel`].
    pub fn wait(self) -> Result<Link, LinkError> {
        block::on(self.0).map(Link::new)
    }

    /// As [`Connecting::wait`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`ConnectTimeoutError::Timeout`] when that has passed: it has this in it, to be waited for again
    /// or dropped. Otherwise as for [`Connecting::wait`].
    pub fn wait_timeout(mut self, limit: Duration) -> Result<Link, ConnectTimeoutError> {
        match block::on_for(&mut self.0, limit) {
            Ok(Ok(link)) => Ok(Link::new(link)),
            Ok(Err(error)) => Err(ConnectTimeoutError::Connect(Box::new(error))),
            Err(WaitTimeoutError) => Err(ConnectTimeoutError::Timeout(self)),
        }
    }

    /// Waits for the next attempt that fails; `None` when the wait for the link is over: what has come
    /// of it, [`wait`](Self::wait) then gives at once. A failure that is followed by another before it
    /// was asked for is left out ([`FailedAttempt::number`]).
    pub fn failed(&mut self) -> Option<FailedAttempt> {
        block::on(self.0.failed())
    }

    /// As [`Connecting::failed`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn failed_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<FailedAttempt>, WaitTimeoutError> {
        block::on_for(self.0.failed(), limit)
    }

    /// Why the latest attempt has failed, and when the next begins; `None` before any has.
    #[must_use]
    pub fn failure(&self) -> Option<FailedAttempt> {
        self.0.failure()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// Ends the pause before the next attempt: as [`Link::connect_now`].
    pub fn connect_now(&self) -> bool {
        self.0.connect_now()
    }

    /// For another thread: it ends the wait, or hastens it, while this one waits.
    #[must_use]
    pub fn handle(&self) -> ConnectHandle {
        self.0.handle()
    }
}
