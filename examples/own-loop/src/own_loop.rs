//! All links of one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use countersign_core::{CloseMode, Config, Disconnect, Instant, Life, Link, Role};
use countersign_endpoint::{LinkError, Peer as Known, Security, SetupError, random_seed};
use mio::{Events, Poll, Token, Waker};

use crate::happened::{LinkId, ListenerId};
use crate::listener::{Limits, Listener};
use crate::peer::{Origin, Peer};

/// The poller's name for the [waker](OwnLoop::waker). Sockets are numbered from zero.
const WAKE: Token = Token(usize::MAX);

/// Any number of links, opened and accepted, in one thread: the caller's.
///
/// Nothing happens but in [`service`](Self::service), which never blocks and is told what time it
/// is. See the [crate](crate) for a loop around it. Dropping it drops all connections.
#[derive(Debug)]
pub struct OwnLoop {
    pub(crate) poll: Poll,
    pub(crate) found: Events,
    waker: Arc<Waker>,
    pub(crate) rotation: Arc<Rotation>,
    /// How many links and listeners there were: the number of the next.
    pub(crate) numbered: usize,
    pub(crate) listeners: BTreeMap<ListenerId, Listener>,
    pub(crate) peers: BTreeMap<LinkId, Peer>,
    /// Those who need a turn now.
    pub(crate) ready: BTreeSet<LinkId>,
    /// When the others need one, each at most once.
    pub(crate) deadlines: BTreeSet<(Instant, LinkId)>,
}

impl OwnLoop {
    /// A loop without links.
    ///
    /// # Errors
    ///
    /// The system has no poller to give.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let rotation = Arc::new(Rotation {
            waker: waker.clone(),
            due: AtomicBool::new(false),
        });
        Ok(Self {
            rotation,
            poll,
            found: Events::with_capacity(1024),
            waker,
            numbered: 0,
            listeners: BTreeMap::new(),
            peers: BTreeMap::new(),
            ready: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        })
    }

    /// Wakes [`wait`](Self::wait), from any thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    // Links and listeners.

    /// Listens on an address, port 0 for any. Peers that have lost their connections come back to
    /// their links through it, so keep it as long as the links.
    ///
    /// # Errors
    ///
    /// What the system says, or what is wrong with the declaration.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        config: &Config,
        security: &Security,
        limits: Limits,
    ) -> io::Result<ListenerId> {
        let number = self.number();
        let registry = self.poll.registry();
        let listener = Listener::bind(address, config, security, limits, registry, Token(number))?;
        self.listeners.insert(ListenerId(number), listener);
        Ok(ListenerId(number))
    }

    /// Where a listener listens.
    #[must_use]
    pub fn address(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.listeners.get(&listener)?.address().ok()
    }

    /// Lets go of a listener's address, and of handshakes that are under way. Its links stay, but
    /// their peers can't come back to them any more.
    pub fn unlisten(&mut self, now: Instant, listener: ListenerId) {
        self.listeners.remove(&listener);
        for (id, peer) in &mut self.peers {
            match peer.origin() {
                Origin::Accepted {
                    listener: its,
                    told: false,
                    ..
                } if its == listener => {
                    peer.link_mut().close(now, CloseMode::Withdraw);
                    self.ready.insert(*id);
                }
                _ => {}
            }
        }
    }

    /// Makes a link that this end opens, and opens again, as its declaration's
    /// [`Reconnect`](countersign_core::Reconnect) says. It begins with the next turn, and is the
    /// caller's from here on: [`Event::Connected`](countersign_core::Event::Connected) tells that it is up.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give, or something is wrong with the declaration.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        config: &Config,
        security: &Security,
    ) -> Result<LinkId, SetupError> {
        let link = make(config, Role::Opener)?;
        let peer = Peer::new(link, security.clone(), Origin::Opened(address));
        Ok(self.add(peer))
    }

    /// Who a link's peer has proved to be; `None` before it has, and in plain text.
    #[must_use]
    pub fn peer(&self, id: LinkId) -> Option<Known> {
        self.peers.get(&id)?.known()
    }

    /// A link, for its getters.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.peers
            .get(&id)
            .filter(|peer| !peer.forgotten)
            .map(Peer::link)
    }

    /// A link, for its commands: to send, take, handle, reject, abandon and close. It has a turn
    /// in the next [`service`](Self::service), so none of them moves a byte by itself.
    pub fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let peer = self.peers.get_mut(&id).filter(|peer| !peer.forgotten)?;
        self.ready.insert(id);
        Some(peer.link_mut())
    }

    /// Why a link has ended.
    #[must_use]
    pub fn error(&self, id: LinkId) -> Option<LinkError> {
        self.peers.get(&id)?.error()
    }

    /// Takes a link away. One that has not ended is abandoned: without its peer's consent. What is
    /// left to say to the peer goes out in the turns to come.
    pub fn forget(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.link_mut(id)
            && !matches!(link.life(), Life::Finishing | Life::Ended)
        {
            link.handle_lost(now, Disconnect::Abandoned);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.forgotten = true;
        }
    }

    /// How many links there are, those among them whose handshake is under way, and those that
    /// have ended and are not gone yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(crate) fn number(&mut self) -> usize {
        self.numbered += 1;
        self.numbered - 1
    }

    fn add(&mut self, peer: Peer) -> LinkId {
        let id = LinkId(self.number());
        self.peers.insert(id, peer);
        self.ready.insert(id);
        id
    }
}

/// Hears when the identity and the pins of any link are replaced, from whichever thread, and wakes
/// the loop.
#[derive(Debug)]
pub(crate) struct Rotation {
    waker: Arc<Waker>,
    due: AtomicBool,
}

impl Rotation {
    /// Whether links have to be looked at for it: yes once.
    pub(crate) fn take(&self) -> bool {
        self.due.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Rotation {
    fn wake(self: Arc<Self>) {
        self.due.store(true, Ordering::Release);
        // A poller that can't be woken is no poller any more, and says so when it is asked.
        let _ = self.waker.wake();
    }
}

/// A link with a seed of its own.
pub(crate) fn make(config: &Config, role: Role) -> Result<Link, SetupError> {
    Link::new(config, role, random_seed()?).map_err(|error| SetupError::Refused {
        detail: error.to_string(),
    })
}
