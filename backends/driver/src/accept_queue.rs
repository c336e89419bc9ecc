//! A listener's connections and links, until the application accepts them, and how they all end.

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
use crate::driver::Timer;
use crate::error::LinkError;
use crate::establish::Setup;
use crate::link::Link;
use crate::lock::{Later, Lock, Locked};
use crate::quota::Quotas;
use crate::shared::Shared;
use crate::wakers::{Waiting, Waits, WakerSet};

/// What a listener's handle, its acceptor task and its links share.
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
    /// How many connections there are that have got beyond their handshake.
    greeted: usize,
    ready: Backlog<Link>,
    phase: Phase,
    /// How many lines about those who are refused there may be.
    quotas: Quotas,
    /// Who waits for something to accept, or for nothing to come any more.
    arrived: WakerSet,
    /// Who waits for a connection to be no longer half open.
    room: WakerSet,
    /// Who waits for a connection or a link to be over.
    quieter: WakerSet,
    /// Who waits for the listener to go.
    gone: WakerSet,
    later: Later,
}

/// What there is to wait for at a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happens {
    /// Something waits to be accepted, or nothing will any more.
    Arrived,
    /// A connection is no longer half open.
    Room,
    /// A connection or a link is over.
    Quieter,
    /// The listener goes, or has gone.
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

    /// All who wait for what there is to accept: a stream of links may have been woken for one and be
    /// kept without being polled.
    fn wake_acceptors(&mut self) {
        self.arrived.wake_all(&mut self.later);
    }

    /// A connection or a link is over, or a connection half open no longer.
    fn wake_waiting(&mut self) {
        self.room.wake_all(&mut self.later);
        self.quieter.wake_all(&mut self.later);
    }

    fn go_on_to(&mut self, phase: Phase) {
        self.phase = phase;
        self.gone.wake_all(&mut self.later);
        self.wake_acceptors();
    }
}

impl Locked for State {
    fn later(&mut self) -> &mut Later {
        &mut self.later
    }
}

impl Waits for AcceptQueue {
    type State = State;
    type Awaited = Happens;

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(work)
    }

    fn wakers(state: &mut State, awaited: Happens) -> &mut WakerSet {
        match awaited {
            Happens::Arrived => &mut state.arrived,
            Happens::Room => &mut state.room,
            Happens::Quieter => &mut state.quieter,
            Happens::Gone => &mut state.gone,
        }
    }
}

/// How far the end of a listener has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Open,
    /// No new links; those that there are have until then to close.
    Draining {
        until: Option<Instant>,
    },
    /// Nobody comes in any more.
    Closed,
    /// The socket is gone too.
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
                quieter: WakerSet::default(),
                gone: WakerSet::default(),
                later: Later::default(),
            }),
            clock: setup.clock().clone(),
        })
    }

    /// Waits for this, and looks at the state each time, until that has what is asked for.
    async fn wait<R>(&self, what: Happens, mut look: impl FnMut(&mut State) -> Poll<R>) -> R {
        let mut waiting = Waiting::new(self, what);
        poll_fn(|context| waiting.poll(context, &mut look)).await
    }

    /// For what is polled without a future.
    pub(crate) fn waiting(&self) -> Waiting<&Self> {
        Waiting::new(self, Happens::Arrived)
    }

    /// What has waited longest to be accepted; `None` when nothing will come any more.
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

    /// Waits for what [`AcceptQueue::poll_next`] gives.
    pub(crate) async fn next(&self) -> Option<Result<Link, AcceptError>> {
        let mut waiting = self.waiting();
        poll_fn(|context| Self::poll_next(&mut waiting, context)).await
    }

    /// Puts the result of a handshake where it can be accepted, unless nobody wants to know.
    pub(crate) fn push(&self, result: Result<Link, AcceptError>) {
        let forgotten = self.state.with(|state| {
            if state.phase != Phase::Open {
                // Closes a link.
                state.later.drop(Some(result));
                return None;
            }
            let forgotten = state.ready.push(result);
            state.wake_acceptors();
            forgotten
        });
        if let Some(error) = forgotten {
            if self.may_warn(error.known_peer()) {
                tracing::warn!(%error, "nobody accepts: forgot about a refused connection");
            } else {
                tracing::debug!(%error, "nobody accepts: forgot about a refused connection");
            }
        }
    }

    /// Tells the log of a connection that came to nothing, and whose it was.
    pub(crate) fn log(&self, known: Option<Fingerprint>, words: &dyn Display) {
        if self.may_warn(known) {
            tracing::warn!("{words}");
        } else {
            tracing::debug!("{words}");
        }
    }

    /// Whether a line may be a warning: there is no end of strangers, and a peer that is refused may come
    /// back for ever.
    pub(crate) fn may_warn(&self, known: Option<Fingerprint>) -> bool {
        let now = Instant::now();
        let (granted, left_out) = self.state.with(|state| state.quotas.ask(known, now));
        log_left_out(left_out);
        granted
    }

    /// One connection did not become a link.
    pub(crate) fn refuse(&self, peer: Option<SocketAddr>, error: LinkError) {
        self.push(Err(AcceptError::new(peer, error)));
    }

    /// Waits until one more connection may be half open.
    pub(crate) async fn has_room(&self) {
        self.wait(Happens::Room, |state| match state.acceptor.has_room() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Counts a connection from this address, which is half open, unless there are as many as there
    /// may be.
    pub(crate) fn arrive(self: &Arc<Self>, peer: Option<SocketAddr>) -> io::Result<ConnectionSlot> {
        let address = peer.map(|peer| peer.ip());
        let arrived = self.state.with(|state| state.acceptor.arrive(address));
        Ok(ConnectionSlot {
            queue: self.clone(),
            permit: Some(arrived.map_err(io::Error::other)?),
            greeted: false,
        })
    }

    /// Where a connection goes. With [`Decision::New`] comes a place among the links.
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

    /// Begins the end, or hastens it: no new links from here on.
    pub(crate) fn end(&self, phase: Phase) {
        self.state.with(|state| {
            // Closes the links that nobody accepted.
            let unwanted = state.ready.take_all();
            state.later.drop(Some(unwanted));
            state.go_on_to(state.phase.then(phase));
        });
    }

    /// The socket is gone.
    fn leave(&self, drained: Drained) {
        self.end(Phase::Closed);
        let left_out = self.state.with(|state| {
            state.go_on_to(Phase::Gone(drained));
            state.quotas.take_left_out()
        });
        log_left_out(left_out);
    }

    /// Waits until the socket is gone.
    pub(crate) async fn left(&self) -> Drained {
        self.wait(Happens::Gone, |state| match state.phase {
            Phase::Gone(drained) => Poll::Ready(drained),
            _ => Poll::Pending,
        })
        .await
    }

    /// Waits until everybody who was refused has heard so, or has had the time for it.
    pub(crate) async fn silent(&self) {
        // Who was in a handshake when the socket closed is given up without a word.
        self.wait(Happens::Quieter, |state| match state.acceptor.half_open() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Begins to close all links; there are no new ones from here on.
    pub(crate) fn drain(&self, until: Option<Instant>) {
        self.end(Phase::Draining { until });
        self.state.with(|state| state.acceptor.drain());
        for shared in self.links() {
            shared.start_close();
        }
    }

    /// Waits until all links have ended, and all is said on their connections.
    async fn drained(&self) {
        self.wait(Happens::Quieter, |state| {
            if state.acceptor.is_empty() && state.greeted == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until nobody may come in any more.
    pub(crate) async fn closed(&self) {
        self.wait(Happens::Gone, |state| match state.phase {
            Phase::Closed | Phase::Gone(_) => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Waits for the end that [`AcceptQueue::end`] begins. Links that do not close in time are abandoned.
    async fn over(&self, mut timer: impl Timer) -> Drained {
        let begun = |state: &mut State| match state.phase {
            Phase::Open => Poll::Pending,
            phase => Poll::Ready(phase),
        };
        if !matches!(
            self.wait(Happens::Gone, begun).await,
            Phase::Draining { .. }
        ) {
            return Drained::default();
        }
        let mut drained = pin!(self.drained());
        let mut hastened = Waiting::new(self, Happens::Gone);
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
    /// What follows when the end is begun again: it can only come sooner.
    fn then(self, next: Self) -> Self {
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

/// The acceptor task's hold of the queue: without it nobody comes in.
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

    /// Waits until the listener is to go.
    pub(crate) async fn over(&mut self, timer: impl Timer) {
        self.drained = self.queue.over(timer).await;
    }
}

impl Drop for AcceptorTask {
    fn drop(&mut self) {
        self.queue.leave(self.drained);
    }
}

/// Where a connection goes, see [`Route`].
#[derive(Debug)]
pub(crate) enum Decision {
    Wait,
    /// `None` where the link is gone by now.
    Resume(Option<Arc<Shared>>),
    New(LinkSlot),
    Refuse(core::Refusal),
}

/// What a connection counts for, until it is over.
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

    /// The connection is half open no longer.
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

/// A link's place among those of its listener, until it has ended.
#[derive(Debug)]
pub(crate) struct LinkSlot(Arc<AcceptQueue>, Option<LinkPermit>);

impl LinkSlot {
    pub(crate) fn queue(&self) -> &Arc<AcceptQueue> {
        &self.0
    }

    /// The application has accepted the link.
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
