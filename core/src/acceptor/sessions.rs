//! The sessions of an acceptor with many links: finds the link that a returning peer belongs to.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use crate::link::Request;
use crate::{PeerId, Sequence};

/// A session's id: sixteen bytes, not all zero.
pub type SessionId = [u8; 16];

/// What is remembered of a session that is over.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GoneSession {
    id: SessionId,
    peer: Option<PeerId>,
    settled: Vec<(String, Sequence)>,
}

impl GoneSession {
    /// Creates what [`Link::gone_session`](crate::Link::gone_session) returns: the session's id,
    /// the identity that it was held with, and the last number that was settled on each channel in
    /// receive mode, by the channel's name.
    #[must_use]
    pub fn new(id: SessionId, peer: Option<PeerId>, settled: Vec<(String, Sequence)>) -> Self {
        Self { id, peer, settled }
    }

    /// Returns the session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the identity that the session was held with.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Returns the channels in receive mode, by name, with the last number that was settled on
    /// each.
    pub fn channels(&self) -> impl Iterator<Item = (&str, Sequence)> {
        let settled = self.settled.iter();
        settled.map(|(name, settled)| (name.as_str(), *settled))
    }

    /// Returns the last number that was settled on a channel.
    pub(crate) fn settled(&self, channel: &str) -> Option<Sequence> {
        let found = self.settled.iter().find(|(name, _)| name == channel);
        found.map(|(_, settled)| *settled)
    }
}

/// The sessions of one acceptor, and what is remembered of those that are over.
///
/// A session is found only by the peer that it is held with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Sessions<L> {
    held: BTreeMap<SessionId, Held<L>>,
    /// Sessions without a connection, the one that has waited longest first.
    away: BTreeMap<u64, SessionId>,
    /// The same by peer, for peers that have proved who they are.
    away_by_peer: BTreeSet<(PeerId, u64)>,
    /// How many times a connection was lost; orders `away`.
    losses: u64,
    gone: VecDeque<GoneSession>,
    limit: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Held<L> {
    peer: Option<PeerId>,
    link: L,
    away: Option<u64>,
}

impl<L> Sessions<L> {
    /// Creates an empty set, with room for `limit` sessions without a connection, and for as many
    /// that are over.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            away: BTreeMap::new(),
            away_by_peer: BTreeSet::new(),
            losses: 0,
            gone: VecDeque::new(),
            limit,
        }
    }

    /// Adds a session that has begun.
    pub(super) fn add(&mut self, id: SessionId, peer: Option<PeerId>, link: L) {
        let away = None;
        self.held.insert(id, Held { peer, link, away });
    }

    /// Returns the link with the session that `peer` names, if it is this peer's.
    pub(super) fn find(&self, id: SessionId, peer: Option<PeerId>) -> Option<&L> {
        let held = self.held.get(&id).filter(|held| held.peer == peer);
        held.map(|held| &held.link)
    }

    /// Returns the link that has waited longest for `peer`; `None` if the peer has not proved who
    /// it is.
    pub(super) fn longest_away(&self, peer: Option<PeerId>) -> Option<(SessionId, &L)> {
        let peer = peer?;
        let mut away = self.away_by_peer.range((peer, 0)..=(peer, u64::MAX));
        let (_, loss) = away.next()?;
        let id = *self.away.get(loss)?;
        Some((id, &self.held.get(&id)?.link))
    }

    /// Notes that a session has lost its connection. If that is one more than there is room for,
    /// returns the link that has waited longest, to be evicted.
    pub(super) fn lost(&mut self, id: SessionId) -> Option<&L> {
        self.losses += 1;
        let held = self.held.get_mut(&id)?;
        let peer = held.peer;
        if let Some(earlier) = held.away.replace(self.losses) {
            self.forget_away(peer, earlier);
        }
        self.away.insert(self.losses, id);
        self.away_by_peer
            .extend(peer.map(|peer| (peer, self.losses)));
        if self.away.len() <= self.limit {
            return None;
        }
        let (&loss, &oldest) = self.away.first_key_value()?;
        let held = self.held.get_mut(&oldest)?;
        held.away = None;
        let peer = held.peer;
        self.forget_away(peer, loss);
        self.held.get(&oldest).map(|held| &held.link)
    }

    /// Notes that a session was resumed.
    pub(super) fn resumed(&mut self, id: SessionId) {
        if let Some(held) = self.held.get_mut(&id)
            && let Some(away) = held.away.take()
        {
            let peer = held.peer;
            self.forget_away(peer, away);
        }
    }

    fn forget_away(&mut self, peer: Option<PeerId>, loss: u64) {
        self.away.remove(&loss);
        if let Some(peer) = peer {
            self.away_by_peer.remove(&(peer, loss));
        }
    }

    /// Removes the session of a link that has ended, and remembers it as long as there is room.
    /// Returns whether the session had been added: a link whose connection was taken over or
    /// refused never had one.
    pub(super) fn remove(&mut self, gone: GoneSession) -> bool {
        self.resumed(gone.id);
        if self.held.remove(&gone.id).is_none() {
            return false;
        }
        self.gone.push_back(gone);
        if self.gone.len() > self.limit {
            self.gone.pop_front();
        }
        true
    }

    /// Returns what is remembered of the session that `peer` names, if it is over.
    pub(super) fn gone(&self, request: Request, peer: Option<PeerId>) -> Option<&GoneSession> {
        let Request::Resume(id) = request else {
            return None;
        };
        let mut gone = self.gone.iter();
        gone.find(|gone| gone.id == id && gone.peer == peer)
    }

    /// Returns the links of all sessions, in the order of the sessions' ids.
    pub(super) fn links(&self) -> impl Iterator<Item = &L> {
        self.held.values().map(|held| &held.link)
    }

    /// Returns how many sessions wait for their peers.
    pub(super) fn away(&self) -> usize {
        self.away.len()
    }
}
