//! The loop that keeps a link connected and moves its bytes, for any runtime.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use countersign_core::{Disconnect, Instant};
use countersign_endpoint::{Cause, EndpointEvent, Security, Watch};

use crate::clock::Reading;
use crate::connection::Connection;
use crate::dial::{Dial, NoDial};
use crate::setup::Setup;
use crate::shared::{Shared, State};
use crate::transport::{Timer, Transport};

/// How many times a driver reads and writes in a row before it yields: some hundred kilobytes.
pub(crate) const ROUNDS: u32 = 4;

/// Keeps a link connected, and moves bytes between it and its transport, until the link has ended
/// and its last connection is closed.
///
/// Makes no protocol decision: when to connect, when to write what, when to give up and what to
/// report are decided by the core. Dropping it ends the link as lost.
pub struct Driver<D: Dial> {
    shared: Arc<Shared>,
    /// Which of the link's drivers this is: only the one that brought the latest connection drives
    /// the link, those before it are done.
    number: u64,
    security: Security,
    /// Notifies when identity and trust are replaced.
    watch: Watch,
    connection: Option<Connection<D::Transport>>,
    dialer: D,
    /// An attempt to open a connection is under way.
    dialing: bool,
    /// When to poll again even if nothing else happens.
    deadline: Option<Instant>,
    /// When the clock was last read.
    reading: Reading,
}

/// The outcome of one step of a driver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There may be more to do at once.
    Again,
    /// There is nothing to do until something happens.
    Idle,
    /// The connection is of no more use.
    Over,
    /// Another driver has taken the link over, or it no longer needs one.
    Done,
}

impl<D: Dial> std::fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Driver<NoDial<T>> {
    /// Drives a link over one transport connection.
    pub(crate) fn over(shared: Arc<Shared>, security: &Security, transport: T) -> Self {
        let mut driver = Self::dial(shared, security, NoDial::new());
        driver.connect(transport);
        driver
    }

    /// Continues a connection that a listener has accepted, as its link's driver of this number.
    pub(crate) fn accepted(
        shared: Arc<Shared>,
        number: u64,
        setup: &Setup,
        watch: Watch,
        connection: Connection<T>,
    ) -> Self {
        Self {
            reading: shared.clock.read(),
            shared,
            number,
            security: setup.security().clone(),
            watch,
            connection: Some(connection),
            dialer: NoDial::new(),
            dialing: false,
            deadline: None,
        }
    }
}

impl<D: Dial> Driver<D> {
    /// Drives a link over as many transport connections as it needs.
    pub(crate) fn dial(shared: Arc<Shared>, security: &Security, dialer: D) -> Self {
        Self {
            reading: shared.clock.read(),
            shared,
            number: 0,
            security: security.clone(),
            watch: security.watch(),
            connection: None,
            dialer,
            dialing: false,
            deadline: None,
        }
    }

    fn connect(&mut self, transport: D::Transport) {
        let addresses = transport.addresses();
        let (role, dialect) = self.shared.with(|state| {
            state.addresses = addresses;
            (state.link.role(), state.link.config().get_dialect())
        });
        let mut connection = Connection::new(&self.security, role, dialect, transport);
        if self.dialer.has_others() {
            connection.endpoint.expect_others();
        }
        self.connection = Some(connection);
    }

    /// Does what can be done now; returns `Ready` once the driver has finished for good.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_replaced(context);
        for round in 0..ROUNDS {
            match self.step(context, round == 0) {
                Step::Again | Step::Over => {}
                Step::Idle => return Poll::Pending,
                Step::Done => {
                    // The exchange may have ended the link because trust was replaced, which is
                    // not logged yet.
                    self.poll_replaced(context);
                    return Poll::Ready(());
                }
            }
        }
        // A busy link must not starve other tasks, nor the check for replaced identity and trust. What
        // it has woken may run at the same time from here on. It sleeps till no deadline: one that has
        // passed would have it polled again at once.
        self.deadline = None;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Checks whether identity and trust were replaced.
    fn poll_replaced(&mut self, context: &mut Context<'_>) {
        if self.watch.poll_changed(context).is_ready() {
            self.recheck();
        }
    }

    /// Moves bytes, and lets the link work once.
    fn step(&mut self, context: &mut Context<'_>, is_first: bool) -> Step {
        let Some(connection) = &mut self.connection else {
            return self.step_offline(context);
        };
        connection.write(context);
        let read = connection.read(context);
        // What has arrived may have been written since any earlier moment. Otherwise one look a turn
        // is enough.
        if read || is_first {
            self.reading = self.shared.clock.read();
        }
        let now = self.reading.now;
        let (shared, number) = (&self.shared, self.number);
        let deadline = &mut self.deadline;
        let step = shared.with_at(now, |state| {
            exchange(state, now, number, deadline, context, connection, read)
        });
        #[cfg(planted)]
        if step == Step::Idle && crate::planted::is(crate::planted::Mistake::SleepsBlindly) {
            self.shared.sleep_blindly(context.waker());
        }
        match step {
            Step::Over => {
                connection.flush_alert(context);
                self.connection = None;
            }
            Step::Idle if !connection.flush_and_release(context) => return Step::Again,
            _ => {}
        }
        step
    }

    /// Opens a connection if the link wants one. After a failure the link schedules the next
    /// attempt, which may be due already: other tasks run in between.
    fn step_offline(&mut self, context: &mut Context<'_>) -> Step {
        self.reading = self.shared.clock.read();
        let now = self.reading.now;
        let (number, deadline) = (self.number, &mut self.deadline);
        let (step, wants, arrived) = self.shared.with_at(now, |state| {
            if state.begin_step(now, number) || state.ended {
                return (Step::Done, false, false);
            }
            if state.link.poll_deadline().is_some_and(|due| due <= now) {
                state.link.handle_timeout(now);
            }
            let wants = state.link.wants_connect();
            let arrived = state.has_arrived();
            // From here on, a handle that gives the link something to do wakes this driver.
            *deadline = state.sleep(context.waker(), true, None);
            (Step::Idle, wants, arrived)
        });
        if !wants {
            if std::mem::take(&mut self.dialing) {
                self.dialer.give_up();
            }
            return step;
        }
        if !self.dialing && arrived {
            self.dialer.arrived();
        }
        let result = self.dialer.poll_dial(context);
        self.dialing = result.is_pending();
        match result {
            Poll::Pending => Step::Idle,
            Poll::Ready(Ok(transport)) => {
                self.connect(transport);
                Step::Again
            }
            Poll::Ready(Err(error)) => {
                // Other tasks run before the next attempt, even if that is due at once.
                self.on_not_opened(now, &Cause::from(error), context);
                Step::Idle
            }
        }
    }

    fn on_not_opened(&mut self, now: Instant, cause: &Cause, context: &Context<'_>) {
        self.deadline = self.shared.with(|state| {
            state.error_context.unopened(&state.link, cause.clone());
            state.link.handle_lost(now, Disconnect::Transport);
            state.log_loss(now);
            state.sleep(context.waker(), true, None)
        });
    }

    /// Verifies the peer again after identity or trust was replaced.
    fn recheck(&mut self) {
        let now = self.shared.clock.now();
        let Self {
            connection,
            security,
            number,
            ..
        } = self;
        let revoked = self.shared.with(|state| {
            if state.driver_number != *number {
                // Another driver has taken the link over, and does this.
                return None;
            }
            match connection {
                Some(connection) => {
                    connection.endpoint.recheck(now, &mut state.link);
                    state.handle_events(&mut connection.endpoint);
                }
                None => {
                    if let Some(error) = security.recheck(now, &mut state.link) {
                        state.record_cause(EndpointEvent::Failed(error));
                    }
                }
            }
            state.revoked()
        });
        if let Some(error) = revoked {
            tracing::warn!("{error}; the link is ended");
        }
    }

    /// Returns when to call [`Driver::poll`] again even if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<StdInstant> {
        self.deadline
            .and_then(|deadline| self.reading.to_timers(deadline))
    }

    /// Runs the driver with a timer of the runtime, until it has finished.
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

/// Does everything that concerns the link, under its lock.
fn exchange<T: Transport>(
    state: &mut State,
    now: Instant,
    number: u64,
    deadline: &mut Option<Instant>,
    context: &Context<'_>,
    connection: &mut Connection<T>,
    read: bool,
) -> Step {
    if state.begin_step(now, number) {
        return Step::Done;
    }
    connection.exchange(now, &mut state.link, read);
    state.handle_events(&mut connection.endpoint);
    if connection.endpoint.is_over(now) {
        state.log_loss(now);
        return Step::Over;
    }
    if read || connection.endpoint.has_output() {
        return Step::Again;
    }
    #[cfg(planted)]
    if crate::planted::is(crate::planted::Mistake::SleepsBlindly) {
        return Step::Idle;
    }
    *deadline = state.sleep(
        context.waker(),
        connection.endpoint.is_blocked(),
        connection.endpoint.deadline(),
    );
    Step::Idle
}

impl<D: Dial> Drop for Driver<D> {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.detach_driver(now);
            }
        });
    }
}
