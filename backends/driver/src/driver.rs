//! The loop that moves bytes between a link and its transport, for any runtime.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use countersign_core::{Instant, Life, Loss};
use countersign_endpoint::{Buffer, Endpoint, Written};

use crate::error::Detail;
use crate::shared::Shared;

/// How much is read at once, in bytes, at least.
const READ: usize = 16 * 1024;

/// A byte stream in both directions that never blocks.
///
/// A method that answers `Pending` has arranged for the context's waker to be woken when it is
/// worth trying again.
pub trait Transport {
    /// Reads what there is to the front of `buffer`; zero bytes mean that the peer has ended its
    /// direction.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says. Never `WouldBlock`.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    /// Sends as much from the front of `bytes` as the transport takes.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Ends this end's direction.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A timer that can be set again.
pub trait Timer {
    /// Ready when `deadline` has come; before, the context's waker is woken then. The deadline
    /// may be another at every call; only the latest counts.
    fn poll_until(&mut self, context: &mut Context<'_>, deadline: StdInstant) -> Poll<()>;
}

/// Moves bytes between a link and its transport until both are done with each other.
///
/// Holds no protocol decision: when to write what, when to give up and what to tell are the
/// core's. Dropping it ends the link as lost.
#[derive(Debug)]
pub struct Driver<T> {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    transport: T,
    input: Buffer,
    output: Buffer,
    /// Our direction of the transport has ended, or can't be used any more.
    shut: bool,
    /// The transport could not end our direction yet.
    shutting: bool,
    /// When to stop waiting for a peer that does not end its direction.
    linger: Option<Instant>,
}

impl<T: Transport> Driver<T> {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: Endpoint, transport: T) -> Self {
        Self {
            shared,
            endpoint,
            transport,
            input: Buffer::default(),
            output: Buffer::default(),
            shut: false,
            shutting: false,
            linger: None,
        }
    }

    /// Does what can be done now; ready when the transport is of no more use.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.shared.clock.now();
            let mut read = false;
            if self.is_due(now) {
                // What has arrived arrived before now: a driver that was held up for long must
                // not take that for the peer's silence. The longest record takes two reads.
                read = self.read(context, now);
                if read {
                    self.read(context, now);
                }
                self.pass_time(now);
            }
            let wrote = self.write(context, now);
            read |= self.read(context, now);
            if self.is_over(now) {
                return Poll::Ready(());
            }
            if !wrote && !read && self.sleep(context) {
                self.input.release();
                self.output.release();
                return Poll::Pending;
            }
        }
    }

    /// When to call [`Driver::poll`] again even if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<StdInstant> {
        let of_link = self.shared.with(|state| {
            let deadline = state.link.poll_deadline();
            state.armed = deadline.unwrap_or(Instant::FAR_FUTURE);
            deadline
        });
        let earliest = match (of_link, self.linger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        earliest.and_then(|deadline| self.shared.clock.to_std(deadline))
    }

    /// Whether the link wants to know what time it is.
    fn is_due(&self, now: Instant) -> bool {
        self.shared.with(|state| {
            state.driver = None;
            state
                .link
                .poll_deadline()
                .is_some_and(|deadline| deadline <= now)
        })
    }

    fn pass_time(&self, now: Instant) {
        self.shared.with(|state| state.link.handle_timeout(now));
    }

    /// Leaves a waker for those who give the link something to do; false when somebody has
    /// meanwhile.
    fn sleep(&self, context: &Context<'_>) -> bool {
        let blocked = !self.output.is_empty() || self.shutting || self.shut;
        self.shared.with(|state| {
            state.blocked = blocked;
            if state.link.wants_output() && !blocked {
                return false;
            }
            state.driver = Some(context.waker().clone());
            true
        })
    }

    /// Encrypts and sends until nothing is left or the transport takes no more; true when it did
    /// anything.
    fn write(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        while !self.shut {
            if self.output.is_empty() {
                let mut scratch = Buffer::default();
                let written =
                    self.endpoint
                        .write(now, &mut self.output, &mut scratch, &mut &*self.shared);
                scratch.release();
                match written {
                    // What the endpoint has to say may come with the next call only: an alert that
                    // ends the connection, say. Writing nothing would look like a dead transport.
                    Written::Some if self.output.is_empty() => continue,
                    Written::Some => {}
                    Written::Nothing => break,
                    Written::End => {
                        progress |= self.shut_down(context);
                        break;
                    }
                }
            }
            match self.transport.poll_write(context, self.output.filled()) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.output.consume(count);
                    progress = true;
                }
                Poll::Ready(result) => {
                    let error = result
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    self.cannot_write(error);
                    progress = true;
                }
            }
        }
        progress
    }

    fn shut_down(&mut self, context: &mut Context<'_>) -> bool {
        let result = self.transport.poll_shutdown(context);
        self.shutting = result.is_pending();
        match result {
            Poll::Pending => false,
            Poll::Ready(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "the transport could not be shut down");
                }
                self.shut = true;
                true
            }
        }
    }

    /// The transport takes nothing more. What the peer still had to say, an alert perhaps, may
    /// wait to be read and tell more than this error, so reading goes on to its end.
    fn cannot_write(&mut self, error: io::Error) {
        let length = self.output.filled().len();
        self.output.consume(length);
        self.shut = true;
        self.shared
            .with(|state| state.explain(Detail::Transport(Arc::new(error))));
    }

    /// Receives and decrypts until nothing is there; true when it did anything.
    fn read(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        if self.endpoint.is_read_ended() {
            return false;
        }
        let space = self.input.space(READ);
        let Poll::Ready(result) = self.transport.poll_read(context, space) else {
            return false;
        };
        match result {
            Ok(0) => {
                self.endpoint.read_eof(now, &mut &*self.shared);
            }
            Ok(count) => {
                self.input.commit(count);
                let input = self.input.filled_mut();
                let consumed = self.endpoint.read(now, input, &mut &*self.shared);
                self.input.consume(consumed);
            }
            Err(error) => {
                self.shared
                    .with(|state| state.explain(Detail::Transport(Arc::new(error))));
                self.shut = true;
                self.endpoint.failed(now, &mut &*self.shared);
            }
        }
        true
    }

    /// Whether there is nothing left to do. A link that is done with the connection still leaves
    /// the peer some time to end it too: closing with unread input would make the operating
    /// system reset the connection, and the peer might never read our last words.
    fn is_over(&mut self, now: Instant) -> bool {
        let (ended, linger) = self.shared.with(|state| {
            let ended = state.link.life() == Life::Ended;
            (ended, state.link.config().waits().linger)
        });
        if !ended {
            return false;
        }
        let said = self.output.is_empty() && (self.shut || self.endpoint.is_over());
        let until = *self.linger.get_or_insert(now + linger);
        (said && self.endpoint.is_read_ended()) || now >= until
    }

    /// Runs the driver with a timer of the runtime's, until the transport is of no more use.
    pub async fn run(mut self, mut timer: impl Timer) {
        std::future::poll_fn(|context| {
            while self.poll(context).is_pending() {
                let Some(deadline) = self.deadline() else {
                    return Poll::Pending;
                };
                ready!(timer.poll_until(context, deadline));
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.shared
            .with(|state| state.link.handle_lost(now, Loss::Abandoned));
    }
}
