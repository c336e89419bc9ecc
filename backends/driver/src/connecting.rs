//! A link that is not up yet.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::CloseMode;

use crate::error::LinkError;
use crate::failure::FailedAttempt;
use crate::link::Link;
use crate::shared::{Handle, Shared};
use crate::status::Status;
use crate::wakers::{Awaited, Waiting};

/// A link that is being established by its driver: a future of the [`Link`], ready when the peer
/// has accepted this end, or with the reason why there is no link.
///
/// While the peer cannot be reached, it reports each failed attempt ([`failed`](Self::failed),
/// [`failure`](Self::failure)), and [`connect_now`](Self::connect_now) retries at once. Dropping it
/// cancels the connection, or the wait for one; a [`ConnectHandle`] does that from another task.
///
/// Cancel-safe: wait for `&mut connecting` to keep it when the wait is cancelled.
///
/// # Panics
///
/// Panics if it is polled again after it was ready.
#[derive(Debug)]
#[must_use = "dropping it gives the connection up"]
pub struct Connecting {
    handle: Option<Arc<Handle>>,
    waiting: Waiting<Arc<Shared>>,
    /// The number of the last failure that [`Connecting::failed`] has returned.
    reported: u64,
}

impl Connecting {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            waiting: Waiting::new(shared.clone(), Awaited::Link),
            handle: Some(Arc::new(Handle(shared))),
            reported: 0,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.waiting.shared()
    }

    /// Waits for the next failed attempt; returns `None` once the link is up or has ended, and
    /// awaiting `self` then returns the outcome. A failure that is followed by another before this
    /// is called is skipped ([`FailedAttempt::number`]).
    ///
    /// Cancel-safe: a failure counts as reported only when the future is ready.
    ///
    /// ```no_run
    /// # async fn run(mut connecting: countersign_driver::Connecting) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(failed) = connecting.failed().await {
    ///     eprintln!("attempt {}: {failed}", failed.number);
    ///     if failed.number == 10 {
    ///         // Dropping it ends the wait.
    ///         return Err(failed.error.into());
    ///     }
    /// }
    /// let link = connecting.await?;
    /// # drop(link);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn failed(&mut self) -> Option<FailedAttempt> {
        let clock = self.shared().clock.clone();
        let Self {
            waiting, reported, ..
        } = self;
        poll_fn(|context| {
            waiting.poll(context, |state| {
                let failure = state.failure.as_ref();
                if let Some(failure) = failure.filter(|failure| failure.number > *reported) {
                    *reported = failure.number;
                    return Poll::Ready(Some(failure.to_attempt(&clock)));
                }
                match state.connected || state.ended {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                }
            })
        })
        .await
    }

    /// Returns why the latest attempt has failed, and when the next begins; `None` before any has
    /// failed.
    #[must_use]
    pub fn failure(&self) -> Option<FailedAttempt> {
        failure(self.shared())
    }

    /// Returns the status of the link.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.shared())
    }

    /// Ends the pause before the next attempt, as [`Link::connect_now`] does.
    pub fn connect_now(&self) -> bool {
        self.shared().connect_now()
    }

    /// Returns a handle with which another task or thread can cancel the wait, or retry at once.
    #[must_use]
    pub fn handle(&self) -> ConnectHandle {
        ConnectHandle(self.shared().clone())
    }

    /// Returns `Ready` when the link is up, or has ended and its driver has finished.
    fn poll_up(&mut self, context: &Context<'_>) -> Poll<Result<Link, LinkError>> {
        ready!(self.waiting.poll(context, |state| {
            if state.connected {
                // Even if it has ended since: what has arrived can still be received.
                return Poll::Ready(Ok(()));
            }
            match state.error() {
                Some(error) if state.driver_gone => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            }
        }))?;
        let handle = self.handle.take().expect("polled after it was ready");
        Poll::Ready(Ok(Link::new(handle)))
    }
}

/// An error is returned once this end's last frames have been sent, as for [`Link::ended`].
impl Future for Connecting {
    type Output = Result<Link, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_up(context)
    }
}

/// A handle to a [`Connecting`] for another task or thread. It keeps nothing alive: the link
/// belongs to the [`Connecting`].
#[derive(Clone, Debug)]
pub struct ConnectHandle(Arc<Shared>);

impl ConnectHandle {
    /// Cancels the connection, or the wait for one: the [`Connecting`] fails with
    /// [`EndReason::ClosedBeforeConnected`](countersign_core::EndReason::ClosedBeforeConnected).
    /// Does nothing once the link is up.
    pub fn cancel(&self) {
        self.0.with(|state| {
            if !state.connected {
                state.link.close(state.now, CloseMode::Withdraw);
            }
        });
    }

    /// As [`Connecting::connect_now`].
    pub fn connect_now(&self) -> bool {
        self.0.connect_now()
    }

    /// As [`Connecting::failure`].
    #[must_use]
    pub fn failure(&self) -> Option<FailedAttempt> {
        failure(&self.0)
    }

    /// As [`Connecting::status`].
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.0)
    }
}

fn failure(shared: &Shared) -> Option<FailedAttempt> {
    let clock = &shared.clock;
    shared.with(|state| Some(state.failure.as_ref()?.to_attempt(clock)))
}
