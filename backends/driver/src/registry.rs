//! The links of one listener, for peers that come back, and to end them all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_core::{EndReason, GoneSession, Link, PeerId, SessionId, Sessions};
use event_listener::Event;

use crate::accept::Drained;
use crate::shared::Shared;

/// Which link of a listener has which session.
///
/// Its lock is taken while a link's is held, and never the other way round.
#[derive(Debug)]
pub struct Registry {
    links: Mutex<Links>,
    /// The last link has ended.
    emptied: Event,
}

#[derive(Debug)]
struct Links {
    sessions: Sessions<Weak<Shared>>,
    /// Once the links are to end: how they have.
    drained: Option<Drained>,
}

impl Registry {
    /// With room for so many links that wait for their peers.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::new(Links {
                sessions: Sessions::new(limit),
                drained: None,
            }),
            emptied: Event::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, link: &Link, shared: Weak<Shared>) {
        let mut links = self.lock();
        links.sessions.add(link.session(), link.peer(), shared);
    }

    pub(crate) fn find(&self, id: SessionId, peer: Option<PeerId>) -> Option<Arc<Shared>> {
        let links = self.lock();
        links.sessions.find(id, peer).and_then(Weak::upgrade)
    }

    /// A link has lost its connection; gives back one for which there is no room any more.
    pub(crate) fn lost(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.lock().sessions.lost(id).and_then(Weak::upgrade)
    }

    pub(crate) fn resumed(&self, id: SessionId) {
        self.lock().sessions.resumed(id);
    }

    pub(crate) fn remove(&self, link: &Link) {
        let mut links = self.lock();
        links.sessions.remove(link.gone_session());
        if let Some(drained) = &mut links.drained {
            let orderly = link.end_reason().is_some_and(EndReason::is_orderly);
            drained.orderly += usize::from(orderly);
            drained.cut_short += usize::from(!orderly);
        }
        if links.sessions.is_empty() {
            drop(links);
            self.emptied.notify(usize::MAX);
        }
    }

    pub(crate) fn gone(&self, id: SessionId, peer: Option<PeerId>) -> Option<GoneSession> {
        self.lock().sessions.gone(id, peer).cloned()
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        let links = self.lock();
        links.sessions.links().filter_map(Weak::upgrade).collect()
    }

    /// Begins to close all links; there are no new ones from here on.
    pub(crate) fn drain(&self) {
        self.lock().drained.get_or_insert_default();
        for shared in self.all() {
            shared.start_close();
        }
    }

    /// Waits until there are no links.
    pub(crate) async fn drained(&self) {
        loop {
            // Hears of everything from here on, so nothing is missed in between.
            let emptied = self.emptied.listen();
            if self.lock().sessions.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Ends what has not ended by itself, and says how all of them have.
    pub(crate) fn abandon_rest(&self) -> Drained {
        for shared in self.all() {
            shared.abandon();
        }
        self.lock().drained.unwrap_or_default()
    }
}
