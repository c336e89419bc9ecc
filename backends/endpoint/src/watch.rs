//! The identity and trust in force, and the notification when they are replaced.

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

/// The state shared by all clones of a [`Security`](crate::Security), and by every connection made
/// with one.
pub(crate) struct Store {
    current: RwLock<Arc<Current>>,
    /// The generation of `current`, to detect a replacement without locking.
    generation: AtomicU64,
    fixed: Fixed,
    watchers: Mutex<Watchers>,
}

/// Identity and trust, and the TLS settings derived from them.
pub(crate) struct Current {
    /// How many times they were replaced.
    pub(crate) generation: u64,
    pub(crate) peers: Peers,
    /// The settings with the names for ALPN, and those without.
    pub(crate) with_alpn: Arc<Tls>,
    pub(crate) without_alpn: Arc<Tls>,
}

#[derive(Default)]
struct Watchers {
    /// The key of the next watcher.
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

    /// Replaces identity and trust, and returns the old and the new ones; an error changes nothing.
    pub(crate) fn replace(
        &self,
        identity: Identity,
        trust: Trust,
    ) -> Result<[Arc<Current>; 2], SetupError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        let peers = current.peers.replaced_by(&trust, generation);
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
        // A watch that registers after this finds the new generation when it polls.
        let wakers: Vec<Waker> = self.watchers().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        Ok([old, new])
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    pub(crate) fn tls(&self, without_alpn: bool) -> &Arc<Tls> {
        if without_alpn {
            &self.without_alpn
        } else {
            &self.with_alpn
        }
    }

    fn new(
        identity: Identity,
        trust: Trust,
        fixed: &Fixed,
        peers: Peers,
        generation: u64,
    ) -> Result<Self, SetupError> {
        let with_alpn = Arc::new(Tls::new(identity, trust, fixed)?);
        let without_alpn = Arc::new(with_alpn.without_alpn());
        Ok(Self {
            generation,
            peers,
            with_alpn,
            without_alpn,
        })
    }
}

/// Notifies when the identity and the trust of a [`Security`](crate::Security) were replaced.
///
/// Made by [`Security::watch`](crate::Security::watch). Polling it without a replacement costs a
/// comparison; nothing runs in the background.
pub struct Watch {
    /// `None` in plaintext, where nothing can be replaced.
    store: Option<Arc<Store>>,
    /// Its key among the watchers, once it waits.
    key: Option<u64>,
    waker: Option<Waker>,
    seen: u64,
}

impl Watch {
    pub(crate) fn new(store: Option<Arc<Store>>) -> Self {
        let seen = store.as_ref().map_or(0, |store| store.generation());
        Self {
            store,
            key: None,
            waker: None,
            seen,
        }
    }

    /// Returns `Ready`, once, if they were replaced since it was last ready, or since this was
    /// made; several replacements count as one. Otherwise the context's waker is woken when they
    /// are, with those of all other watches.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(store) = &self.store else {
            return Poll::Pending;
        };
        let waits = |waker: &Waker| waker.will_wake(context.waker());
        if !self.waker.as_ref().is_some_and(waits) {
            let waker = context.waker().clone();
            let former = self.waker.replace(waker.clone());
            let mut watchers = store.watchers();
            let key = *self.key.get_or_insert(watchers.next);
            watchers.next = watchers.next.max(key + 1);
            let replaced = watchers.wakers.insert(key, waker);
            // Dropping a waker may run foreign code.
            drop(watchers);
            drop((former, replaced));
        }
        // After the waker is registered, so that nothing is missed in between.
        let generation = store.generation();
        if std::mem::replace(&mut self.seen, generation) == generation {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(store), Some(key)) = (&self.store, self.key) {
            let mut watchers = store.watchers();
            let waker = watchers.wakers.remove(&key);
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
