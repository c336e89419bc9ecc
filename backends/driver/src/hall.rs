//! Where a listener's connections are until the application accepts them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_endpoint::Fingerprint;

use crate::accept::{AcceptError, Backlog, Drained, Limits};
use crate::clock::Clock;
use crate::driver::Timer;
use crate::error::LinkError;
use crate::establish::Setup;
use crate::link::Link;
use crate::lock::{Later, Lock, Locked};
use crate::quota::Quotas;
use crate::registry::{Registry, Unaccepted};
use crate::wakers::{Waiting, Waits, WakerSet};

/// What a listener's handle and its accepting task share.
#[derive(Debug)]
pub(crate) struct Hall {
    state: Lock<State>,
    limits: Limits,
    pub(crate) clock: Clock,
    /// The links that peers can return to.
    pub(crate) registry: Arc<Registry>,
}

#[derive(Debug)]
pub(crate) struct State {
    half_open: usize,
    /// How many connections there are that have got beyond their handshake.
    known: usize,
    /// What there is from each address.
    addresses: BTreeMap<IpAddr, Origin>,
    ready: Backlog<(Link, Option<Unaccepted>)>,
    phase: Phase,
    /// How many lines about those who are refused there may be.
    quotas: Quotas,
    /// Who waits for something to accept, or for nothing to come any more.
    arrived: WakerSet,
    /// Who waits for a connection to be no longer half open.
    room: WakerSet,
    /// Who waits for a connection to be over.
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
    /// A connection is over.
    Quieter,
    /// The listener goes, or has gone.
    Gone,
}

/// What there is from one address.
#[derive(Debug, Default)]
struct Origin {
    connections: usize,
    /// How many of them are half open.
    half_open: usize,
}

impl State {
    /// Counts off what there is less from this address, and forgets it with the last of that.
    fn count_off(&mut self, address: IpAddr, less: impl FnOnce(&mut Origin)) {
        let Some(origin) = self.addresses.get_mut(&address) else {
            return;
        };
        less(origin);
        if (origin.connections, origin.half_open) == (0, 0) {
            self.addresses.remove(&address);
        }
    }

    fn poll_next(&mut self) -> Poll<Option<Result<Link, AcceptError>>> {
        match self.ready.pop() {
            Some(result) => Poll::Ready(Some(result.map(|(link, _unaccepted)| link))),
            None if matches!(self.phase, Phase::Closed | Phase::Gone(_)) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// All who wait for what there is to accept: a stream of links may have been woken for one and be
    /// kept without being polled.
    fn tell_arrived(&mut self) {
        self.arrived.wake_all(&mut self.later);
    }

    fn go_on_to(&mut self, phase: Phase) {
        self.phase = phase;
        self.gone.wake_all(&mut self.later);
        self.tell_arrived();
    }
}

impl Locked for State {
    fn later(&mut self) -> &mut Later {
        &mut self.later
    }
}

impl Waits for Hall {
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

impl Hall {
    pub(crate) fn new(limits: Limits, clock: &Clock) -> Arc<Self> {
        Arc::new(Self {
            state: Lock::new(State {
                half_open: 0,
                known: 0,
                addresses: BTreeMap::new(),
                ready: Backlog::new(limits.backlog),
                phase: Phase::Open,
                quotas: Quotas::new(limits.log_lines),
                arrived: WakerSet::default(),
                room: WakerSet::default(),
                quieter: WakerSet::default(),
                gone: WakerSet::default(),
                later: Later::default(),
            }),
            registry: Registry::new(limits),
            limits,
            clock: clock.clone(),
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
        waiting.poll(context, State::poll_next)
    }

    /// Waits for what [`Hall::poll_next`] gives.
    pub(crate) async fn next(&self) -> Option<Result<Link, AcceptError>> {
        self.wait(Happens::Arrived, State::poll_next).await
    }

    /// Puts the result of a handshake where it can be accepted, unless nobody wants to know.
    pub(crate) fn finish(&self, result: Result<Link, AcceptError>) {
        let result = result.map(|link| {
            let unaccepted = link.unaccepted();
            (link, unaccepted)
        });
        let forgotten = self.state.with(|state| {
            if state.phase != Phase::Open {
                // Closes a link.
                state.later.drop(Some(result));
                return None;
            }
            let forgotten = state.ready.push(result);
            state.tell_arrived();
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
        self.turn_away(AcceptError::new(peer, error));
    }

    pub(crate) fn turn_away(&self, error: AcceptError) {
        self.finish(Err(error));
    }

    /// Waits until one more connection may be half open.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        let limit = self.limits.half_open.max(1);
        self.wait(Happens::Room, |state| {
            if state.half_open >= limit {
                return Poll::Pending;
            }
            state.half_open += 1;
            Poll::Ready(())
        })
        .await;
        Place {
            hall: self.clone(),
            address: None,
        }
    }

    /// Counts a connection from this address, which is half open, unless there are as many as there
    /// may be.
    pub(crate) fn count(&self, address: IpAddr) -> io::Result<()> {
        let Limits {
            per_address,
            half_open_per_address,
            ..
        } = self.limits;
        let (count, what) = self.state.with(|state| {
            let there_are = state.addresses.entry(address).or_default();
            if there_are.connections >= per_address.max(1) {
                (there_are.connections, "connections")
            } else if there_are.half_open >= half_open_per_address.max(1) {
                (there_are.half_open, "handshakes under way")
            } else {
                there_are.connections += 1;
                there_are.half_open += 1;
                (0, "")
            }
        });
        if count == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "there are {count} {what} from this address, as many as the listener's limit allows"
        )))
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
        self.wait(Happens::Quieter, |state| match state.half_open {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Waits until all links have ended, and all is said on their connections.
    async fn drained(&self) {
        self.registry.drained().await;
        self.wait(Happens::Quieter, |state| match state.known {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
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

    /// Waits for the end that [`Hall::end`] begins. Links that do not close in time are abandoned.
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
        self.registry.abandon_rest()
    }
}

fn log_left_out(lines: u64) {
    if lines > 0 {
        tracing::warn!("{lines} more lines about refused connections were left out");
    }
}

/// Whose connections are counted together: those of one IPv4 address, or of one IPv6 network of 64
/// bits, which is what one subscriber has at least.
pub(crate) fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
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

/// The accepting task's hold of the hall: without it nobody comes in.
#[derive(Debug)]
pub struct Doors {
    pub(crate) hall: Arc<Hall>,
    pub(crate) setup: Setup,
    drained: Drained,
}

impl Doors {
    pub(crate) fn new(hall: Arc<Hall>, setup: Setup) -> Self {
        let drained = Drained::default();
        Self {
            hall,
            setup,
            drained,
        }
    }

    /// Waits until the listener is to go.
    pub(crate) async fn over(&mut self, timer: impl Timer) {
        self.drained = self.hall.over(timer).await;
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.hall.leave(self.drained);
    }
}

/// A place among the half-open connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) hall: Arc<Hall>,
    /// Whose it is, once that is known.
    pub(crate) address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let address = self.address;
        self.hall.state.with(|state| {
            state.half_open -= 1;
            if let Some(address) = address {
                state.count_off(address, |origin| origin.half_open -= 1);
            }
            state.room.wake_all(&mut state.later);
            state.quieter.wake_all(&mut state.later);
        });
    }
}

/// A connection that has got beyond its handshake, until it is over.
#[derive(Debug)]
pub(crate) struct Known(Arc<Hall>);

impl Known {
    pub(crate) fn new(hall: &Arc<Hall>) -> Self {
        hall.state.with(|state| state.known += 1);
        Self(hall.clone())
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.0.state.with(|state| {
            state.known -= 1;
            state.quieter.wake_all(&mut state.later);
        });
    }
}

/// One connection of those from its address, counted off when dropped.
#[derive(Debug)]
pub(crate) struct Counted(pub(crate) Option<(Arc<Hall>, IpAddr)>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((hall, address)) = self.0.take() {
            let count_off = |origin: &mut Origin| origin.connections -= 1;
            hall.state.with(|state| state.count_off(address, count_off));
        }
    }
}
