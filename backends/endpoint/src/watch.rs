//! What identity and trust are in force, and who wants to know when others are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use crate::identity::Identity;
use crate::peers::Peers;
use crate::settings::{Fixed, Tls};
use crate::setup_error::SetupError;
use crate::trust::Trust;

/// What all clones of a [`Security`](crate::Security) share, and every connection made with one.
pub(crate) struct Store {
    current: RwLock<Arc<Current>>,
    /// That of `current`, for those who only want to know whether it is another.
    generation: AtomicU64,
    fixed: Fixed,
    watchers: Mutex<Watchers>,
}

/// Identity and trust, and what follows from them.
pub(crate) struct Current {
    /// How often they were replaced.
    pub(crate) generation: u64,
    pub(crate) peers: Peers,
    /// With the names for ALPN, and without.
    pub(crate) named: Arc<Tls>,
    pub(crate) bare: Arc<Tls>,
}

#[derive(Default)]
struct Watchers {
    /// The number of the next.
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Store {
    pub(crate) fn new(
        identity: Identity,
        trust: Trust,
        fixed: Fixed,
    ) -> Result<Arc<Self>, SetupError> {
        let peers = Peers::first(&trust);
        let current = Current::new(identity, trust, &fixed, peers, 0)?;
        Ok(Arc::new(Self {
            current: RwLock::new(Arc::new(current)),
            generation: AtomicU64::new(0),
            fixed,
            watchers: Mutex::default(),
        }))
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) const fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// Puts others in force, and gives back those that were; an error changes nothing.
    pub(crate) fn replace(
        &self,
        identity: Identity,
        trust: Trust,
    ) -> Result<[Arc<Current>; 2], SetupError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        let peers = current.peers.then(&trust, generation);
        let new = Arc::new(Current::new(
            identity,
            trust,
            &self.fixed,
            peers,
            generation,
        )?);
        let old = std::mem::replace(&mut *current, new.clone());
        self.generation.store(generation, Ordering::Release);
        drop(current);
        // Whoever comes too late for this finds the new generation when it looks again.
        let wakers: Vec<Waker> = self.watchers().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        Ok([old, new])
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    pub(crate) fn tls(&self, bare: bool) -> &Arc<Tls> {
        if bare { &self.bare } else { &self.named }
    }

    fn new(
        identity: Identity,
        trust: Trust,
        fixed: &Fixed,
        peers: Peers,
        generation: u64,
    ) -> Result<Self, SetupError> {
        let named = Arc::new(Tls::new(identity, trust, fixed)?);
        let bare = Arc::new(named.without_alpn());
        Ok(Self {
            generation,
            peers,
            named,
            bare,
        })
    }
}

/// Tells when the identity and the trust of a [`Security`](crate::Security) were replaced.
///
/// Made by [`Security::watch`](crate::Security::watch). One that tells of nothing costs whoever
/// asks it a comparison; there is no polling behind it.
pub struct Watch {
    /// None in plaintext, where nothing can be replaced.
    store: Option<Arc<Store>>,
    /// Its place among the watchers, once it waits.
    place: Option<u64>,
    waker: Option<Waker>,
    seen: u64,
}

impl Watch {
    pub(crate) fn new(store: Option<Arc<Store>>) -> Self {
        let seen = store.as_ref().map_or(0, |store| store.generation());
        Self {
            store,
            place: None,
            waker: None,
            seen,
        }
    }

    /// Ready, once, when they were replaced since it was last ready, or since this was made; several
    /// times count as one. Otherwise the context's waker is woken when they are, with those of all
    /// others.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(store) = &self.store else {
            return Poll::Pending;
        };
        let waits = |waker: &Waker| waker.will_wake(context.waker());
        if !self.waker.as_ref().is_some_and(waits) {
            let waker = context.waker().clone();
            let former = self.waker.replace(waker.clone());
            let mut watchers = store.watchers();
            let place = *self.place.get_or_insert(watchers.next);
            watchers.next = watchers.next.max(place + 1);
            let replaced = watchers.wakers.insert(place, waker);
            // A waker that goes may run code of others.
            drop(watchers);
            drop((former, replaced));
        }
        // After the waker is in its place, so that nothing is missed in between.
        let generation = store.generation();
        if std::mem::replace(&mut self.seen, generation) == generation {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(store), Some(place)) = (&self.store, self.place) {
            let mut watchers = store.watchers();
            let waker = watchers.wakers.remove(&place);
            drop(watchers);
            drop(waker);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
