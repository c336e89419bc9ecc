//! Where a listener's connections are until the application accepts them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use countersign_core::{Config, EndReason};
use event_listener::{Event, EventListener};

use crate::accept::{AcceptError, Backlog, Drained, Limits};
use crate::driver::{Driver, Never, Timer, Transport};
use crate::error::LinkError;
use crate::establish::{Connecting, Setup};
use crate::link::Link;
use crate::registry::{Registry, Unaccepted};

/// What a listener's handle and its accepting task share.
#[derive(Debug)]
pub(crate) struct Hall {
    state: Mutex<State>,
    limits: Limits,
    /// The links that peers can return to.
    pub(crate) registry: Arc<Registry>,
    /// Something waits to be accepted, or nothing will any more.
    arrived: Event,
    /// A connection is no longer half open.
    room: Event,
    /// A connection is over.
    quieter: Event,
    /// The listener goes, or has gone.
    gone: Event,
}

#[derive(Debug)]
struct State {
    half_open: usize,
    /// How many connections there are that have got beyond their handshake.
    known: usize,
    /// What there is from each address.
    addresses: BTreeMap<IpAddr, Origin>,
    ready: Backlog<(Link, Option<Unaccepted>)>,
    phase: Phase,
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

    fn take_next(&mut self) -> Option<Option<Result<Link, AcceptError>>> {
        match self.ready.pop() {
            Some(result) => Some(Some(result.map(|(link, _unaccepted)| link))),
            None if matches!(self.phase, Phase::Closed | Phase::Gone(_)) => Some(None),
            None => None,
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
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                half_open: 0,
                known: 0,
                addresses: BTreeMap::new(),
                ready: Backlog::new(limits.backlog),
                phase: Phase::Open,
            }),
            registry: Registry::new(limits),
            limits,
            arrived: Event::new(),
            room: Event::new(),
            quieter: Event::new(),
            gone: Event::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state; where it has not what is asked for, gives what tells of the next of these
    /// events.
    fn look<R>(
        &self,
        event: &Event,
        look: impl FnOnce(&mut State) -> Option<R>,
    ) -> Result<R, EventListener> {
        let mut state = self.lock();
        // Hears of everything from here on, so nothing is missed in between.
        look(&mut state).ok_or_else(|| event.listen())
    }

    /// Looks at the state again after each of these events, until it has what is asked for.
    async fn wait<R>(&self, event: &Event, mut look: impl FnMut(&mut State) -> Option<R>) -> R {
        loop {
            match self.look(event, &mut look) {
                Ok(found) => return found,
                Err(changed) => changed.await,
            }
        }
    }

    /// What has waited longest to be accepted, or what tells when it is worth looking again;
    /// `None` when nothing will come any more.
    pub(crate) fn next_or_listen(
        &self,
    ) -> Result<Option<Result<Link, AcceptError>>, EventListener> {
        self.look(&self.arrived, State::take_next)
    }

    /// Waits for what [`Hall::next_or_listen`] gives.
    pub(crate) async fn next(&self) -> Option<Result<Link, AcceptError>> {
        self.wait(&self.arrived, State::take_next).await
    }

    /// Puts the result of a handshake where it can be accepted, unless nobody wants to know.
    fn finish(&self, result: Result<Link, AcceptError>) {
        let result = result.map(|link| {
            let unaccepted = link.unaccepted();
            (link, unaccepted)
        });
        let mut state = self.lock();
        if state.phase != Phase::Open {
            drop(state);
            // Closes a link, which needs its lock.
            drop(result);
            return;
        }
        state.ready.push(result);
        drop(state);
        // All who wait: a stream of links may have been woken for one and be kept without being polled.
        self.arrived.notify(usize::MAX);
    }

    /// One connection did not become a link.
    pub(crate) fn refuse(&self, peer: Option<SocketAddr>, error: LinkError) {
        self.finish(Err(AcceptError::new(peer, error)));
    }

    /// Waits until one more connection may be half open.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        let limit = self.limits.half_open.max(1);
        self.wait(&self.room, |state| {
            let free = state.half_open < limit;
            state.half_open += usize::from(free);
            free.then_some(())
        })
        .await;
        Place {
            hall: self.clone(),
            address: None,
        }
    }

    /// Counts a connection from this address, which is half open, unless there are as many as there
    /// may be.
    fn count(&self, address: IpAddr) -> io::Result<()> {
        let mut state = self.lock();
        let Limits {
            per_address,
            half_open_per_address,
            ..
        } = self.limits;
        let there_are = state.addresses.entry(address).or_default();
        let (count, what) = if there_are.connections >= per_address.max(1) {
            (there_are.connections, "connections")
        } else if there_are.half_open >= half_open_per_address.max(1) {
            (there_are.half_open, "handshakes under way")
        } else {
            there_are.connections += 1;
            there_are.half_open += 1;
            return Ok(());
        };
        Err(io::Error::other(format!(
            "there are {count} {what} from this address, as many as the listener's limit allows"
        )))
    }

    /// Begins the end, or hastens it: no new links from here on.
    pub(crate) fn end(&self, phase: Phase) {
        let mut state = self.lock();
        let unwanted = state.ready.take_all();
        state.phase = state.phase.then(phase);
        drop(state);
        // Closes the links that nobody accepted.
        drop(unwanted);
        self.gone.notify(usize::MAX);
        self.arrived.notify(usize::MAX);
    }

    /// The socket is gone.
    fn leave(&self, drained: Drained) {
        self.end(Phase::Closed);
        self.lock().phase = Phase::Gone(drained);
        self.gone.notify(usize::MAX);
        self.arrived.notify(usize::MAX);
    }

    /// Waits until the socket is gone.
    pub(crate) async fn left(&self) -> Drained {
        self.wait(&self.gone, |state| match state.phase {
            Phase::Gone(drained) => Some(drained),
            _ => None,
        })
        .await
    }

    /// Waits until everybody who was refused has heard so, or has had the time for it.
    pub(crate) async fn silent(&self) {
        // Who was in a handshake when the socket closed is given up without a word.
        let silent = |state: &mut State| (state.half_open == 0).then_some(());
        self.wait(&self.quieter, silent).await;
    }

    /// Waits until all links have ended, and all is said on their connections.
    async fn drained(&self) {
        self.registry.drained().await;
        let silent = |state: &mut State| (state.known == 0).then_some(());
        self.wait(&self.quieter, silent).await;
    }

    /// Waits until nobody may come in any more.
    async fn closed(&self) {
        self.wait(&self.gone, |state| {
            matches!(state.phase, Phase::Closed | Phase::Gone(_)).then_some(())
        })
        .await;
    }

    /// Waits for the end that [`Hall::end`] begins. Links that do not close in time are abandoned.
    async fn over(&self, mut timer: impl Timer) -> Drained {
        let begun = |state: &mut State| (state.phase != Phase::Open).then_some(());
        self.wait(&self.gone, begun).await;
        if !matches!(self.lock().phase, Phase::Draining { .. }) {
            return Drained::default();
        }
        let mut drained = pin!(self.drained());
        let mut hastened = self.gone.listen();
        poll_fn(|context| {
            while Pin::new(&mut hastened).poll(context).is_ready() {
                hastened = self.gone.listen();
            }
            let phase = self.lock().phase;
            let Phase::Draining { until } = phase else {
                return Poll::Ready(());
            };
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

/// Whose connections are counted together: those of one IPv4 address, or of one IPv6 network of 64
/// bits, which is what one subscriber has at least.
fn whose(address: IpAddr) -> IpAddr {
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
    hall: Arc<Hall>,
    /// Whose it is, once that is known.
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hall.lock();
        state.half_open -= 1;
        let address = self.address;
        if let Some(address) = address {
            state.count_off(address, |origin| origin.half_open -= 1);
        }
        drop(state);
        self.hall.room.notify(1);
        self.hall.quieter.notify(usize::MAX);
    }
}

/// A connection that has got beyond its handshake, until it is over.
#[derive(Debug)]
struct Known(Arc<Hall>);

impl Known {
    fn new(hall: &Arc<Hall>) -> Self {
        hall.lock().known += 1;
        Self(hall.clone())
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.0.lock().known -= 1;
        self.0.quieter.notify(usize::MAX);
    }
}

/// One connection of those from its address, counted off when dropped.
#[derive(Debug)]
struct Counted(Option<(Arc<Hall>, IpAddr)>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((hall, address)) = self.0.take() {
            let count_off = |origin: &mut Origin| origin.connections -= 1;
            hall.lock().count_off(address, count_off);
        }
    }
}

/// A connection that was let in: what it takes to make a link of it.
#[derive(Debug)]
pub struct Guest {
    place: Place,
    counted: Counted,
    peer: Option<SocketAddr>,
    setup: Setup,
}

impl Guest {
    /// Lets a connection in, unless there are too many from its address.
    pub(crate) fn admit(
        mut place: Place,
        peer: Option<SocketAddr>,
        setup: &Setup,
    ) -> io::Result<Self> {
        let address = peer.map(|peer| whose(peer.ip()));
        if let Some(address) = address {
            place.hall.count(address)?;
        }
        place.address = address;
        Ok(Self {
            counted: Counted(address.map(|address| (place.hall.clone(), address))),
            place,
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
        let hall = self.place.hall.clone();
        hall.refuse(self.peer, LinkError::transport(error));
    }

    /// Makes a link of the connection: one for the application to accept, or the one to which its
    /// peer returns.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn serve<T: Transport>(self, transport: T) -> io::Result<Served<T>> {
        let hall = self.place.hall.clone();
        let made = Connecting::accept(&self.setup, transport, self.peer, &hall.registry);
        let (connecting, driver) = made.map_err(io::Error::other)?;
        Ok(Served {
            driver,
            hall: hall.clone(),
            counted: self.counted,
            greeting: Box::pin(greet(hall, self.place, self.peer, connecting)),
        })
    }
}

/// Waits for the end of a handshake; when the listener goes, that gives the connection up. A
/// connection that was refused keeps its place until it is gone.
async fn greet(
    hall: Arc<Hall>,
    place: Place,
    peer: Option<SocketAddr>,
    connecting: Connecting,
) -> Option<Place> {
    let (mut accepted, mut closed) = (pin!(connecting.accepted()), pin!(hall.closed()));
    let result = poll_fn(|context| match accepted.as_mut().poll(context) {
        Poll::Pending if closed.as_mut().poll(context).is_ready() => Poll::Ready(None),
        result => result.map(Some),
    });
    match result.await {
        // The listener is gone, or the peer has returned to a link that was accepted before.
        None | Some(None) => None,
        // It is told so, and nobody else needs to know.
        Some(Some(Err(error))) if *error.reason() == EndReason::Stale => Some(place),
        Some(Some(Ok(link))) => {
            drop(place);
            hall.finish(Ok(link));
            None
        }
        Some(Some(Err(error))) => {
            hall.refuse(peer, error);
            Some(place)
        }
    }
}

/// A connection that a listener has let in, with all that is left to do for it.
pub struct Served<T: Transport> {
    driver: Driver<Never<T>>,
    hall: Arc<Hall>,
    counted: Counted,
    greeting: Pin<Box<dyn Future<Output = Option<Place>> + Send>>,
}

impl<T: Transport> std::fmt::Debug for Served<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

impl<T: Transport> Served<T> {
    /// Drives the connection until it is over.
    pub async fn run(self, timer: impl Timer) {
        let Self {
            driver,
            hall,
            counted,
            greeting,
        } = self;
        let mut greeting = Some(greeting);
        let (mut kept, mut known) = (None, None);
        let mut driving = pin!(driver.run(timer));
        poll_fn(|context| {
            let over = driving.as_mut().poll(context).is_ready();
            if let Some(waits) = &mut greeting
                && let Poll::Ready(place) = waits.as_mut().poll(context)
            {
                kept = place;
                known = Some(Known::new(&hall));
                greeting = None;
            }
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop((kept, known, counted));
    }
}
