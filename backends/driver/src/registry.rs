//! The links of one listener: how many there are, and which of them a returning peer belongs to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_core::{GoneSession, Link, PeerId, SessionId, Sessions};

use crate::shared::Shared;

/// The links of a listener, and which of them has which session.
///
/// Its lock is taken while a link's is held, and never the other way round.
#[derive(Debug)]
pub struct Registry {
    links: Mutex<Links>,
    limit: usize,
}

#[derive(Debug)]
struct Links {
    sessions: Sessions<Weak<Shared>>,
    places_taken: usize,
}

/// A link's place among those of its listener, from its admission until it has ended.
#[derive(Debug)]
pub(crate) struct Place(Arc<Registry>);

impl Registry {
    /// With room for so many `sessions` that wait for their peers, and for so many `links`, those
    /// included; one link at least.
    #[must_use]
    pub fn new(sessions: usize, links: usize) -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::new(Links {
                sessions: Sessions::new(sessions),
                places_taken: 0,
            }),
            limit: links.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many links there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a place for another link, if there is one.
    pub(crate) fn take_place(self: &Arc<Self>) -> Option<Place> {
        let mut links = self.lock();
        if links.places_taken >= self.limit {
            return None;
        }
        links.places_taken += 1;
        Some(Place(self.clone()))
    }

    pub(crate) fn add(&self, link: &Link, shared: Weak<Shared>) {
        self.lock()
            .sessions
            .add(link.session(), link.peer(), shared);
    }

    pub(crate) fn find(&self, id: SessionId, peer: Option<PeerId>) -> Option<Arc<Shared>> {
        self.lock().sessions.find(id, peer).and_then(Weak::upgrade)
    }

    /// A link has lost its connection; gives back one for which there is no room any more.
    pub(crate) fn lost(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.lock().sessions.lost(id).and_then(Weak::upgrade)
    }

    pub(crate) fn resumed(&self, id: SessionId) {
        self.lock().sessions.resumed(id);
    }

    pub(crate) fn remove(&self, link: &Link) {
        self.lock().sessions.remove(link.gone_session());
    }

    pub(crate) fn gone(&self, id: SessionId, peer: Option<PeerId>) -> Option<GoneSession> {
        self.lock().sessions.gone(id, peer).cloned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().places_taken -= 1;
    }
}
