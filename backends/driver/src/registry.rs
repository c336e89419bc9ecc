//! The links of one listener, for peers that come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_core::{GoneSession, Link, PeerId, SessionId, Sessions};

use crate::shared::Shared;

/// Which link of a listener has which session.
///
/// Its lock is taken while a link's is held, and never the other way round.
#[derive(Debug)]
pub struct Registry(Mutex<Sessions<Weak<Shared>>>);

impl Registry {
    /// With room for so many links that wait for their peers.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Sessions::new(limit))))
    }

    fn lock(&self) -> MutexGuard<'_, Sessions<Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, link: &Link, shared: Weak<Shared>) {
        self.lock().add(link.session(), link.peer(), shared);
    }

    pub(crate) fn find(&self, id: SessionId, peer: Option<PeerId>) -> Option<Arc<Shared>> {
        self.lock().find(id, peer).and_then(Weak::upgrade)
    }

    /// A link has lost its connection; gives back one for which there is no room any more.
    pub(crate) fn lost(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.lock().lost(id).and_then(Weak::upgrade)
    }

    pub(crate) fn resumed(&self, id: SessionId) {
        self.lock().resumed(id);
    }

    pub(crate) fn remove(&self, link: &Link) {
        self.lock().remove(link.gone_session());
    }

    pub(crate) fn gone(&self, id: SessionId, peer: Option<PeerId>) -> Option<GoneSession> {
        self.lock().gone(id, peer).cloned()
    }
}
