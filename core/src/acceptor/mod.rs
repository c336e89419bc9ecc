//! Routing of accepted connections: to their links, to new ones, or away.

mod incoming;
mod limits;
mod sessions;

use alloc::collections::BTreeMap;
use core::net::IpAddr;

pub use incoming::Incoming;
pub use limits::{
    DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS, DEFAULT_LINKS,
    DEFAULT_PER_ADDRESS, DEFAULT_SESSIONS, Limits, TooMany,
};
pub use sessions::{GoneSession, SessionId};

use self::limits::{counted_as, no_room};
use self::sessions::Sessions;
use crate::{EndReason, Event, Link, LinkState, Refusal};

/// Decides where an accepted connection goes: to the link that its peer returns to, to a new link,
/// or away. There is one for each listener.
///
/// `L` is how the caller finds a link: an index, a key, a reference. The caller
/// - accepts connections while [`has_room`](Self::has_room) says so, and counts each with
///   [`arrive`](Self::arrive), [`greeted`](Self::greeted) and [`depart`](Self::depart);
/// - makes an [`Incoming`] of it, moves its bytes, and does what [`route`](Self::route) says;
/// - passes each event of its links to [`follow`](Self::follow).
///
/// A session is found only by the peer that it is held with. Each link decides how long its session
/// is kept ([`Timeouts::retain`](crate::Timeouts::retain)); how many are kept without a connection
/// is decided here, as is everything in [`Limits`].
///
/// ```
/// use countersign_core::{
///     Acceptor, ReceiveChannel, SendChannel, Config, Incoming, Instant, Limits, Link, Output, Protocol, Role, Route,
/// };
///
/// let now = Instant::ZERO;
/// let mut acceptor = Acceptor::new(Limits::default());
/// let mut permit = acceptor.arrive(None)?;
/// let here = Config::new().channel(ReceiveChannel::new("video"));
/// let mut incoming = Incoming::new(&here, [1; 16])?;
/// incoming.handle_opened(now)?;
/// incoming.handle_secured(now, None)?;
/// assert!(matches!(acceptor.route(&mut incoming), Route::Wait));
///
/// // Its peer sends HELLO.
/// let there = Config::new().channel(SendChannel::new("video"));
/// let mut robot = Link::new(&there, Role::Opener, [2; 16])?;
/// robot.handle_opened(now)?;
/// robot.handle_secured(now, None)?;
/// let mut hello = [0; 1024];
/// let Output::Written(length) = robot.poll_output(now, &mut hello) else { unreachable!() };
/// incoming.handle_input(now, &hello[..length]);
///
/// let Route::New(mut place) = acceptor.route(&mut incoming) else { unreachable!() };
/// acceptor.greeted(&mut permit);
/// let mut link = incoming.accept(now).expect("the declarations fit");
/// acceptor.accepted(&mut place);
/// while let Some(event) = link.poll_event() {
///     assert!(acceptor.follow(&link, &event, || "the robot's").is_none());
/// }
/// assert_eq!(acceptor.links().next(), Some(&"the robot's"));
/// # acceptor.release(place);
/// # acceptor.depart(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Acceptor<L> {
    limits: Limits,
    sessions: Sessions<L>,
    half_open: usize,
    addresses: BTreeMap<IpAddr, Counts>,
    /// How many links there are, including those about to be.
    links: usize,
    /// How many of the links the application has not accepted yet.
    backlog: usize,
    /// Set once the acceptor is drained: how its links have ended.
    drained: Option<Drained>,
}

/// The connections from one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Counts {
    connections: usize,
    /// How many of the connections are half open.
    half_open: usize,
}

/// One connection's place in the counts, until [`Acceptor::depart`] takes it back.
#[derive(PartialEq, Eq, Hash, Debug)]
#[must_use = "a connection that is not counted off takes room for ever"]
pub struct ConnectionPermit {
    address: Option<IpAddr>,
    half_open: bool,
}

/// One link's place in the counts, until [`Acceptor::release`] takes it back.
#[derive(PartialEq, Eq, Hash, Debug)]
#[must_use = "a link that is not counted off takes room for ever"]
pub struct LinkPermit {
    in_backlog: bool,
}

/// Where a connection goes.
#[derive(PartialEq, Eq, Debug)]
pub enum Route<L> {
    /// Nowhere yet: the peer has not sent its request, or has its answer already.
    Wait,
    /// To this link, perhaps: [`Link::take_over`] decides. If it declines, or the link is gone,
    /// call [`Acceptor::route`] again.
    Resume(L),
    /// To a new link, for which there is room: [`Incoming::accept`], or [`Incoming::refuse`] for a
    /// reason of the application. Return the permit when the link has ended, or if it is not
    /// created.
    New(LinkPermit),
    /// Away, because there is no room: [`Incoming::refuse`].
    Refuse(Refusal),
}

/// What the caller has to do because of an event of a link.
#[derive(PartialEq, Eq, Debug)]
pub enum Consequence<L> {
    /// Evict this link ([`Link::evict`]): too many links wait for their peers.
    Evict(L),
    /// Close the link of this event: the acceptor is drained.
    Close,
}

/// How the links of a drained acceptor have ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Drained {
    /// How many were closed, with every message's verdict known.
    pub orderly: usize,
    /// How many ended otherwise: lost, or not closed in time.
    pub cut_short: usize,
}

impl<L> Default for Acceptor<L> {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl<L> Acceptor<L> {
    /// Creates an acceptor without links.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            sessions: Sessions::new(limits.sessions),
            limits,
            half_open: 0,
            addresses: BTreeMap::new(),
            links: 0,
            backlog: 0,
            drained: None,
        }
    }

    // Connections.

    /// Returns whether another connection may be accepted: fewer than [`Limits::half_open`] are
    /// half open. Otherwise connections wait where the system keeps them.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.half_open < self.limits.half_open.max(1)
    }

    /// Counts a connection that was accepted, from this address if it has one. It is half open.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if too many come from this address: the connection is to be closed.
    pub fn arrive(&mut self, address: Option<IpAddr>) -> Result<ConnectionPermit, TooMany> {
        let address = address.map(counted_as);
        if let Some(address) = address {
            let current = self.addresses.get(&address).copied().unwrap_or_default();
            if current.connections >= self.limits.per_address.max(1) {
                let count = current.connections;
                return Err(TooMany {
                    count,
                    half_open: false,
                });
            }
            if current.half_open >= self.limits.half_open_per_address.max(1) {
                let count = current.half_open;
                return Err(TooMany {
                    count,
                    half_open: true,
                });
            }
            let counts = self.addresses.entry(address).or_default();
            counts.connections += 1;
            counts.half_open += 1;
        }
        self.half_open += 1;
        Ok(ConnectionPermit {
            address,
            half_open: true,
        })
    }

    /// Notes that a connection is no longer half open: it belongs to a link.
    pub fn greeted(&mut self, permit: &mut ConnectionPermit) {
        if core::mem::take(&mut permit.half_open) {
            self.half_open -= 1;
            self.decrement(permit.address, |counts| counts.half_open -= 1);
        }
    }

    /// Notes that a connection is over.
    pub fn depart(&mut self, mut permit: ConnectionPermit) {
        self.greeted(&mut permit);
        self.decrement(permit.address, |counts| counts.connections -= 1);
    }

    /// Lowers the counts of this address, and removes the address with its last connection.
    fn decrement(&mut self, address: Option<IpAddr>, less: impl FnOnce(&mut Counts)) {
        let Some(address) = address else {
            return;
        };
        if let Some(counts) = self.addresses.get_mut(&address) {
            less(counts);
            if *counts == Counts::default() {
                self.addresses.remove(&address);
            }
        }
    }

    /// Returns how many connections are half open.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    // Links.

    /// Decides where a connection goes, once its peer has sent its request.
    ///
    /// Each link to which the connection may belong is returned once: the one whose session its
    /// peer names, and one that waits for the same peer, which may have been declared to end with
    /// its session. When they all decline, the connection becomes a new link.
    pub fn route(&mut self, incoming: &mut Incoming) -> Route<L>
    where
        L: Clone,
    {
        let Some(request) = incoming.request() else {
            return Route::Wait;
        };
        if let Some(link) = incoming.next_candidate(&self.sessions) {
            return Route::Resume(link.clone());
        }
        if self.drained.is_some() {
            let why = "the listener takes no more links, it is about to go";
            return Route::Refuse(Refusal::busy(why));
        }
        if let Some(why) = no_room(self.links, self.backlog, &self.limits) {
            return Route::Refuse(Refusal::busy(why));
        }
        incoming.remember(self.sessions.gone(request, incoming.peer()).cloned());
        self.links += 1;
        self.backlog += 1;
        Route::New(LinkPermit { in_backlog: true })
    }

    /// Notes that the application has accepted a link: it no longer counts in [`Limits::backlog`].
    pub fn accepted(&mut self, permit: &mut LinkPermit) {
        if core::mem::take(&mut permit.in_backlog) {
            self.backlog -= 1;
        }
    }

    /// Notes that a link has ended, or was not created.
    pub fn release(&mut self, mut permit: LinkPermit) {
        self.accepted(&mut permit);
        self.links -= 1;
    }

    /// Updates the sessions with an event of one of this acceptor's links. Call it with each event,
    /// or each that [changes a session](Event::changes_session), right after [`Link::poll_event`]
    /// has returned it and before the next call of [`route`](Self::route): what was not polled is
    /// not known here. `key` is how the caller finds the link.
    #[must_use]
    pub fn follow(
        &mut self,
        link: &Link,
        event: &Event,
        key: impl FnOnce() -> L,
    ) -> Option<Consequence<L>>
    where
        L: Clone,
    {
        match event {
            Event::Connected => {
                self.sessions.add(link.session(), link.peer(), key());
                return self.drained.is_some().then_some(Consequence::Close);
            }
            // Not if the peer has come back before its absence was noticed.
            Event::Lost(_) if link.state() == LinkState::Offline => {
                let evicted = self.sessions.lost(link.session()).cloned();
                return evicted.map(Consequence::Evict);
            }
            Event::Resumed => self.sessions.resumed(link.session()),
            Event::Ended => self.forget(link),
            _ => {}
        }
        None
    }

    fn forget(&mut self, link: &Link) {
        if self.sessions.remove(link.gone_session())
            && let Some(drained) = &mut self.drained
        {
            let orderly = link.end_reason().is_some_and(EndReason::is_closed);
            drained.orderly += usize::from(orderly);
            drained.cut_short += usize::from(!orderly);
        }
    }

    /// Returns the links, in the order of their sessions' ids.
    pub fn links(&self) -> impl Iterator<Item = &L> {
        self.sessions.links()
    }

    /// Returns how many links wait for their peers.
    #[must_use]
    pub fn away(&self) -> usize {
        self.sessions.away()
    }

    // Draining.

    /// Accepts no new links from here on. The caller closes the existing ones
    /// ([`links`](Self::links)), and each one that is connected later ([`Consequence::Close`]).
    pub fn drain(&mut self) {
        self.drained.get_or_insert_default();
    }

    /// Returns whether there are no links, and none about to be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links == 0
    }

    /// Returns how links have ended since [`drain`](Self::drain).
    #[must_use]
    pub fn drained(&self) -> Drained {
        self.drained.unwrap_or_default()
    }
}
