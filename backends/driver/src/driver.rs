//! The loop that keeps a link connected and moves its bytes, for any runtime.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use countersign_core::{Disconnect, Instant};
use countersign_endpoint::{Buffer, Cause, EndpointEvent, Security, Watch};

use crate::connection::Connection;
use crate::establish::Setup;
use crate::shared::Shared;
use crate::status::Addresses;

/// How much room there should be for what a transport reads at once, in bytes, at least.
pub const READ: usize = 16 * 1024;

/// A byte stream in both directions that never blocks.
///
/// A method that answers `Pending` has arranged for the context's waker to be woken when it is
/// worth trying again.
///
/// For the sake of transports whose operating system needs the memory for as long as a transfer is
/// under way, buffers are handed over whole: such a transport takes the buffer's content, leaves an
/// empty one and answers `Pending`. When it is ready it gives back what it took. Between a
/// `Pending` and the answer, the caller calls the same method with the same buffer, which it has
/// not touched.
pub trait Transport {
    /// Appends what there is to `buffer`, in which there should be room for [`READ`] bytes, and says
    /// how much that is; zero bytes mean that the peer has ended its direction.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says. Never `WouldBlock`.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>>;

    /// Sends as much from the front of `buffer` as the transport takes, removes it from there, and
    /// says how much that is. At the first call the buffer is not empty.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>>;

    /// Sends what the transport itself has kept, if it is one that does.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_flush(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this end's direction.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Where its ends are, to be told to whoever asks for the link's
    /// [`Status`](crate::Status); unknown by default.
    fn addresses(&self) -> Addresses {
        Addresses::default()
    }
}

/// How often a driver reads and writes in a row before others get their turn: a megabyte or two.
pub(crate) const ROUNDS: u32 = 32;

/// A timer that can be set again.
pub trait Timer {
    /// What time it is for this timer: that of the machine by default.
    fn now(&self) -> StdInstant {
        StdInstant::now()
    }

    /// Ready when `deadline` has come; before, the context's waker is woken then. The deadline
    /// may be another at every call; only the latest counts.
    fn poll_until(&mut self, context: &mut Context<'_>, deadline: StdInstant) -> Poll<()>;
}

/// Opens transport connections to one peer, one at a time.
pub trait Dial {
    /// What it opens.
    type Transport: Transport;

    /// Ready when a connection stands, or could not be had; the next call begins with another. An
    /// attempt has a time limit of its own.
    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Self::Transport>>;

    /// Gives up the attempt that is under way, if any.
    fn give_up(&mut self);

    /// The connection that it opened last has led to the peer.
    fn arrived(&mut self) {}

    /// Whether the peer may be elsewhere than where the last connection was opened to: there are
    /// addresses that never had their turn.
    fn has_others(&self) -> bool {
        false
    }
}

/// Opens connections with the futures that a closure makes.
pub struct Dialer<Open, F> {
    open: Open,
    attempt: Option<Pin<Box<F>>>,
}

impl<Open, F> std::fmt::Debug for Dialer<Open, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl<Open, F> Dialer<Open, F> {
    pub(crate) fn new(open: Open) -> Self {
        let attempt = None;
        Self { open, attempt }
    }
}

impl<Open, F, T> Dial for Dialer<Open, F>
where
    Open: FnMut() -> F,
    F: Future<Output = io::Result<T>>,
    T: Transport,
{
    type Transport = T;

    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let attempt = self.attempt.get_or_insert_with(|| Box::pin((self.open)()));
        let result = ready!(attempt.as_mut().poll(context));
        self.attempt = None;
        Poll::Ready(result)
    }

    fn give_up(&mut self) {
        self.attempt = None;
    }
}

/// Opens nothing: for a link that ends with its connection, or whose peer is the one that connects.
/// Such a link never asks.
#[derive(Debug)]
pub struct NoDial<T>(PhantomData<fn() -> T>);

impl<T: Transport> Dial for NoDial<T> {
    type Transport = T;

    fn poll_dial(&mut self, _: &mut Context<'_>) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn give_up(&mut self) {}
}

/// Keeps a link connected, and moves bytes between it and its transport, until the link has ended
/// and both are done with each other.
///
/// Holds no protocol decision: when to connect, when to write what, when to give up and what to
/// tell are the core's. Dropping it ends the link as lost.
pub struct Driver<D: Dial> {
    shared: Arc<Shared>,
    /// Which of the link's drivers this is: the one that brought its latest connection goes on
    /// with the link, those before it are done.
    number: u64,
    security: Security,
    /// Tells when identity and trust are replaced.
    watch: Watch,
    connection: Option<Connection<D::Transport>>,
    dialer: D,
    /// An attempt to open a connection is under way.
    dials: bool,
    /// When to look again even if nothing else happens.
    deadline: Option<Instant>,
}

/// What a look at a link has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There may be more to do at once.
    Again,
    /// There is nothing to do until something happens.
    Idle,
    /// The connection is of no more use.
    Over,
    /// Another driver goes on with the link, or it needs none any more.
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
        let mut driver = Self::dial(shared, security, NoDial(PhantomData));
        driver.connect(transport);
        driver
    }

    /// Goes on with a connection that a listener has accepted, as its link's driver of this number.
    pub(crate) fn accepted(
        shared: Arc<Shared>,
        number: u64,
        setup: &Setup,
        watch: Watch,
        connection: Connection<T>,
    ) -> Self {
        Self {
            shared,
            number,
            security: setup.security().clone(),
            watch,
            connection: Some(connection),
            dialer: NoDial(PhantomData),
            dials: false,
            deadline: None,
        }
    }
}

impl<D: Dial> Driver<D> {
    /// Drives a link over as many transport connections as it takes.
    pub(crate) fn dial(shared: Arc<Shared>, security: &Security, dialer: D) -> Self {
        Self {
            shared,
            number: 0,
            security: security.clone(),
            watch: security.watch(),
            connection: None,
            dialer,
            dials: false,
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

    /// Does what can be done now; ready when there is nothing left to do, ever.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_replaced(context);
        for _ in 0..ROUNDS {
            match self.look(context) {
                Look::Again | Look::Over => {}
                Look::Idle => return Poll::Pending,
                Look::Done => {
                    // An exchange may have ended the link for that, and nobody has said so yet.
                    self.poll_replaced(context);
                    return Poll::Ready(());
                }
            }
        }
        // Who never runs dry must not keep the others waiting, nor word of identity and trust.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hears whether identity and trust were replaced.
    fn poll_replaced(&mut self, context: &mut Context<'_>) {
        if self.watch.poll_changed(context).is_ready() {
            self.recheck();
        }
    }

    /// Moves bytes, and lets the link work once.
    fn look(&mut self, context: &mut Context<'_>) -> Look {
        let Some(mut connection) = self.connection.take() else {
            return self.look_without_connection(context);
        };
        connection.write(context);
        let read = connection.read(context);
        let look = self.exchange(context, &mut connection, read);
        #[cfg(planted)]
        if look == Look::Idle && crate::planted::is(crate::planted::Mistake::SleepsBlindly) {
            self.shared.sleep_blindly(context.waker());
        }
        match look {
            Look::Over => connection.flush_alert(context),
            Look::Idle if !connection.rest(context) => {
                self.connection = Some(connection);
                return Look::Again;
            }
            _ => self.connection = Some(connection),
        }
        look
    }

    /// Everything that concerns the link, under its lock.
    fn exchange(
        &mut self,
        context: &Context<'_>,
        connection: &mut Connection<D::Transport>,
        read: bool,
    ) -> Look {
        let now = self.shared.clock.now();
        let (number, deadline) = (self.number, &mut self.deadline);
        self.shared.with(|state| {
            if state.begin_look(now, number) {
                return Look::Done;
            }
            connection.exchange(now, &mut state.link, read);
            state.learn(&mut connection.endpoint);
            if connection.endpoint.is_over(now) {
                state.log_loss(now);
                return Look::Over;
            }
            if read || connection.endpoint.has_output() {
                return Look::Again;
            }
            #[cfg(planted)]
            if crate::planted::is(crate::planted::Mistake::SleepsBlindly) {
                return Look::Idle;
            }
            *deadline = state.sleep(
                context.waker(),
                connection.endpoint.is_blocked(),
                connection.endpoint.deadline(),
            );
            Look::Idle
        })
    }

    /// Opens a connection if the link wants one. After a failure the next attempt has its time,
    /// which may have come already: others have their turn in between.
    fn look_without_connection(&mut self, context: &mut Context<'_>) -> Look {
        let now = self.shared.clock.now();
        let (number, deadline) = (self.number, &mut self.deadline);
        let (look, wants, arrived) = self.shared.with(|state| {
            if state.begin_look(now, number) || state.ended {
                return (Look::Done, false, false);
            }
            if state.link.poll_deadline().is_some_and(|due| due <= now) {
                state.link.handle_timeout(now);
            }
            let wants = state.link.wants_connect();
            let arrived = state.has_arrived();
            // Whoever gives the link something to do from here on wakes this driver.
            *deadline = state.sleep(context.waker(), true, None);
            (Look::Idle, wants, arrived)
        });
        if !wants {
            if std::mem::take(&mut self.dials) {
                self.dialer.give_up();
            }
            return look;
        }
        if !self.dials && arrived {
            self.dialer.arrived();
        }
        let result = self.dialer.poll_dial(context);
        self.dials = result.is_pending();
        match result {
            Poll::Pending => Look::Idle,
            Poll::Ready(Ok(transport)) => {
                self.connect(transport);
                Look::Again
            }
            Poll::Ready(Err(error)) => {
                // Others have their turn before the next, also where that is due at once.
                self.on_not_opened(now, &Cause::from(error), context);
                Look::Idle
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

    /// Identity and trust were replaced: the peer is judged again.
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
                // The link has gone over to another driver, which does this.
                return None;
            }
            match connection {
                Some(connection) => {
                    connection.endpoint.recheck(now, &mut state.link);
                    state.learn(&mut connection.endpoint);
                }
                None => {
                    if let Some(error) = security.recheck(now, &mut state.link) {
                        state.explain(EndpointEvent::Failed(error));
                    }
                }
            }
            state.revoked()
        });
        if let Some(error) = revoked {
            tracing::warn!("{error}; the link is ended");
        }
    }

    /// When to call [`Driver::poll`] again even if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<StdInstant> {
        self.deadline
            .and_then(|deadline| self.shared.clock.to_timers(deadline))
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

impl<D: Dial> Drop for Driver<D> {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.leave(now);
            }
        });
    }
}
