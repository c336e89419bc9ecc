//! The loop that keeps a link connected and moves its bytes, for any runtime.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use countersign_core::{Instant, Loss, TakeOver};
use countersign_endpoint::Security;

use crate::connection::Connection;
use crate::registry::Registry;
use crate::shared::Shared;

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

/// A transport connection that is being opened. It has a time limit of its own; dropping it gives
/// it up.
pub type Dialing<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Opens transport connections to one peer, one at a time.
pub type Dialer<T> = Box<dyn FnMut() -> Dialing<T> + Send>;

/// Keeps a link connected, and moves bytes between it and its transport, until the link has ended
/// and both are done with each other.
///
/// Holds no protocol decision: when to connect, when to write what, when to give up and what to
/// tell are the core's. Dropping it ends the link as lost.
pub struct Driver<T> {
    shared: Arc<Shared>,
    /// Which of the link's drivers this is: the one that brought its latest connection goes on
    /// with the link, those before it are done.
    number: u64,
    security: Security,
    connection: Option<Connection<T>>,
    dialer: Option<Dialer<T>>,
    dialing: Option<Dialing<T>>,
    /// Where a listener's links are, one of which a peer may return to.
    registry: Option<Arc<Registry>>,
}

impl<T> std::fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Driver<T> {
    /// Drives a link over one transport connection, that a listener has accepted if there is a
    /// registry.
    pub(crate) fn over(
        shared: Arc<Shared>,
        security: &Security,
        transport: T,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        let mut driver = Self {
            number: shared.with(|state| state.driver_number),
            shared,
            security: security.clone(),
            connection: None,
            dialer: None,
            dialing: None,
            registry,
        };
        driver.connect(transport);
        driver
    }

    /// Drives a link over as many transport connections as it takes.
    pub(crate) fn dial(shared: Arc<Shared>, security: &Security, dialer: Dialer<T>) -> Self {
        Self {
            number: shared.with(|state| state.driver_number),
            shared,
            security: security.clone(),
            connection: None,
            dialer: Some(dialer),
            dialing: None,
            registry: None,
        }
    }

    fn connect(&mut self, transport: T) {
        self.connection = Some(Connection::new(&self.security, transport, &self.shared));
    }

    /// Does what can be done now; ready when there is nothing left to do, ever.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.shared.clock.now();
            let mut progress = false;
            if self.is_due(now) {
                // What has arrived arrived before now: a driver that was held up for long must
                // not take that for the peer's silence. The longest record takes two reads.
                progress = self.read(context, now) && {
                    self.read(context, now);
                    true
                };
                self.shared.with(|state| state.link.handle_timeout(now));
            }
            progress |= match &mut self.connection {
                Some(connection) => connection.write(context, now, &self.shared),
                None => self.poll_dial(context, now),
            };
            progress |= self.read(context, now);
            progress |= self.lead_to_its_link();
            progress |= self.let_go(now);
            if self.is_done() {
                return Poll::Ready(());
            }
            if !progress && self.sleep(context) {
                if let Some(connection) = &mut self.connection {
                    connection.release();
                }
                return Poll::Pending;
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let connection = self.connection.as_mut();
        connection.is_some_and(|connection| connection.read(context, now, &self.shared))
    }

    /// When to call [`Driver::poll`] again even if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<StdInstant> {
        let of_link = self.shared.with(|state| {
            let deadline = state.link.poll_deadline();
            state.armed = deadline.unwrap_or(Instant::FAR_FUTURE);
            deadline
        });
        let linger = self.connection.as_ref().and_then(Connection::linger);
        let earliest = match (of_link, linger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        earliest.and_then(|deadline| self.shared.clock.to_std(deadline))
    }

    /// Whether the link wants to know what time it is.
    fn is_due(&self, now: Instant) -> bool {
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.driver = None;
            }
            let deadline = state.link.poll_deadline();
            deadline.is_some_and(|deadline| deadline <= now)
        })
    }

    /// Leaves a waker for those who give the link something to do; false when somebody has
    /// meanwhile.
    fn sleep(&self, context: &Context<'_>) -> bool {
        let connection = self.connection.as_ref();
        let blocked = connection.is_none_or(Connection::is_blocked);
        let dials = self.dialing.is_some();
        self.shared.with(|state| {
            if state.driver_number != self.number {
                return false;
            }
            state.blocked = blocked;
            let output = state.link.wants_output() && !blocked;
            if output || (state.link.wants_connect() && !dials) {
                return false;
            }
            state.driver = Some(context.waker().clone());
            true
        })
    }

    /// Opens a connection if the link wants one; true when there is one. After a failure the next
    /// attempt has its time, which may have come already: others have their turn in between.
    fn poll_dial(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        if !self.shared.with(|state| state.link.wants_connect()) {
            self.dialing = None;
            return false;
        }
        let result = match (&mut self.dialing, &mut self.dialer) {
            (Some(dialing), _) => dialing.as_mut().poll(context),
            (None, Some(dialer)) => {
                let dialing = self.dialing.insert(dialer());
                dialing.as_mut().poll(context)
            }
            // Only a link of one connection has no dialer, and it wants no other.
            (None, None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        let Poll::Ready(result) = result else {
            return false;
        };
        self.dialing = None;
        let opened = result.is_ok();
        match result {
            Ok(transport) => self.connect(transport),
            Err(error) => self.shared.with(|state| {
                state.explanation.unopened(&state.link, error);
                state.link.handle_lost(now, Loss::Transport);
                state.log_loss();
            }),
        }
        opened
    }

    /// Lets go of a connection that is of no more use; true when it did.
    fn let_go(&mut self, now: Instant) -> bool {
        let connection = self.connection.as_mut();
        if !connection.is_some_and(|connection| connection.is_over(now, &self.shared)) {
            return false;
        }
        self.connection = None;
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.log_loss();
            }
        });
        true
    }

    /// A peer that has named the session of another link than the one that was made for its
    /// connection is led there; true when that was so.
    fn lead_to_its_link(&mut self) -> bool {
        let Some(registry) = &self.registry else {
            return false;
        };
        let named = |link: &countersign_core::Link| Some((link.named_session()?, link.peer()));
        let Some((session, peer)) = self.shared.with(|state| named(&state.link)) else {
            return false;
        };
        let now = self.shared.clock.now();
        if let Some(owner) = registry.find(session, peer) {
            match self.shared.take_over(now, &owner) {
                (TakeOver::Done, number, connection) => {
                    self.number = number;
                    if let Some(attached) = &mut self.connection {
                        attached.attach(connection);
                    }
                    self.shared = owner;
                    return true;
                }
                (TakeOver::Stale, ..) => return true,
                (TakeOver::NotMine, ..) => {}
            }
        }
        let gone = registry.gone(session, peer);
        self.shared
            .with(|state| state.link.decline_session(now, gone.as_ref()));
        true
    }

    /// Whether another driver goes on with the link, or it needs none any more.
    fn is_done(&self) -> bool {
        self.shared.with(|state| {
            state.driver_number != self.number || (state.ended && self.connection.is_none())
        })
    }

    /// Runs the driver with a timer of the runtime's, until there is nothing left to do.
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
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.link.handle_lost(now, Loss::Abandoned);
            }
        });
    }
}
