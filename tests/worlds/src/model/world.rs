//! A state of the search.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Acceptor, Bytes, Instant, Limits, Link, LinkState, Role, Route};

use crate::mistakes;

use super::account::Account;
use super::{End, MUCH_LATER, Setup, TIMES};
use crate::any_link::AnyLink;

/// A link, or what may become one, shared by all states in which it is the same.
#[derive(Clone, Debug)]
pub(super) struct Part {
    link: Arc<AnyLink>,
    digest: u64,
    /// Since the digest was made.
    changed: bool,
    /// Whether it has something to write.
    pub(super) writes: bool,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.link == other.link
    }
}

impl Eq for Part {}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Part {
    pub(super) fn new(link: AnyLink) -> Self {
        Self {
            link: Arc::new(link),
            digest: 0,
            changed: true,
            writes: false,
        }
    }

    /// Asks the acceptor where it goes, if it is incoming.
    pub(super) fn route(&mut self, acceptor: &mut Acceptor<u8>) -> Option<Route<u8>> {
        self.link.incoming()?;
        self.changed = true;
        let incoming = Arc::make_mut(&mut self.link).incoming_mut()?;
        Some(acceptor.route(incoming))
    }

    pub(super) fn link(&self) -> &AnyLink {
        &self.link
    }
}

fn digest(link: &AnyLink) -> u64 {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    hasher.finish()
}

/// Something under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Chunk {
    Data(Bytes),
    /// The end of this direction, in order.
    End,
}

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Tip {
    /// The acceptor's, before anything has come.
    Unheard,
    /// It belongs to this link, for as long as that has no later connection than this.
    Of { slot: u8, number: u64 },
    /// This end has dropped it.
    Gone,
}

/// A connection, or what is left of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Conn {
    /// How many the opener had opened when it opened this one.
    pub(super) number: u8,
    /// The opener's and the acceptor's.
    pub(super) tips: [Tip; 2],
    /// What is under way to each of them.
    pub(super) pipes: [VecDeque<Chunk>; 2],
    /// It was cut: an end that has not dropped it can learn so at any time, or first receive what
    /// is still under way.
    pub(super) cut: bool,
}

/// A state: both ends, everything between them, and what the applications have seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub(super) opener: Part,
    /// The acceptor's links, and incoming connections.
    pub(super) slots: Vec<Option<Part>>,
    pub(super) acceptor: Acceptor<u8>,
    /// In the order in which they were opened.
    pub(super) conns: Vec<Conn>,
    /// How many connections the acceptor has heard of.
    pub(super) arrived: u8,
    pub(super) opened: u8,
    /// In microseconds. Time stands still but where links end with their session: there each
    /// connection is opened a little later than the one before.
    pub(super) ticks: u64,
    pub(super) account: Account,
    pub(super) cuts: u8,
    /// Links whose applications know that they take no more messages.
    pub(super) shut: BTreeSet<(End, u8)>,
    /// The acceptor's links that its application has closed.
    pub(super) closing: BTreeSet<u8>,
    pub(super) notes: Notes,
}

/// What the last move did that makes no state another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// A fence kept something out.
    pub(super) fenced: bool,
    /// A frame was written that does not begin its message.
    pub(super) continued: bool,
}

impl PartialEq for Notes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Notes {}

impl Hash for Notes {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// An acceptor that has forgotten everything.
pub(super) fn acceptor() -> Acceptor<u8> {
    Acceptor::new(Limits {
        sessions: 8,
        ..Limits::default()
    })
}

impl End {
    pub(super) const BOTH: [Self; 2] = [Self::Opener, Self::Acceptor];

    pub(super) const fn at(self) -> usize {
        match self {
            Self::Opener => 0,
            Self::Acceptor => 1,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut opener = Link::new(&setup.config(End::Opener), Role::Opener, [0; 16]).unwrap();
        mistakes::plant(&mut opener, setup.planted);
        let mut world = Self {
            opener: Part::new(opener.into()),
            slots: Vec::new(),
            acceptor: acceptor(),
            conns: Vec::new(),
            arrived: 0,
            opened: 0,
            ticks: 0,
            account: Account::new(setup),
            cuts: 0,
            shut: BTreeSet::new(),
            closing: BTreeSet::new(),
            notes: Notes::default(),
        };
        world.tidy(setup);
        world
    }

    pub(super) fn now(&self) -> Instant {
        TIMES[usize::from(self.account.expired)] + Duration::from_micros(self.ticks)
    }

    pub(super) fn part(&self, end: End, slot: u8) -> Option<&Part> {
        match end {
            End::Opener => Some(&self.opener),
            End::Acceptor => self.slots.get(usize::from(slot))?.as_ref(),
        }
    }

    fn part_mut(&mut self, end: End, slot: u8) -> Option<&mut Part> {
        match end {
            End::Opener => Some(&mut self.opener),
            End::Acceptor => self.slots.get_mut(usize::from(slot))?.as_mut(),
        }
    }

    /// Changes a link, if there is one in this place.
    pub(super) fn with<T>(
        &mut self,
        end: End,
        slot: u8,
        change: impl FnOnce(&mut Link) -> T,
    ) -> Option<T> {
        self.with_any(end, slot, |link| link.link_mut().map(change))?
    }

    /// Changes a link or an incoming connection, if there is one in this place.
    pub(super) fn with_any<T>(
        &mut self,
        end: End,
        slot: u8,
        change: impl FnOnce(&mut AnyLink) -> T,
    ) -> Option<T> {
        let part = self.part_mut(end, slot)?;
        part.changed = true;
        Some(change(Arc::make_mut(&mut part.link)))
    }

    pub(super) fn is_changed(&self, end: End, slot: u8) -> bool {
        self.part(end, slot).is_some_and(|part| part.changed)
    }

    /// Nothing more changes before the next move.
    pub(super) fn conclude(&mut self) {
        for part in std::iter::once(&mut self.opener).chain(self.slots.iter_mut().flatten()) {
            if part.changed {
                part.digest = digest(&part.link);
                part.changed = false;
            }
        }
    }

    pub(super) fn set_writes(&mut self, end: End, slot: u8, writes: bool) {
        if let Some(part) = self.part_mut(end, slot) {
            part.writes = writes;
        }
    }

    /// The places of an end's links.
    pub(super) fn places(&self, end: End) -> Vec<u8> {
        match end {
            End::Opener => vec![0],
            End::Acceptor => {
                let places = (0..).zip(&self.slots);
                let taken = places.filter(|(_, part)| part.is_some());
                taken.map(|(slot, _)| slot).collect()
            }
        }
    }

    /// Puts a link into the first free place.
    pub(super) fn place(&mut self, link: AnyLink) -> u8 {
        let part = Some(Part::new(link));
        let at = self.slots.iter().position(Option::is_none);
        let at = at.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = part;
        u8::try_from(at).unwrap()
    }

    /// The link that an end of a connection feeds, unless that has gone on to another connection.
    /// This is the fence that a caller of the core has to keep.
    pub(super) fn fed(&self, conn: usize, end: End) -> Option<u8> {
        match self.conns[conn].tips[end.at()] {
            Tip::Of { slot, number } => {
                let part = self.part(end, slot)?;
                (part.link().protocol().connection() == number).then_some(slot)
            }
            Tip::Unheard | Tip::Gone => None,
        }
    }

    /// The connections that feed this link.
    pub(super) fn conns_of(&self, end: End, slot: u8) -> impl Iterator<Item = usize> + '_ {
        (0..self.conns.len()).filter(move |conn| self.fed(*conn, end) == Some(slot))
    }

    /// An end drops a connection. If in order, it has sent and received everything.
    pub(super) fn drop_conn(&mut self, conn: usize, end: End, in_order: bool) {
        let conn = &mut self.conns[conn];
        conn.tips[end.at()] = Tip::Gone;
        conn.pipes[end.at()].clear();
        conn.cut |= !in_order;
    }

    /// Whether no opener will ever come back to this link of the acceptor's.
    pub(super) fn is_ghost(&self, slot: u8) -> bool {
        let Some(part) = self.part(End::Acceptor, slot) else {
            return true;
        };
        let opener = self.opener.link();
        let named = opener.state() != LinkState::Ended && opener.session() == part.link().session();
        let may_learn = |conn: usize| {
            let welcome = !self.conns[conn].pipes[End::Opener.at()].is_empty();
            let listens = self.conns[conn].tips[End::Opener.at()] != Tip::Gone;
            listens && (welcome || self.fed(conn, End::Acceptor) == Some(slot))
        };
        !named && !(0..self.conns.len()).any(may_learn)
    }

    /// The acceptor's link that its application sends on: the newest of those to which the opener
    /// may return.
    pub(super) fn sending_slot(&self) -> Option<u8> {
        let live = |slot: &u8| {
            let part = self.part(End::Acceptor, *slot);
            part.is_some_and(|part| part.link().session() != [0; 16]) && !self.is_ghost(*slot)
        };
        self.places(End::Acceptor).into_iter().rev().find(live)
    }

    /// Lets every wait at this end time out, to see whether each is reported.
    pub(super) fn much_later(&mut self, end: End, slot: u8) {
        self.with_any(end, slot, |link| {
            link.protocol_mut().handle_timeout(MUCH_LATER);
        });
    }
}
