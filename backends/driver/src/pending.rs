//! A connection that a listener has accepted, until it belongs to a link or is gone.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::{
    Config, EndReason, Incoming, Instant, Protocol, Refusal, Role, TakeOver, refuse,
};
use countersign_endpoint::{ErrorContext, Fingerprint, Watch, random_seed};

use crate::accept::AcceptError;
use crate::accept_queue::{AcceptQueue, ConnectionSlot, Decision, LinkSlot};
use crate::admission::Admission;
use crate::connection::Connection;
use crate::driver::{Driver, NoDial, ROUNDS, Timer, Transport};
use crate::error::LinkError;
use crate::establish::Setup;
use crate::link::Link;
use crate::shared::{Handle, Shared};

/// A connection that a listener has accepted: what it takes to make a link of it.
#[derive(Debug)]
pub struct PendingConnection {
    slot: ConnectionSlot,
    peer: Option<SocketAddr>,
    setup: Setup,
}

impl PendingConnection {
    /// Counts a connection, unless there are too many from its address.
    pub(crate) fn new(
        queue: &Arc<AcceptQueue>,
        peer: Option<SocketAddr>,
        setup: &Setup,
    ) -> io::Result<Self> {
        Ok(Self {
            slot: queue.arrive(peer)?,
            peer,
            setup: setup.clone(),
        })
    }

    /// The listener's declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.setup.config()
    }

    /// Sends the connection away, for something that is wrong with it alone.
    pub fn refuse(self, error: io::Error) {
        let queue = self.slot.queue().clone();
        queue.refuse(self.peer, LinkError::transport(error));
    }

    /// Makes a link of the connection: one for the application to accept, or the one to which its
    /// peer returns.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn serve<T: Transport>(self, transport: T) -> io::Result<Served<T>> {
        let setup = self.setup;
        let (config, seed) = (setup.config(), random_seed().map_err(io::Error::other)?);
        let incoming = match setup.recorded.observer() {
            Some(observer) => Incoming::observed(config, seed, observer),
            None => Incoming::new(config, seed),
        };
        let dialect = setup.config().get_dialect();
        let connection = Connection::new(setup.security(), Role::Acceptor, dialect, transport);
        Ok(Served {
            slot: self.slot,
            handshake: Handshake {
                incoming: incoming.map_err(io::Error::other)?,
                connection,
                watch: setup.security().watch(),
                error_context: ErrorContext::default(),
                peer: self.peer,
                setup,
                told: false,
                deadline: None,
            },
        })
    }
}

/// A connection that a listener has accepted, with all that is left to do for it.
pub struct Served<T: Transport> {
    slot: ConnectionSlot,
    handshake: Handshake<T>,
}

impl<T: Transport> std::fmt::Debug for Served<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

impl<T: Transport> Served<T> {
    /// Drives the connection until it is over. One that is refused counts as half open until then.
    pub async fn run(self, mut timer: impl Timer) {
        let Self {
            mut slot,
            handshake,
        } = self;
        let queue = slot.queue().clone();
        if let Some(driver) = handshake.run(&queue, &mut timer).await {
            slot.greeted();
            driver.run(timer).await;
        }
    }
}

/// An incoming connection and all that is known of it. Nobody else has it, so there is no lock.
struct Handshake<T: Transport> {
    incoming: Incoming,
    connection: Connection<T>,
    /// Tells when identity and trust are replaced.
    watch: Watch,
    error_context: ErrorContext,
    peer: Option<SocketAddr>,
    setup: Setup,
    /// The listener knows that it does not become a link.
    told: bool,
    /// When to look again even if nothing else happens.
    deadline: Option<Instant>,
}

/// How a handshake ends: the connection goes on as a link's, or is over.
type Outcome<T> = Option<Driver<NoDial<T>>>;

/// What the bytes of a connection have come to.
enum Step {
    /// The peer has said what it wants.
    Asks,
    /// The connection is of no more use.
    Over,
}

impl<T: Transport> Handshake<T> {
    /// Drives the connection until it belongs to a link, or is over. When the listener goes before that
    /// is decided, the connection is given up.
    async fn run(mut self, queue: &Arc<AcceptQueue>, timer: &mut impl Timer) -> Outcome<T> {
        let mut closed = pin!(queue.closed());
        loop {
            let step = poll_fn(|context| {
                if !self.told && closed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Step::Over);
                }
                loop {
                    let step = self.poll(queue, context);
                    let deadline = self.deadline.and_then(|at| queue.clock.to_timers(at));
                    match deadline {
                        Some(deadline) if step.is_pending() => {
                            ready!(timer.poll_until(context, deadline));
                        }
                        _ => return step,
                    }
                }
            });
            if matches!(step.await, Step::Over) {
                return None;
            }
            match self.route(queue) {
                ControlFlow::Continue(handshake) => self = handshake,
                ControlFlow::Break(driver) => return Some(driver),
            }
        }
    }

    /// Moves bytes, until the peer has said what it wants or there is nothing more to do.
    fn poll(&mut self, queue: &Arc<AcceptQueue>, context: &mut Context<'_>) -> Poll<Step> {
        for _ in 0..ROUNDS {
            let now = queue.clock.now();
            if self.watch.poll_changed(context).is_ready() {
                self.connection.endpoint.recheck(now, &mut self.incoming);
            }
            self.connection.write(context);
            let read = self.connection.read(context);
            self.exchange(now, read);
            if self.incoming.request().is_some() {
                return Poll::Ready(Step::Asks);
            }
            self.report_end(queue);
            if self.connection.endpoint.is_over(now) {
                self.connection.flush_alert(context);
                return Poll::Ready(Step::Over);
            }
            let deadlines = [
                self.incoming.poll_deadline(),
                self.connection.endpoint.deadline(),
            ];
            self.deadline = deadlines.into_iter().flatten().min();
            if !read && !self.connection.endpoint.has_output() && self.connection.rest(context) {
                return Poll::Pending;
            }
        }
        // Who never runs dry must not keep the others waiting.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn exchange(&mut self, now: Instant, read: bool) {
        self.connection.exchange(now, &mut self.incoming, read);
        while let Some(event) = self.connection.endpoint.poll_event() {
            self.error_context.on_event(event);
        }
    }

    /// Tells the listener once that there will be no link.
    fn report_end(&mut self, queue: &AcceptQueue) {
        let Some(reason) = self.incoming.end_reason().filter(|_| !self.told) else {
            return;
        };
        self.told = true;
        // It is told that it has come back elsewhere, and nobody else needs to know.
        if *reason != EndReason::Stale {
            let error = AcceptError::new(self.peer, self.error_context.of(reason));
            queue.push(Err(error.of_known_peer(self.fingerprint())));
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let peer = self.connection.endpoint.peer();
        peer.map(countersign_endpoint::Peer::fingerprint)
    }

    /// Has it decided where the connection goes; gives the driver that goes on with it if that is a
    /// link.
    fn route(mut self, queue: &Arc<AcceptQueue>) -> ControlFlow<Driver<NoDial<T>>, Self> {
        let now = queue.clock.now();
        loop {
            match queue.route(&mut self.incoming) {
                Decision::Wait => return ControlFlow::Continue(self),
                Decision::Resume(None) => {}
                Decision::Resume(Some(owner)) => self = self.resume(now, owner)?,
                Decision::New(place) => self = self.admit(now, place)?,
                Decision::Refuse(refusal) => self.incoming.refuse(now, &refusal),
            }
        }
    }

    /// Hands the connection over to the link to which its peer returns, if that takes it.
    fn resume(mut self, now: Instant, owner: Arc<Shared>) -> ControlFlow<Driver<NoDial<T>>, Self> {
        let peer = self.connection.endpoint.peer().cloned();
        let addresses = self.connection.addresses();
        let taken = owner.take_over(now, &mut self.incoming, peer, addresses);
        let (TakeOver::Done, number, connection) = taken else {
            return ControlFlow::Continue(self);
        };
        self.connection.endpoint.attach(connection);
        let Self {
            setup,
            watch,
            connection,
            ..
        } = self;
        ControlFlow::Break(Driver::accepted(owner, number, &setup, watch, connection))
    }

    /// Makes a new link of it, if the application wants one.
    fn admit(mut self, now: Instant, place: LinkSlot) -> ControlFlow<Driver<NoDial<T>>, Self> {
        if let Err(refusal) = self.ask() {
            self.incoming.refuse(now, &refusal);
            return ControlFlow::Continue(self);
        }
        let link = match self.incoming.accept(now) {
            Ok(link) => link,
            Err(incoming) => return ControlFlow::Continue(Self { incoming, ..self }),
        };
        let queue = place.queue().clone();
        let peer = self.connection.endpoint.peer().cloned();
        let addresses = self.connection.addresses();
        let shared = Shared::accepted(link, &self.setup, peer, addresses, place);
        let handle = Arc::new(Handle(shared.clone()));
        queue.push(Ok(Link::new(handle)));
        let driver = Driver::accepted(shared, 0, &self.setup, self.watch, self.connection);
        ControlFlow::Break(driver)
    }

    /// Asks the application about the peer. It may give the peer channels of its own.
    fn ask(&mut self) -> Result<(), Refusal> {
        let peer = self.connection.endpoint.peer();
        let peer = peer.map(|peer| self.setup.security().renamed(peer));
        match self.setup.ask(peer.as_ref(), self.peer) {
            Admission::Admit => Ok(()),
            Admission::AdmitWith(channels) => {
                let declared = self.incoming.declare(channels);
                declared.map_err(|error| Refusal::new(refuse::MISCONFIGURED, error.to_string()))
            }
            Admission::Refuse(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use countersign_core::{Config, Incoming, Instant, Link, Output, Protocol, Role, SendChannel};

    /// A connection whose peer wants a link and has said so.
    pub(crate) fn incoming(config: &Config) -> Incoming {
        let now = Instant::ZERO;
        let mut incoming = Incoming::new(config, [1; 16]).unwrap();
        let opener = Config::new().channel(SendChannel::new("data"));
        let mut opener = Link::new(&opener, Role::Opener, [2; 16]).unwrap();
        incoming.handle_opened(now).unwrap();
        incoming.handle_secured(now, None).unwrap();
        opener.handle_opened(now).unwrap();
        opener.handle_secured(now, None).unwrap();
        let mut hello = [0; 1024];
        let Output::Written(length) = opener.poll_output(now, &mut hello) else {
            panic!("it has something to say");
        };
        incoming.handle_input(now, &hello[..length]);
        incoming
    }
}
