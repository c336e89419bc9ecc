//! A connection that a listener has accepted, until it belongs to a link or is closed.

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
use crate::dial::NoDial;
use crate::driver::{Driver, ROUNDS};
use crate::error::LinkError;
use crate::link::Link;
use crate::setup::Setup;
use crate::shared::{Handle, Shared};
use crate::transport::{Timer, Transport};

/// A connection that a listener has accepted and that is not served yet.
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

    /// Returns the listener's declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.setup.config()
    }

    /// Drops the connection, for an error that concerns this connection only.
    pub fn refuse(self, error: io::Error) {
        let queue = self.slot.queue().clone();
        queue.refuse(self.peer, LinkError::transport(error));
    }

    /// Serves the connection: it becomes a new link for the application to accept, or its peer
    /// resumes an existing one.
    ///
    /// # Errors
    ///
    /// The system provides no randomness.
    pub fn serve<T: Transport>(self, transport: T) -> io::Result<Served<T>> {
        let setup = self.setup;
        let (config, seed) = (setup.config(), random_seed().map_err(io::Error::other)?);
        let incoming = match setup.recorder.observer() {
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
                reported: false,
                deadline: None,
            },
        })
    }
}

/// A connection that a listener has accepted and that is ready to run.
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
    /// Drives the connection until it is closed. A refused one counts as half open until then.
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

/// An incoming connection and its state. Only one task has it, so there is no lock.
struct Handshake<T: Transport> {
    incoming: Incoming,
    connection: Connection<T>,
    /// Notifies when identity and trust are replaced.
    watch: Watch,
    error_context: ErrorContext,
    peer: Option<SocketAddr>,
    setup: Setup,
    /// The listener was notified that it does not become a link.
    reported: bool,
    /// When to poll again even if nothing else happens.
    deadline: Option<Instant>,
}

/// How a handshake ends: with the driver of the link that takes the connection, or without one.
type Outcome<T> = Option<Driver<NoDial<T>>>;

/// How far a handshake has come.
enum Step {
    /// The peer's request has arrived.
    Requested,
    /// The connection is of no more use.
    Over,
}

impl<T: Transport> Handshake<T> {
    /// Drives the connection until it belongs to a link, or is over. If the listener closes before
    /// that is decided, the connection is dropped.
    async fn run(mut self, queue: &Arc<AcceptQueue>, timer: &mut impl Timer) -> Outcome<T> {
        let mut closed = pin!(queue.closed());
        loop {
            let step = poll_fn(|context| {
                if !self.reported && closed.as_mut().poll(context).is_ready() {
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

    /// Moves bytes, until the peer's request has arrived or the connection is over.
    fn poll(&mut self, queue: &Arc<AcceptQueue>, context: &mut Context<'_>) -> Poll<Step> {
        for _ in 0..ROUNDS {
            if self.watch.poll_changed(context).is_ready() {
                let now = queue.clock.now();
                self.connection.endpoint.recheck(now, &mut self.incoming);
            }
            self.connection.write(context);
            let read = self.connection.read(context);
            // After reading: the peer may have written since any earlier moment.
            let now = queue.clock.now();
            self.exchange(now, read);
            if self.incoming.request().is_some() {
                return Poll::Ready(Step::Requested);
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
            if !read
                && !self.connection.endpoint.has_output()
                && self.connection.flush_and_release(context)
            {
                return Poll::Pending;
            }
        }
        // A busy connection must not starve other tasks.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn exchange(&mut self, now: Instant, read: bool) {
        self.connection.exchange(now, &mut self.incoming, read);
        while let Some(event) = self.connection.endpoint.poll_event() {
            self.error_context.on_event(event);
        }
    }

    /// Notifies the listener, once, that there will be no link.
    fn report_end(&mut self, queue: &AcceptQueue) {
        let Some(reason) = self.incoming.end_reason().filter(|_| !self.reported) else {
            return;
        };
        self.reported = true;
        // The peer has reconnected elsewhere: no error for the application.
        if *reason != EndReason::Stale {
            let error = AcceptError::new(self.peer, self.error_context.of(reason));
            queue.push(Err(error.of_known_peer(self.fingerprint())));
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let peer = self.connection.endpoint.peer();
        peer.map(countersign_endpoint::Peer::fingerprint)
    }

    /// Routes the connection; returns a driver if it goes to a link.
    fn route(mut self, queue: &Arc<AcceptQueue>) -> ControlFlow<Driver<NoDial<T>>, Self> {
        let now = queue.clock.now();
        loop {
            match queue.route(&mut self.incoming) {
                Decision::Wait => return ControlFlow::Continue(self),
                Decision::Resume(None) => {}
                Decision::Resume(Some(owner)) => self = self.resume(now, owner)?,
                Decision::New(slot) => self = self.admit(now, slot)?,
                Decision::Refuse(refusal) => self.incoming.refuse(now, &refusal),
            }
        }
    }

    /// Hands the connection over to the link that its peer resumes, if that takes it.
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

    /// Makes a new link of the connection, if the application admits the peer.
    fn admit(mut self, now: Instant, slot: LinkSlot) -> ControlFlow<Driver<NoDial<T>>, Self> {
        if let Err(refusal) = self.ask() {
            self.incoming.refuse(now, &refusal);
            return ControlFlow::Continue(self);
        }
        let link = match self.incoming.accept(now) {
            Ok(link) => link,
            Err(incoming) => return ControlFlow::Continue(Self { incoming, ..self }),
        };
        let queue = slot.queue().clone();
        let peer = self.connection.endpoint.peer().cloned();
        let addresses = self.connection.addresses();
        let shared = Shared::accepted(link, self.setup.security(), peer, addresses, slot);
        let handle = Arc::new(Handle(shared.clone()));
        queue.push(Ok(Link::new(handle)));
        let driver = Driver::accepted(shared, 0, &self.setup, self.watch, self.connection);
        ControlFlow::Break(driver)
    }

    /// Asks the application about the peer. The answer may declare channels for this peer.
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

    /// Returns a connection whose peer has requested a link.
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
