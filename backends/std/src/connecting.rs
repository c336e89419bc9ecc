//! A link that is not up yet.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use countersign_driver::{self as driver, ConnectHandle, FailedAttempt, LinkError, Status};

use crate::block;
use crate::link::Link;
use crate::timeout::WaitTimeoutError;

/// A link that is being established in a separate thread, returned by
/// [`start_connect`](crate::start_connect).
///
/// While the peer cannot be reached, it reports each failed attempt, and can retry at once.
/// Dropping it cancels the connection, or the wait for one; [`handle`](Self::handle) returns a
/// handle that does so from another thread.
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
    /// The reason why there is no link, as for [`connect`](crate::connect);
    /// [`ClosedBeforeConnected`](countersign_core::EndReason::ClosedBeforeConnected) after
    /// [`ConnectHandle::cancel`].
    pub fn wait(self) -> Result<Link, LinkError> {
        block::on(self.0).map(Link::new)
    }

    /// As [`Connecting::wait`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`ConnectTimeoutError::Timeout`] after `limit`: it contains `self`, to wait for again or to
    /// drop. Otherwise as for [`Connecting::wait`].
    pub fn wait_timeout(mut self, limit: Duration) -> Result<Link, ConnectTimeoutError> {
        match block::on_for(&mut self.0, limit) {
            Ok(Ok(link)) => Ok(Link::new(link)),
            Ok(Err(error)) => Err(ConnectTimeoutError::Connect(Box::new(error))),
            Err(WaitTimeoutError) => Err(ConnectTimeoutError::Timeout(self)),
        }
    }

    /// Waits for the next failed attempt; returns `None` once the link is up or has ended, and
    /// [`wait`](Self::wait) then returns at once. A failure that is followed by another before this
    /// is called is skipped ([`FailedAttempt::number`]).
    pub fn failed(&mut self) -> Option<FailedAttempt> {
        block::on(self.0.failed())
    }

    /// As [`Connecting::failed`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The limit has passed first.
    pub fn failed_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<FailedAttempt>, WaitTimeoutError> {
        block::on_for(self.0.failed(), limit)
    }

    /// Returns why the latest attempt has failed, and when the next begins; `None` before any has
    /// failed.
    #[must_use]
    pub fn failure(&self) -> Option<FailedAttempt> {
        self.0.failure()
    }

    /// Returns the status of the link.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// Ends the pause before the next attempt, as [`Link::connect_now`] does.
    pub fn connect_now(&self) -> bool {
        self.0.connect_now()
    }

    /// Returns a handle with which another thread can cancel the wait, or retry at once.
    #[must_use]
    pub fn handle(&self) -> ConnectHandle {
        self.0.handle()
    }
}

/// Why a link was not established in time.
pub enum ConnectTimeoutError {
    /// The attempt takes longer than the limit. It goes on, and can be waited for again; dropping
    /// it cancels it.
    Timeout(Connecting),
    /// The error of a wait without a limit.
    Connect(Box<LinkError>),
}

countersign_core::debug_as_display!(ConnectTimeoutError);

impl fmt::Display for ConnectTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => WaitTimeoutError.fmt(f),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl Error for ConnectTimeoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Timeout(_) => None,
            Self::Connect(error) => error.source(),
        }
    }
}
