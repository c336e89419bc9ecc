//! Many links in one loop.

mod carrier;
mod happened;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use countersign_core::{
    Acceptor, ChannelConfig, CloseMode, CloseReason, Config, ConfigError, Disconnect, Drained,
    EndReason, Incoming, Instant, Limits, Link, LinkState, Refusal, Role,
};

use crate::link_error::LinkError;
use crate::peer::Peer;
use crate::security::{Security, random_seed};
use crate::setup_error::SetupError;
use crate::watch::Watch;

use carrier::{Admission, Carrier, Origin};
pub use happened::Happened;

/// A link of [`Links`], and a stream that was accepted: no other, and no listener, ever has the
/// same number there. A poller may know the stream by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub usize);

/// A listener of [`Links`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub usize);

/// Any number of links, opened and accepted, over streams of the owner's that do not block.
///
/// There is no I/O in here but the calls of these [streams](crate::Stream), no clock and no thread.
/// The owner
/// - accepts streams while a listener [has room](Self::has_room), and hands them in
///   ([`arrive`](Self::arrive));
/// - opens streams for those that are [`wanting`](Self::wanting), and hands them in
///   ([`opened`](Self::opened)) or says why not ([`not_opened`](Self::not_opened)). It gives up an
///   attempt that is not wanted any more, or takes longer than
///   [`Timeouts::handshake`](countersign_core::Timeouts::handshake);
/// - says which streams are [`ready`](Self::ready), or that [all may be](Self::ready_all);
/// - calls [`service`](Self::service) after all of these, after commands, and at the
///   [`deadline`](Self::deadline).
///
/// What comes back to which link, who is admitted and who is refused, take-over, eviction, and what
/// is said before a stream is dropped are seen to. Dropping this drops all streams.
///
/// `examples/own-loop` and `examples/readiness` are such owners.
pub struct Links<S> {
    /// Woken when identity and trust of a link are replaced.
    waker: Waker,
    /// How many links, streams and listeners there were: the number of the next.
    numbered: usize,
    listeners: BTreeMap<ListenerId, Listener>,
    arriving: BTreeMap<LinkId, (Incoming, Carrier<S>)>,
    links: BTreeMap<LinkId, (Link, Carrier<S>)>,
    /// Streams that carry other links than those of their numbers.
    moved: BTreeMap<LinkId, LinkId>,
    /// Tell where identity and trust are replaced.
    watches: BTreeMap<usize, Watch>,
    /// Those that a stream is to be opened for.
    wanting: BTreeSet<LinkId>,
    /// Those that need a turn now.
    ready: BTreeSet<LinkId>,
    /// When the others need one, each at most once, and the same by their numbers.
    deadlines: BTreeSet<(Instant, LinkId)>,
    armed: BTreeMap<LinkId, Instant>,
}

struct Listener {
    config: Config,
    security: Security,
    acceptor: Acceptor<LinkId>,
    /// The owner decides who gets a link.
    asks: bool,
    /// What links that come while it is drained are closed with.
    close_reason: CloseReason,
}

impl<S> fmt::Debug for Links<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("listeners", &self.listeners.len())
            .field("arriving", &self.arriving.len())
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

impl<S> Links<S> {
    /// None so far. `waker` is woken, from whichever thread, when identity and trust of a link are
    /// [replaced](Security::replace): [`service`](Self::service) should be called then. An owner
    /// that does not sleep has no use for it ([`Waker::noop`]).
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self {
            waker,
            numbered: 0,
            listeners: BTreeMap::new(),
            arriving: BTreeMap::new(),
            links: BTreeMap::new(),
            moved: BTreeMap::new(),
            watches: BTreeMap::new(),
            wanting: BTreeSet::new(),
            ready: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            armed: BTreeMap::new(),
        }
    }

    // Listeners.

    /// Makes a listener: what the owner accepts for it is handed in with [`arrive`](Self::arrive).
    /// Peers that have lost their connections come back to their links through it, so it should be
    /// kept as long as the links.
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds.
    pub fn listen(
        &mut self,
        config: &Config,
        security: &Security,
        limits: Limits,
    ) -> Result<ListenerId, ConfigError> {
        config.check()?;
        let id = ListenerId(self.number());
        self.watches.insert(id.0, security.watch());
        let listener = Listener {
            config: config.clone(),
            security: security.clone(),
            acceptor: Acceptor::new(limits),
            asks: false,
            close_reason: CloseReason::ALL_WELL,
        };
        self.listeners.insert(id, listener);
        Ok(id)
    }

    /// Has the owner decide about each peer that wants a link of a listener's and has proved who it
    /// is, instead of letting all in: [`Happened::Asks`] names it, and it waits for
    /// [`admit`](Self::admit) or [`refuse`](Self::refuse), no longer than
    /// [`Timeouts::handshake`](countersign_core::Timeouts::handshake). One that comes back to the
    /// link that it has is not asked about again.
    pub fn ask(&mut self, listener: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.asks = true;
        }
    }

    /// Gives a peer that was [asked](Happened::Asks) about its link, with these channels if not
    /// with those of the listener's declaration. Channels that make no sense are this end's
    /// mistake: the peer is refused for it
    /// ([`refuse::MISCONFIGURED`](countersign_core::refuse::MISCONFIGURED)).
    pub fn admit(&mut self, id: LinkId, channels: Option<Vec<ChannelConfig>>) {
        self.answer(id, Admission::Admitted(channels));
    }

    /// Turns a peer away that was [asked](Happened::Asks) about, and tells it why.
    pub fn refuse(&mut self, id: LinkId, refusal: Refusal) {
        self.answer(id, Admission::Refused(refusal));
    }

    fn answer(&mut self, id: LinkId, answer: Admission) {
        if let Some((_, carrier)) = self.arriving.get_mut(&id)
            && matches!(carrier.admission, Admission::Asked)
        {
            carrier.admission = answer;
            self.ready.insert(id);
        }
    }

    /// Returns whether a listener takes another stream just now ([`Limits::half_open`]).
    #[must_use]
    pub fn has_room(&self, listener: ListenerId) -> bool {
        let listener = self.listeners.get(&listener);
        listener.is_some_and(|listener| listener.acceptor.has_room())
    }

    /// Takes a stream that was accepted, made by `stream` under the number by which it is known
    /// here. What becomes of it, [`service`](Self::service) tells.
    ///
    /// # Errors
    ///
    /// That of `stream`; or as many streams come from this address as [`Limits`] allow, or the
    /// system has no randomness to give.
    pub fn arrive(
        &mut self,
        listener: ListenerId,
        from: SocketAddr,
        stream: impl FnOnce(LinkId) -> io::Result<S>,
    ) -> Result<LinkId, LinkError> {
        let taken = self.take_in(listener, from, stream);
        taken.map_err(LinkError::transport)
    }

    fn take_in(
        &mut self,
        id: ListenerId,
        from: SocketAddr,
        stream: impl FnOnce(LinkId) -> io::Result<S>,
    ) -> io::Result<LinkId> {
        let number = LinkId(self.number());
        let listener = self.listeners.get_mut(&id);
        let listener = listener.ok_or(io::ErrorKind::NotFound)?;
        let seed = random_seed().map_err(io::Error::other)?;
        let incoming = Incoming::new(&listener.config, seed).map_err(io::Error::other)?;
        let arrived = listener.acceptor.arrive(Some(from.ip()));
        let permit = arrived.map_err(io::Error::other)?;
        let stream = match stream(number) {
            Ok(stream) => stream,
            Err(error) => {
                listener.acceptor.depart(permit);
                return Err(error);
            }
        };
        let origin = Origin {
            listener: id,
            from,
            place: None,
        };
        let mut carrier = Carrier::new(&listener.security, Some(origin));
        carrier.connect(number, &incoming, stream, Some(permit));
        self.arriving.insert(number, (incoming, carrier));
        self.ready.insert(number);
        Ok(number)
    }

    /// Closes all links of a listener's for this reason, and admits no new ones. Peers still come
    /// back meanwhile, so streams are to be accepted until [`drained`](Self::drained) says that it
    /// is over.
    pub fn drain(&mut self, now: Instant, listener: ListenerId, reason: &CloseReason) {
        let Some(listener) = self.listeners.get_mut(&listener) else {
            return;
        };
        listener.acceptor.drain();
        listener.close_reason = reason.clone();
        for id in listener.acceptor.links() {
            if let Some((link, _)) = self.links.get_mut(id) {
                link.close_with(now, CloseMode::DrainBoth, reason.clone());
                self.ready.insert(*id);
            }
        }
    }

    /// Returns how the links of a listener have ended since it was drained, once all have and all
    /// is said.
    #[must_use]
    pub fn drained(&self, listener: ListenerId) -> Option<Drained> {
        let acceptor = &self.listeners.get(&listener)?.acceptor;
        let mut carriers = self.links.values().map(|(_, carrier)| carrier);
        let speak = carriers.any(|carrier| carrier.is_of(listener) && carrier.connection.is_some());
        (acceptor.is_empty() && !speak).then(|| acceptor.drained())
    }

    /// Abandons those links of a listener that have not ended: they had their time. Returns how all
    /// have ended since it was drained.
    pub fn abandon(&mut self, now: Instant, listener: ListenerId) -> Drained {
        let Some(listener) = self.listeners.get(&listener) else {
            return Drained::default();
        };
        let mut drained = listener.acceptor.drained();
        for id in listener.acceptor.links() {
            if let Some((link, _)) = self.links.get_mut(id) {
                link.handle_lost(now, Disconnect::Abandoned);
                self.ready.insert(*id);
                let orderly = link.end_reason().is_some_and(EndReason::is_closed);
                drained.orderly += usize::from(orderly);
                drained.cut_short += usize::from(!orderly);
            }
        }
        drained
    }

    /// Lets go of a listener, and of handshakes that are under way; those who are refused still
    /// hear so. Its links stay, but their peers can't come back to them any more.
    pub fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
        self.watches.remove(&listener.0);
        let stays = |carrier: &Carrier<S>| !carrier.is_of(listener) || carrier.forgotten;
        let gone: Vec<_> = self
            .arriving
            .iter()
            .filter(|(_, (_, carrier))| !stays(carrier))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.arriving.remove(&id);
            self.arm(id, None);
        }
    }

    // Links.

    /// Makes a link that this end opens, and opens again, as its declaration's
    /// [`Reconnect`](countersign_core::Reconnect) says: [`wanting`](Self::wanting) names it when it
    /// wants a stream.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give, or something is wrong with the declaration.
    pub fn open(&mut self, config: &Config, security: &Security) -> Result<LinkId, SetupError> {
        let made = Link::new(config, Role::Opener, random_seed()?);
        let link = made.map_err(|error| SetupError::Refused {
            detail: error.to_string(),
        })?;
        let id = LinkId(self.number());
        self.watches.insert(id.0, security.watch());
        self.links.insert(id, (link, Carrier::new(security, None)));
        self.ready.insert(id);
        Ok(id)
    }

    /// Returns the links that a stream is to be opened for.
    pub fn wanting(&self) -> impl Iterator<Item = LinkId> {
        self.wanting.iter().copied()
    }

    /// Takes a stream that was opened for a link that [wants](Self::wanting) one.
    pub fn opened(&mut self, id: LinkId, stream: S) {
        if self.wanting.remove(&id)
            && let Some((link, carrier)) = self.links.get_mut(&id)
        {
            carrier.connect(id, link, stream, None);
            self.ready.insert(id);
        }
    }

    /// Takes note that no stream could be opened for a link that [wants](Self::wanting) one.
    pub fn not_opened(&mut self, now: Instant, id: LinkId, error: io::Error) {
        if self.wanting.remove(&id)
            && let Some((link, carrier)) = self.links.get_mut(&id)
        {
            carrier.error_context.unopened(link, error);
            carrier.given_up = true;
            link.handle_lost(now, Disconnect::Transport);
            self.ready.insert(id);
        }
    }

    /// Returns who a link's peer has proved to be; `None` before it has, and in plain text.
    #[must_use]
    pub fn peer(&self, id: LinkId) -> Option<Peer> {
        self.links.get(&id)?.1.named()
    }

    /// Returns the stream that carries a link just now.
    #[must_use]
    pub fn stream(&self, id: LinkId) -> Option<&S> {
        let connection = self.links.get(&id)?.1.connection.as_ref();
        connection.map(|connection| &connection.stream)
    }

    /// Returns a link, for its getters.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        let (link, carrier) = self.links.get(&id)?;
        (!carrier.forgotten).then_some(link)
    }

    /// Returns a link, for its commands: to send, take, handle, reject, abandon and close. It has a
    /// turn in the next [`service`](Self::service), so none of them moves a byte by itself.
    ///
    /// This is also how a new link is accepted: from the first time on it does not count for
    /// [`Limits::backlog`] any more.
    pub fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let (link, carrier) = self.links.get_mut(&id)?;
        if carrier.forgotten {
            return None;
        }
        if let Some(origin) = &mut carrier.origin
            && let Some(place) = &mut origin.place
            && let Some(listener) = self.listeners.get_mut(&origin.listener)
        {
            listener.acceptor.accepted(place);
        }
        self.ready.insert(id);
        Some(link)
    }

    /// Returns why a link has ended, once it has.
    #[must_use]
    pub fn error(&self, id: LinkId) -> Option<LinkError> {
        let (link, carrier) = self.links.get(&id)?;
        carrier.error_context.of_end(link)
    }

    /// Takes a link away. One that has not ended is abandoned: without its peer's consent. What is
    /// left to say to the peer goes out in the turns to come.
    pub fn forget(&mut self, now: Instant, id: LinkId) {
        if let Some((link, carrier)) = self.links.get_mut(&id) {
            if !matches!(link.state(), LinkState::Finishing | LinkState::Ended) {
                link.handle_lost(now, Disconnect::Abandoned);
            }
            carrier.forgotten = true;
            self.ready.insert(id);
        }
    }

    /// Returns how many links there are, those among them whose handshake is under way, and those
    /// that have ended and are not gone yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len() + self.arriving.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // Turns.

    /// Takes note that there may be something to read from a stream, or room to write: the one that
    /// arrived under this number, or was opened for this link.
    pub fn ready(&mut self, id: LinkId) {
        let owner = self.moved.get(&id).copied();
        self.ready.insert(owner.unwrap_or(id));
    }

    /// The same for all streams: for an owner that does not know which.
    pub fn ready_all(&mut self) {
        self.ready.extend(self.arriving.keys());
        self.ready.extend(self.links.keys());
    }

    /// Returns when [`service`](Self::service) is to be called even if nothing happens;
    /// [`Instant::ZERO`] for at once, `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Notes when one needs a turn.
    fn arm(&mut self, id: LinkId, deadline: Option<Instant>) {
        if let Some(former) = self.armed.remove(&id) {
            self.deadlines.remove(&(former, id));
        }
        if let Some(deadline) = deadline {
            self.armed.insert(id, deadline);
            self.deadlines.insert((deadline, id));
        }
    }

    fn number(&mut self) -> usize {
        self.numbered += 1;
        self.numbered - 1
    }
}
