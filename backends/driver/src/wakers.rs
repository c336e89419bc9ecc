//! The wakers of waiting futures: a slot for each, which is freed when the future is dropped.

use std::fmt::Debug;
use std::ops::Deref;
use std::task::{Context, Poll, Waker};

use countersign_core::ChannelId;

use crate::lock::{Deferred, Locked};

/// How many slots an empty set keeps memory for.
const KEPT_SLOTS: usize = 4;

/// The wakers of the futures that wait for the same thing, each in a separate slot.
///
/// A slot's number is never reused, so freeing a slot late affects no other future.
#[derive(Debug, Default)]
pub(crate) struct WakerSet {
    /// In the order of their numbers.
    slots: Vec<(u64, Waker)>,
    next: u64,
}

impl WakerSet {
    /// Puts a waker into a slot, a new one if there is none yet. Returns the waker that was in the
    /// slot before.
    fn put(&mut self, slot: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let slot = *slot.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.find(slot) {
            Ok(at) if self.slots[at].1.will_wake(waker) => None,
            Ok(at) => Some(std::mem::replace(&mut self.slots[at].1, waker.clone())),
            Err(at) => {
                self.slots.insert(at, (slot, waker.clone()));
                None
            }
        }
    }

    /// Frees a slot, and returns the waker in it.
    fn remove(&mut self, slot: u64) -> Option<Waker> {
        let at = self.find(slot).ok()?;
        Some(self.slots.remove(at).1)
    }

    fn find(&self, slot: u64) -> Result<usize, usize> {
        self.slots
            .binary_search_by_key(&slot, |(number, _)| *number)
    }

    /// Wakes all of them once the lock is released.
    pub(crate) fn wake_all(&mut self, deferred: &mut Deferred) {
        // Most wait again: the memory is kept.
        let wakers = self.slots.drain(..).map(|(_, waker)| waker);
        deferred.wakers().extend(wakers);
        self.slots.shrink_to(KEPT_SLOTS);
    }
}

/// What a handle's future waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    /// The link to connect or to end, or an event.
    Link,
    /// Room or a message on a channel.
    Channel(ChannelId),
}

/// State behind a lock that futures wait for.
pub(crate) trait Waits {
    /// The state behind the lock.
    type State: Locked;
    /// What a future can wait for.
    type Awaited: Copy + Debug;

    /// Works on the state, under the lock.
    fn with<R>(&self, work: impl FnOnce(&mut Self::State) -> R) -> R;

    /// Returns the wakers of the futures that wait for this.
    fn wakers(state: &mut Self::State, awaited: Self::Awaited) -> &mut WakerSet;
}

/// The wait of one future: holds a slot from when it first has to wait until it is ready or
/// dropped.
///
/// A future borrows the state. A stream or a sink, which is polled without a future, shares it, and
/// keeps its slot as long as it waits.
#[derive(Debug)]
pub(crate) struct Waiting<S: Deref<Target: Waits>> {
    shared: S,
    awaited: <S::Target as Waits>::Awaited,
    slot: Option<u64>,
}

impl<S: Deref<Target: Waits>> Waiting<S> {
    pub(crate) fn new(shared: S, awaited: <S::Target as Waits>::Awaited) -> Self {
        Self {
            shared,
            awaited,
            slot: None,
        }
    }

    pub(crate) fn shared(&self) -> &S {
        &self.shared
    }

    /// Checks the state with `check`; while that returns `Pending`, the context's waker is woken
    /// when it is worth checking again.
    pub(crate) fn poll<R>(
        &mut self,
        context: &Context<'_>,
        check: impl FnOnce(&mut <S::Target as Waits>::State) -> Poll<R>,
    ) -> Poll<R> {
        let Self {
            shared,
            awaited,
            slot,
        } = self;
        #[cfg(planted)]
        if crate::planted::is(crate::planted::Mistake::LooksFirst) {
            let result = shared.with(check);
            if result.is_pending() {
                shared.with(|state| {
                    S::Target::wakers(state, *awaited).put(slot, context.waker());
                });
            }
            return result;
        }
        shared.with(|state| {
            let result = check(state);
            let wakers = S::Target::wakers(state, *awaited);
            let former = match &result {
                Poll::Pending => wakers.put(slot, context.waker()),
                Poll::Ready(_) => slot.take().and_then(|slot| wakers.remove(slot)),
            };
            state.deferred().drop(former);
            result
        })
    }
}

impl<S: Deref<Target: Waits>> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.with(|state| {
                let former = S::Target::wakers(state, self.awaited).remove(slot);
                state.deferred().drop(former);
            });
        }
    }
}
