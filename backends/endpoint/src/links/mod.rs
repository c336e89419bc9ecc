//! Many links in one loop.

mod context;
mod event;
mod service;

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

use context::{Admission, LinkContext, Origin};
pub use event::LinksEvent;

/// The id of a link of [`Links`], or of an accepted stream: unique among all links, streams and
/// listeners there, and never reused. It may serve as the stream's token in a poller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub usize);

/// A listener of [`Links`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub usize);

/// Any number of links, opened and accepted, over the owner's non-blocking streams.
///
/// Does no I/O except through these [streams](crate::Stream), and has no clock and no threads. The
/// owner
/// - accepts streams while a listener [has room](Self::has_room), and passes them to
///   [`arrive`](Self::arrive);
/// - opens streams for those that are [`wanting`](Self::wanting), and passes them to
///   [`opened`](Self::opened), or the error to [`not_opened`](Self::not_opened). It cancels an
///   attempt that is no longer wanted, or takes longer than
///   [`Timeouts::handshake`](countersign_core::Timeouts::handshake);
/// - reports which streams are [`ready`](Self::ready), or that [all may be](Self::ready_all);
/// - calls [`service`](Self::service) after all of these, after commands, and at the
///   [`deadline`](Self::deadline).
///
/// Resuming, admission and refusal of peers, take-over, eviction, and the output that is due before
/// a stream is dropped are taken care of. Dropping this drops all streams.
///
/// `examples/own-loop` and `examples/readiness` are such owners.
pub struct Links<S> {
    /// Woken when identity and trust of a link are replaced.
    waker: Waker,
    /// How many ids were given out: the number of the next.
    next_id: usize,
    listeners: BTreeMap<ListenerId, Listener>,
    arriving: BTreeMap<LinkId, (Incoming, LinkContext<S>)>,
    links: BTreeMap<LinkId, (Link, LinkContext<S>)>,
    /// Streams that carry a link with another number than theirs, with that link.
    moved: BTreeMap<LinkId, LinkId>,
    /// Notify when identity and trust are replaced.
    watches: BTreeMap<usize, Watch>,
    /// Links that a stream is to be opened for.
    wanting: BTreeSet<LinkId>,
    /// Those that need a turn now.
    ready: BTreeSet<LinkId>,
    /// When the others need one, each at most once; `armed` has the same by their numbers.
    deadlines: BTreeSet<(Instant, LinkId)>,
    armed: BTreeMap<LinkId, Instant>,
}

struct Listener {
    config: Config,
    security: Security,
    acceptor: Acceptor<LinkId>,
    /// The owner decides which peers get a link.
    asks: bool,
    /// The close reason of links that are accepted while it is drained.
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
    /// Makes an empty set. `waker` is woken, from any thread, when identity and trust of a link are
    /// [replaced](Security::replace): [`service`](Self::service) should be called then. An owner
    /// that does not sleep may pass [`Waker::noop`].
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self {
            waker,
            next_id: 0,
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

    /// Makes a listener: the owner passes the streams that it accepts for it to
    /// [`arrive`](Self::arrive). Peers that have lost their connections resume their links through
    /// it, so it should be kept as long as the links.
    ///
    /// # Errors
    ///
    /// The problem that [`Config::check`] finds.
    pub fn listen(
        &mut self,
        config: &Config,
        security: &Security,
        limits: Limits,
    ) -> Result<ListenerId, ConfigError> {
        config.check()?;
        let id = ListenerId(self.allocate_id());
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

    /// Has the owner decide about each authenticated peer that wants a link from a listener,
    /// instead of admitting all: [`LinksEvent::Asks`] names the peer, which waits for
    /// [`admit`](Self::admit) or [`refuse`](Self::refuse), no longer than
    /// [`Timeouts::handshake`](countersign_core::Timeouts::handshake). A peer that resumes its link
    /// is not asked about again.
    pub fn ask(&mut self, listener: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.asks = true;
        }
    }

    /// Admits a peer that was [asked](LinksEvent::Asks) about, with these channels or, if `None`,
    /// with those of the listener's declaration. Invalid channels are this end's mistake: the peer
    /// is refused then ([`refuse::MISCONFIGURED`](countersign_core::refuse::MISCONFIGURED)).
    pub fn admit(&mut self, id: LinkId, channels: Option<Vec<ChannelConfig>>) {
        self.answer(id, Admission::Admitted(channels));
    }

    /// Refuses a peer that was [asked](LinksEvent::Asks) about, with the reason.
    pub fn refuse(&mut self, id: LinkId, refusal: Refusal) {
        self.answer(id, Admission::Refused(refusal));
    }

    fn answer(&mut self, id: LinkId, answer: Admission) {
        if let Some((_, context)) = self.arriving.get_mut(&id)
            && matches!(context.admission, Admission::Asked)
        {
            context.admission = answer;
            self.ready.insert(id);
        }
    }

    /// Whether a listener takes another stream at present ([`Limits::half_open`]).
    #[must_use]
    pub fn has_room(&self, listener: ListenerId) -> bool {
        let listener = self.listeners.get(&listener);
        listener.is_some_and(|listener| listener.acceptor.has_room())
    }

    /// Takes an accepted stream, which `stream` makes with the number that it has here.
    /// [`service`](Self::service) reports what becomes of it.
    ///
    /// # Errors
    ///
    /// The error of `stream`; or this address has as many streams as [`Limits`] allow, or the
    /// system provides no randomness.
    pub fn arrive(
        &mut self,
        listener: ListenerId,
        from: SocketAddr,
        stream: impl FnOnce(LinkId) -> io::Result<S>,
    ) -> Result<LinkId, LinkError> {
        let taken = self.accept_stream(listener, from, stream);
        taken.map_err(LinkError::transport)
    }

    fn accept_stream(
        &mut self,
        id: ListenerId,
        from: SocketAddr,
        stream: impl FnOnce(LinkId) -> io::Result<S>,
    ) -> io::Result<LinkId> {
        let number = LinkId(self.allocate_id());
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
            permit: None,
        };
        let mut context = LinkContext::new(&listener.security, Some(origin));
        context.connect(number, &incoming, stream, Some(permit));
        self.arriving.insert(number, (incoming, context));
        self.ready.insert(number);
        Ok(number)
    }

    /// Closes all links of a listener for this reason, and admits no new ones. Peers may still
    /// resume their links meanwhile, so streams are to be accepted until [`drained`](Self::drained)
    /// returns a result.
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

    /// Returns how the links of a listener have ended since [`drain`](Self::drain), once all have
    /// ended and their connections are closed.
    #[must_use]
    pub fn drained(&self, listener: ListenerId) -> Option<Drained> {
        let acceptor = &self.listeners.get(&listener)?.acceptor;
        let mut contexts = self.links.values().map(|(_, context)| context);
        let connected =
            contexts.any(|context| context.is_of(listener) && context.connection.is_some());
        (acceptor.is_empty() && !connected).then(|| acceptor.drained())
    }

    /// Abandons those links of a listener that have not ended in time. Returns how all have ended
    /// since [`drain`](Self::drain).
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

    /// Removes a listener, and drops handshakes in progress; refusals are still sent. Its links
    /// stay, but their peers can no longer resume them.
    pub fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
        self.watches.remove(&listener.0);
        let stays = |context: &LinkContext<S>| !context.is_of(listener) || context.forgotten;
        let gone: Vec<_> = self
            .arriving
            .iter()
            .filter(|(_, (_, context))| !stays(context))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.arriving.remove(&id);
            self.arm(id, None);
        }
    }

    // Links.

    /// Makes a link that this end opens, and reopens according to its declaration's
    /// [`Reconnect`](countersign_core::Reconnect): [`wanting`](Self::wanting) returns it when it
    /// wants a stream.
    ///
    /// # Errors
    ///
    /// The system provides no randomness, or the declaration is invalid.
    pub fn open(&mut self, config: &Config, security: &Security) -> Result<LinkId, SetupError> {
        let made = Link::new(config, Role::Opener, random_seed()?);
        let link = made.map_err(|error| SetupError::Refused {
            detail: error.to_string(),
        })?;
        let id = LinkId(self.allocate_id());
        self.watches.insert(id.0, security.watch());
        self.links
            .insert(id, (link, LinkContext::new(security, None)));
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
            && let Some((link, context)) = self.links.get_mut(&id)
        {
            context.connect(id, link, stream, None);
            self.ready.insert(id);
        }
    }

    /// Reports that no stream could be opened for a link that [wants](Self::wanting) one.
    pub fn not_opened(&mut self, now: Instant, id: LinkId, error: io::Error) {
        if self.wanting.remove(&id)
            && let Some((link, context)) = self.links.get_mut(&id)
        {
            context.error_context.unopened(link, error);
            context.connection_lost = true;
            link.handle_lost(now, Disconnect::Transport);
            self.ready.insert(id);
        }
    }

    /// Returns the identity that a link's peer has proved; `None` before it has, and in plaintext.
    #[must_use]
    pub fn peer(&self, id: LinkId) -> Option<Peer> {
        self.links.get(&id)?.1.current_peer()
    }

    /// Returns the stream that carries a link at present.
    #[must_use]
    pub fn stream(&self, id: LinkId) -> Option<&S> {
        let connection = self.links.get(&id)?.1.connection.as_ref();
        connection.map(|connection| &connection.stream)
    }

    /// Returns a link, for its getters.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        let (link, context) = self.links.get(&id)?;
        (!context.forgotten).then_some(link)
    }

    /// Returns a link, for its commands: to send, take, handle, reject, abandon and close. None of
    /// them moves a byte: that happens in the next [`service`](Self::service).
    ///
    /// The first call for a new link accepts it: it no longer counts towards [`Limits::backlog`]
    /// then.
    pub fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let (link, context) = self.links.get_mut(&id)?;
        if context.forgotten {
            return None;
        }
        if let Some(origin) = &mut context.origin
            && let Some(permit) = &mut origin.permit
            && let Some(listener) = self.listeners.get_mut(&origin.listener)
        {
            listener.acceptor.accepted(permit);
        }
        self.ready.insert(id);
        Some(link)
    }

    /// Returns why a link has ended, once it has.
    #[must_use]
    pub fn error(&self, id: LinkId) -> Option<LinkError> {
        let (link, context) = self.links.get(&id)?;
        context.error_context.of_end(link)
    }

    /// Removes a link. One that has not ended is abandoned, without the peer's consent. Output that
    /// is left for the peer is sent in the next turns.
    pub fn forget(&mut self, now: Instant, id: LinkId) {
        if let Some((link, context)) = self.links.get_mut(&id) {
            if !matches!(link.state(), LinkState::Finishing | LinkState::Ended) {
                link.handle_lost(now, Disconnect::Abandoned);
            }
            context.forgotten = true;
            self.ready.insert(id);
        }
    }

    /// Returns the number of links, including those whose handshake is in progress, and those that
    /// have ended and are not removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len() + self.arriving.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // Turns.

    /// Reports that there may be something to read from a stream, or room to write: the one that
    /// arrived with this number, or was opened for this link.
    pub fn ready(&mut self, id: LinkId) {
        let owner = self.moved.get(&id).copied();
        self.ready.insert(owner.unwrap_or(id));
    }

    /// As [`ready`](Self::ready), for all streams: for an owner that does not know which are.
    pub fn ready_all(&mut self) {
        self.ready.extend(self.arriving.keys());
        self.ready.extend(self.links.keys());
    }

    /// Returns when [`service`](Self::service) must be called even if nothing happens;
    /// [`Instant::ZERO`] for at once, `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Sets when one needs a turn.
    fn arm(&mut self, id: LinkId, deadline: Option<Instant>) {
        if let Some(former) = self.armed.remove(&id) {
            self.deadlines.remove(&(former, id));
        }
        if let Some(deadline) = deadline {
            self.armed.insert(id, deadline);
            self.deadlines.insert((deadline, id));
        }
    }

    fn allocate_id(&mut self) -> usize {
        self.next_id += 1;
        self.next_id - 1
    }
}
