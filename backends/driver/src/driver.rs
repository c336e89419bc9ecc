//! The loop that keeps a link connected and moves its bytes, for any runtime.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use countersign_core::{Disconnect, Instant, Refusal, TakeOver, Visit, refuse};
use countersign_endpoint::{Buffer, Cause, Security, Watch};

use crate::admission::{Admission, Admit, Arrival};
use crate::connection::Connection;
use crate::registry::Registry;
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
const ROUNDS: u32 = 32;

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
pub struct Never<T>(PhantomData<fn() -> T>);

impl<T: Transport> Dial for Never<T> {
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
    /// What a peer finds that has come to a listener.
    door: Option<Door>,
}

/// The listener's side of a connection that it has accepted.
#[derive(Debug)]
pub(crate) struct Door {
    /// The listener's links, one of which the peer may return to.
    pub(crate) registry: Arc<Registry>,
    pub(crate) admit: Option<Admit>,
    pub(crate) address: Option<SocketAddr>,
}

impl<D: Dial> std::fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Driver<Never<T>> {
    /// Drives a link over one transport connection, that a listener has accepted if there is a door.
    pub(crate) fn over(
        shared: Arc<Shared>,
        security: &Security,
        transport: T,
        door: Option<Door>,
    ) -> Self {
        let mut driver = Self {
            number: shared.with(|state| state.driver_number),
            shared,
            security: security.clone(),
            watch: security.watch(),
            connection: None,
            dialer: Never(PhantomData),
            dials: false,
            door,
        };
        driver.connect(transport);
        driver
    }
}

impl<D: Dial> Driver<D> {
    /// Drives a link over as many transport connections as it takes.
    pub(crate) fn dial(shared: Arc<Shared>, security: &Security, dialer: D) -> Self {
        Self {
            number: shared.with(|state| state.driver_number),
            shared,
            security: security.clone(),
            watch: security.watch(),
            connection: None,
            dialer,
            dials: false,
            door: None,
        }
    }

    fn connect(&mut self, transport: D::Transport) {
        let addresses = transport.addresses();
        self.shared.with(|state| state.addresses = addresses);
        let mut connection = Connection::new(&self.security, transport, &self.shared);
        if self.dialer.has_others() {
            connection.expect_others();
        }
        self.connection = Some(connection);
    }

    /// Does what can be done now; ready when there is nothing left to do, ever.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.watch.poll_changed(context).is_ready() {
            self.recheck();
        }
        for _ in 0..ROUNDS {
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
            progress |= self.receive_visit();
            progress |= self.let_go(context, now);
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
        // Who never runs dry must not keep the others waiting, nor word of identity and trust.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Identity and trust were replaced: the peer is judged again.
    fn recheck(&mut self) {
        let now = self.shared.clock.now();
        if self.shared.with(|state| state.driver_number) != self.number {
            // The link has gone over to another driver, which does this.
            return;
        }
        match &mut self.connection {
            Some(connection) => connection.recheck(now, &self.shared),
            None => self.security.recheck(now, &mut &*self.shared),
        }
        if let Some(error) = self.shared.with(|state| state.revoked()) {
            tracing::warn!("{error}; the link is ended");
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
            state.armed = deadline;
            deadline
        });
        let linger = self.connection.as_ref().and_then(Connection::linger);
        let earliest = match (of_link, linger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        earliest.and_then(|deadline| self.shared.clock.to_timers(deadline))
    }

    /// Whether the link wants to know what time it is.
    fn is_due(&self, now: Instant) -> bool {
        self.shared.with(|state| {
            state.now = now;
            if state.driver_number == self.number {
                state.sleeps = false;
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
        let dials = self.dials;
        self.shared.with(|state| {
            if state.driver_number != self.number {
                return false;
            }
            state.blocked = blocked;
            let output = state.link.wants_output() && !blocked;
            if output || (state.link.wants_connect() && !dials) {
                return false;
            }
            state.sleep(context.waker());
            true
        })
    }

    /// Opens a connection if the link wants one; true when there is one. After a failure the next
    /// attempt has its time, which may have come already: others have their turn in between.
    fn poll_dial(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        if !self.shared.with(|state| state.link.wants_connect()) {
            if std::mem::take(&mut self.dials) {
                self.dialer.give_up();
            }
            return false;
        }
        if !self.dials && self.shared.with(|state| state.has_arrived()) {
            self.dialer.arrived();
        }
        let result = self.dialer.poll_dial(context);
        self.dials = result.is_pending();
        let Poll::Ready(result) = result else {
            return false;
        };
        let opened = result.is_ok();
        match result {
            Ok(transport) => self.connect(transport),
            Err(error) => {
                let cause = Cause::from(error);
                self.shared.with(|state| {
                    state.explanation.unopened(&state.link, cause.clone());
                    state.link.handle_lost(now, Disconnect::Transport);
                    state.log_loss(now);
                });
            }
        }
        opened
    }

    /// Lets go of a connection that is of no more use; true when it did.
    fn let_go(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if !connection.is_over(now, &self.shared) {
            return false;
        }
        connection.say_why(context, now, &self.shared);
        self.connection = None;
        self.shared.with(|state| {
            if state.driver_number == self.number {
                state.log_loss(now);
            }
        });
        true
    }

    /// A peer that waits at a listener is led to the link whose session it has named, or to the one
    /// that ends because its peer has begun anew, or admitted as a new one, or sent away; true when
    /// there was one.
    fn receive_visit(&mut self) -> bool {
        let Some(registry) = self.door.as_ref().map(|door| door.registry.clone()) else {
            return false;
        };
        let visit = |link: &countersign_core::Link| Some((link.visit()?, link.peer()));
        let Some((visit, peer)) = self.shared.with(|state| visit(&state.link)) else {
            return false;
        };
        let now = self.shared.clock.now();
        for owner in registry.candidates(visit, peer) {
            if self.lead_to(now, owner) {
                return true;
            }
        }
        let gone = match visit {
            Visit::Returns(session) => registry.gone(session, peer),
            Visit::New => None,
        };
        let admitted = self
            .ask()
            .and_then(|()| registry.admit().map_err(Refusal::busy));
        self.shared.with(|state| match admitted {
            Ok(places) => {
                state.link.admit(now, gone.as_ref());
                state.keep(places);
            }
            Err(refusal) => state.link.refuse(now, &refusal),
        });
        true
    }

    /// Asks the application about the peer, without a lock: it may do anything with its links. It may
    /// give the peer channels of its own.
    fn ask(&self) -> Result<(), Refusal> {
        let Some(Door {
            admit: Some(admit),
            address,
            ..
        }) = &self.door
        else {
            return Ok(());
        };
        let peer = self.shared.with(|state| state.known());
        match admit.ask(&Arrival::new(peer.as_ref(), *address)) {
            Admission::Admit => Ok(()),
            Admission::AdmitWith(channels) => {
                let declared = self.shared.with(|state| state.declare(channels));
                declared.map_err(|error| Refusal::new(refuse::MISCONFIGURED, error.to_string()))
            }
            Admission::Refuse(refusal) => Err(refusal),
        }
    }

    /// Leads a returning peer to its link; false if that does not take it.
    fn lead_to(&mut self, now: Instant, owner: Arc<Shared>) -> bool {
        match self.shared.take_over(now, &owner) {
            (TakeOver::Done, number, connection) => {
                self.number = number;
                if let Some(attached) = &mut self.connection {
                    attached.attach(connection);
                }
                self.shared = owner;
                true
            }
            (TakeOver::Stale | TakeOver::SessionOver, ..) => true,
            (TakeOver::NotMine, ..) => false,
        }
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
