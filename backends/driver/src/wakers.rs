//! Who waits for what: a slot for each waiting future, given back when the future is dropped.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Deref;
use std::task::{Context, Poll, Waker};

use countersign_core::ChannelId;

use crate::lock::{Later, Locked};

/// The wakers of those who wait for the same thing, each in a slot of its own.
///
/// A slot's number is never used again, so one that was given back late harms nobody.
#[derive(Debug, Default)]
pub(crate) struct WakerSet {
    slots: BTreeMap<u64, Waker>,
    next: u64,
}

impl WakerSet {
    /// Puts a waker into a slot, a new one if there is none yet. Gives back the waker that was
    /// there before.
    fn put(&mut self, slot: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let slot = *slot.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.slots.get(&slot) {
            Some(known) if known.will_wake(waker) => None,
            _ => self.slots.insert(slot, waker.clone()),
        }
    }

    /// Has all of them woken once the lock is released.
    pub(crate) fn wake_all(&mut self, later: &mut Later) {
        later
            .wakes()
            .extend(std::mem::take(&mut self.slots).into_values());
    }
}

/// What a future waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    /// The link to connect, to end or to tell something.
    Link,
    /// Room or a message on a channel.
    Channel(ChannelId),
}

/// What futures wait for.
pub(crate) trait Waits {
    /// What is behind the lock.
    type State: Locked;
    /// What there is to wait for.
    type Awaited: Copy + Debug;

    /// Works on the state, under the lock.
    fn with<R>(&self, work: impl FnOnce(&mut Self::State) -> R) -> R;

    /// Who waits for this.
    fn wakers(state: &mut Self::State, awaited: Self::Awaited) -> &mut WakerSet;
}

/// One future's waiting: holds a slot from when it first has to wait until it is ready or dropped.
///
/// A future borrows the state. What is polled without a future, a stream or a sink, shares it, and
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

    /// Looks at the state; while that says `Pending`, the context's waker is woken when it is
    /// worth looking again.
    pub(crate) fn poll<R>(
        &mut self,
        context: &Context<'_>,
        look: impl FnOnce(&mut <S::Target as Waits>::State) -> Poll<R>,
    ) -> Poll<R> {
        let Self {
            shared,
            awaited,
            slot,
        } = self;
        #[cfg(planted)]
        if crate::planted::is(crate::planted::Mistake::LooksFirst) {
            let result = shared.with(look);
            if result.is_pending() {
                shared.with(|state| {
                    S::Target::wakers(state, *awaited).put(slot, context.waker());
                });
            }
            return result;
        }
        shared.with(|state| {
            let result = look(state);
            let wakers = S::Target::wakers(state, *awaited);
            let former = match &result {
                Poll::Pending => wakers.put(slot, context.waker()),
                Poll::Ready(_) => slot.take().and_then(|slot| wakers.slots.remove(&slot)),
            };
            state.later().drop(former);
            result
        })
    }
}

impl<S: Deref<Target: Waits>> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.with(|state| {
                let former = S::Target::wakers(state, self.awaited).slots.remove(&slot);
                state.later().drop(former);
            });
        }
    }
}
