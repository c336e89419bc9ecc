//! A listener's connections and links until the application accepts them, and its shutdown.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_core::{
    self as core, Acceptor, ConnectionPermit, Consequence, Drained, Event, Incoming, Limits,
    LinkPermit, Route,
};
use countersign_endpoint::Fingerprint;

use crate::accept::{AcceptError, Backlog};
use crate::clock::Clock;
use crate::error::LinkError;
use crate::link::Link;
use crate::lock::{Deferred, Lock, Locked};
use crate::quota::Quotas;
use crate::setup::Setup;
use crate::shared::Shared;
use crate::transport::Timer;
use crate::wakers::{Waiting, Waits, WakerSet};

/// The state that a listener's handle, its acceptor task and its links share.
///
/// Its lock is taken while a link's is held, and never the other way round.
#[derive(Debug)]
pub(crate) struct AcceptQueue {
    state: Lock<State>,
    pub(crate) clock: Clock,
}

#[derive(Debug)]
pub(crate) struct State {
    acceptor: Acceptor<Weak<Shared>>,
    /// The number of connections that have completed their handshake.
    greeted: usize,
    ready: Backlog<Link>,
    phase: Phase,
    /// Limits the log lines about refused connections.
    quotas: Quotas,
    /// Tasks that wait for a link to accept, or for the end of the listener.
    arrived: WakerSet,
    /// Tasks that wait for a connection to be no longer half open.
    room: WakerSet,
    /// Tasks that wait for a connection or a link to end.
    departed: WakerSet,
    /// Tasks that wait for the listener to close.
    gone: WakerSet,
    deferred: Deferred,
}

/// What a task can wait for at a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueueEvent {
    /// A result is ready to be accepted, or none will be any more.
    Arrived,
    /// A connection is no longer half open.
    Room,
    /// A connection or a link has ended.
    Departed,
    /// The listener is closing or closed.
    Gone,
}

impl State {
    fn poll_next(&mut self) -> Poll<Option<Result<Link, AcceptError>>> {
        match self.ready.pop() {
            Some(result) => Poll::Ready(Some(result)),
            None if matches!(self.phase, Phase::Closed | Phase::Gone(_)) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Wakes all tasks that wait for a link to accept: a stream of links may have been woken for
    /// one and not be polled again.
    fn wake_acceptors(&mut self) {
        self.arrived.wake_all(&mut self.deferred);
    }

    /// Wakes the tasks that wait for a connection or a link to end, or for a connection to be no
    /// longer half open.
    fn wake_waiting(&mut self) {
        self.room.wake_all(&mut self.deferred);
        self.departed.wake_all(&mut self.deferred);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.gone.wake_all(&mut self.deferred);
        self.wake_acceptors();
    }
}

impl Locked for State {
    fn deferred(&mut self) -> &mut Deferred {
        &mut self.deferred
    }
}

impl Waits for AcceptQueue {
    type State = State;
    type Awaited = QueueEvent;

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(work)
    }

    fn wakers(state: &mut State, awaited: QueueEvent) -> &mut WakerSet {
        match awaited {
            QueueEvent::Arrived => &mut state.arrived,
            QueueEvent::Room => &mut state.room,
            QueueEvent::Departed => &mut state.departed,
            QueueEvent::Gone => &mut state.gone,
        }
    }
}

/// The phases of a listener's shutdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Open,
    /// No new links; the present ones have until then to close.
    Draining {
        until: Option<Instant>,
    },
    /// Nothing is accepted any more.
    Closed,
    /// The socket is closed too.
    Gone(Drained),
}

impl AcceptQueue {
    pub(crate) fn new(limits: Limits, setup: &Setup) -> Arc<Self> {
        Arc::new(Self {
            state: Lock::new(State {
                acceptor: Acceptor::new(limits),
                greeted: 0,
                ready: Backlog::new(limits.backlog),
                phase: Phase::Open,
                quotas: Quotas::new(setup.log_lines),
                arrived: WakerSet::default(),
                room: WakerSet::default(),
                departed: WakerSet::default(),
                gone: WakerSet::default(),
                deferred: Deferred::default(),
            }),
            clock: setup.clock().clone(),
        })
    }

    /// Waits, checking the state after each event of this kind, until `check` returns `Ready`.
    async fn wait<R>(&self, what: QueueEvent, mut check: impl FnMut(&mut State) -> Poll<R>) -> R {
        let mut waiting = Waiting::new(self, what);
        poll_fn(|context| waiting.poll(context, &mut check)).await
    }

    /// Returns a wait for links, for types that are polled without a future.
    pub(crate) fn waiting(&self) -> Waiting<&Self> {
        Waiting::new(self, QueueEvent::Arrived)
    }

    /// Returns the result that has waited longest to be accepted; `None` when the listener is
    /// closed.
    pub(crate) fn poll_next(
        waiting: &mut Waiting<&Self>,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Link, AcceptError>>> {
        let next = waiting.poll(context, State::poll_next);
        if let Poll::Ready(Some(Ok(link))) = &next {
            link.accepted();
        }
        next
    }

    /// Waits for the result of [`AcceptQueue::poll_next`].
    pub(crate) async fn next(&self) -> Option<Result<Link, AcceptError>> {
        let mut waiting = self.waiting();
        poll_fn(|context| Self::poll_next(&mut waiting, context)).await
    }

    /// Queues the result of a handshake to be accepted, unless the listener is closing.
    pub(crate) fn push(&self, result: Result<Link, AcceptError>) {
        let discarded = self.state.with(|state| {
            if state.phase != Phase::Open {
                // Dropping a link closes it.
                state.deferred.drop(Some(result));
                return None;
            }
            let discarded = state.ready.push(result);
            state.wake_acceptors();
            discarded
        });
        if let Some(error) = discarded {
            if self.may_warn(error.known_peer()) {
                tracing::warn!(%error, "nobody accepts: forgot about a refused connection");
            } else {
                tracing::debug!(%error, "nobody accepts: forgot about a refused connection");
            }
        }
    }

    /// Logs a connection that did not become a link, of a peer with this key or of a stranger.
    pub(crate) fn log(&self, known: Option<Fingerprint>, words: &dyn Display) {
        if self.may_warn(known) {
            tracing::warn!("{words}");
        } else {
            tracing::debug!("{words}");
        }
    }

    /// Whether a line may be a warning: the number of strangers is unbounded, and a peer that is
    /// refused may come back for ever.
    pub(crate) fn may_warn(&self, known: Option<Fingerprint>) -> bool {
        let now = Instant::now();
        let (granted, left_out) = self.state.with(|state| state.quotas.ask(known, now));
        log_left_out(left_out);
        granted
    }

    /// Queues the error of a connection that did not become a link.
    pub(crate) fn refuse(&self, peer: Option<SocketAddr>, error: LinkError) {
        self.push(Err(AcceptError::new(peer, error)));
    }

    /// Waits until one more connection may be half open.
    pub(crate) async fn has_room(&self) {
        self.wait(QueueEvent::Room, |state| match state.acceptor.has_room() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Counts a half-open connection from this address, unless a limit is reached.
    pub(crate) fn arrive(self: &Arc<Self>, peer: Option<SocketAddr>) -> io::Result<ConnectionSlot> {
        let address = peer.map(|peer| peer.ip());
        let arrived = self.state.with(|state| state.acceptor.arrive(address));
        Ok(ConnectionSlot {
            queue: self.clone(),
            permit: Some(arrived.map_err(io::Error::other)?),
            greeted: false,
        })
    }

    /// Decides where a connection goes. [`Decision::New`] comes with a slot for the link.
    pub(crate) fn route(self: &Arc<Self>, incoming: &mut Incoming) -> Decision {
        match self.state.with(|state| state.acceptor.route(incoming)) {
            Route::Wait => Decision::Wait,
            Route::Resume(link) => Decision::Resume(link.upgrade()),
            Route::New(permit) => Decision::New(LinkSlot(self.clone(), Some(permit))),
            Route::Refuse(refusal) => Decision::Refuse(refusal),
        }
    }

    /// Keeps the listener's sessions in step with one of its links.
    pub(crate) fn follow(
        &self,
        link: &core::Link,
        event: &Event,
        shared: &Weak<Shared>,
    ) -> Option<Consequence<Weak<Shared>>> {
        let follow = |state: &mut State| state.acceptor.follow(link, event, || shared.clone());
        self.state.with(follow)
    }

    fn links(&self) -> Vec<Arc<Shared>> {
        self.state
            .with(|state| state.acceptor.links().filter_map(Weak::upgrade).collect())
    }

    /// Begins to shut down, or moves on to a later phase: no new links from here on.
    pub(crate) fn begin_shutdown(&self, phase: Phase) {
        self.state.with(|state| {
            // Dropping them closes the links that were not accepted.
            let unwanted = state.ready.take_all();
            state.deferred.drop(Some(unwanted));
            state.enter(state.phase.advance(phase));
        });
    }

    /// Marks the socket as closed.
    fn set_gone(&self, drained: Drained) {
        self.begin_shutdown(Phase::Closed);
        let left_out = self.state.with(|state| {
            state.enter(Phase::Gone(drained));
            state.quotas.take_left_out()
        });
        log_left_out(left_out);
    }

    /// Waits until the socket is closed.
    pub(crate) async fn gone(&self) -> Drained {
        self.wait(QueueEvent::Gone, |state| match state.phase {
            Phase::Gone(drained) => Poll::Ready(drained),
            _ => Poll::Pending,
        })
        .await
    }

    /// Waits until each refused peer has received its refusal, or its time for that is over.
    pub(crate) async fn half_open_done(&self) {
        // Connections that were still in a handshake when the socket closed are dropped silently.
        self.wait(QueueEvent::Departed, |state| {
            match state.acceptor.half_open() {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    /// Begins to close all links; no new ones are accepted from here on.
    pub(crate) fn drain(&self, until: Option<Instant>) {
        self.begin_shutdown(Phase::Draining { until });
        self.state.with(|state| state.acceptor.drain());
        for shared in self.links() {
            shared.start_close();
        }
    }

    /// Waits until all links have ended and their connections are closed.
    async fn drained(&self) {
        self.wait(QueueEvent::Departed, |state| {
            if state.acceptor.is_empty() && state.greeted == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until nothing is accepted any more.
    pub(crate) async fn closed(&self) {
        self.wait(QueueEvent::Gone, |state| match state.phase {
            Phase::Closed | Phase::Gone(_) => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Waits for the shutdown that [`AcceptQueue::begin_shutdown`] begins. Links that do not close
    /// in time are abandoned.
    async fn shutdown(&self, mut timer: impl Timer) -> Drained {
        let begun = |state: &mut State| match state.phase {
            Phase::Open => Poll::Pending,
            phase => Poll::Ready(phase),
        };
        if !matches!(
            self.wait(QueueEvent::Gone, begun).await,
            Phase::Draining { .. }
        ) {
            return Drained::default();
        }
        let mut drained = pin!(self.drained());
        let mut hastened = Waiting::new(self, QueueEvent::Gone);
        poll_fn(|context| {
            let mut until = None;
            let ended = hastened.poll(context, |state| match state.phase {
                Phase::Draining { until: moment } => {
                    until = moment;
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            });
            if ended.is_ready() {
                return Poll::Ready(());
            }
            let is_late = until.is_some_and(|until| timer.poll_until(context, until).is_ready());
            if is_late || drained.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        for shared in self.links() {
            shared.abandon();
        }
        self.state.with(|state| state.acceptor.drained())
    }
}

fn log_left_out(lines: u64) {
    if lines > 0 {
        tracing::warn!("{lines} more lines about refused connections were left out");
    }
}

impl Phase {
    /// Returns the phase after another request to shut down, which can only bring the end forward.
    fn advance(self, next: Self) -> Self {
        match (self, next) {
            (Self::Closed | Self::Gone(_), _) => self,
            (Self::Draining { until: Some(one) }, Self::Draining { until: Some(other) }) => {
                let until = Some(one.min(other));
                Self::Draining { until }
            }
            (Self::Draining { until: Some(_) }, Self::Draining { until: None }) => self,
            _ => next,
        }
    }
}

/// The acceptor task's handle of the queue: when it is dropped, the listener accepts nothing more.
#[derive(Debug)]
pub struct AcceptorTask {
    pub(crate) queue: Arc<AcceptQueue>,
    pub(crate) setup: Setup,
    drained: Drained,
}

impl AcceptorTask {
    pub(crate) fn new(queue: Arc<AcceptQueue>, setup: Setup) -> Self {
        let drained = Drained::default();
        Self {
            queue,
            setup,
            drained,
        }
    }

    /// Waits until the listener is to close.
    pub(crate) async fn shutdown(&mut self, timer: impl Timer) {
        self.drained = self.queue.shutdown(timer).await;
    }
}

impl Drop for AcceptorTask {
    fn drop(&mut self) {
        self.queue.set_gone(self.drained);
    }
}

/// Where a connection goes; see [`Route`].
#[derive(Debug)]
pub(crate) enum Decision {
    Wait,
    /// `None` if the link is gone by now.
    Resume(Option<Arc<Shared>>),
    New(LinkSlot),
    Refuse(core::Refusal),
}

/// Counts a connection towards the limits until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    queue: Arc<AcceptQueue>,
    permit: Option<ConnectionPermit>,
    greeted: bool,
}

impl ConnectionSlot {
    pub(crate) fn queue(&self) -> &Arc<AcceptQueue> {
        &self.queue
    }

    /// Marks the connection as no longer half open.
    pub(crate) fn greeted(&mut self) {
        self.greeted = true;
        let permit = &mut self.permit;
        self.queue.state.with(|state| {
            state.greeted += 1;
            if let Some(permit) = permit {
                state.acceptor.greeted(permit);
            }
            state.wake_waiting();
        });
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let (permit, greeted) = (self.permit.take(), self.greeted);
        self.queue.state.with(|state| {
            state.greeted -= usize::from(greeted);
            if let Some(permit) = permit {
                state.acceptor.depart(permit);
            }
            state.wake_waiting();
        });
    }
}

/// Counts a link towards its listener's limits until it has ended.
#[derive(Debug)]
pub(crate) struct LinkSlot(Arc<AcceptQueue>, Option<LinkPermit>);

impl LinkSlot {
    pub(crate) fn queue(&self) -> &Arc<AcceptQueue> {
        &self.0
    }

    /// Reports that the application has accepted the link.
    pub(crate) fn accepted(&mut self) {
        if let Some(permit) = &mut self.1 {
            self.0.state.with(|state| state.acceptor.accepted(permit));
        }
    }
}

impl Drop for LinkSlot {
    fn drop(&mut self) {
        if let Some(permit) = self.1.take() {
            self.0.state.with(|state| {
                state.acceptor.release(permit);
                state.wake_waiting();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use countersign_core::{Config, ReceiveChannel};
    use countersign_endpoint::Security;

    use super::*;

    #[test]
    fn a_link_that_was_just_admitted_is_waited_for() {
        let config = Config::new().channel(ReceiveChannel::new("data"));
        let setup = Setup::new(config, Security::plaintext()).unwrap();
        let queue = AcceptQueue::new(Limits::default(), &setup);
        let mut incoming = crate::pending::tests::incoming(setup.config());
        let Decision::New(mut link) = queue.route(&mut incoming) else {
            panic!("there is room");
        };
        queue.drain(None);
        assert!(matches!(queue.route(&mut incoming), Decision::Refuse(_)));
        let mut context = Context::from_waker(Waker::noop());
        let mut drained = pin!(queue.drained());
        assert!(drained.as_mut().poll(&mut context).is_pending());
        link.accepted();
        assert!(drained.as_mut().poll(&mut context).is_pending());
        drop(link);
        assert_eq!(drained.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
