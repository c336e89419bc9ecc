//! Who waits for what: a slot for each waiting future, given back when the future is dropped.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::task::{Context, Poll, Waker};

use countersign_core::ChannelId;

use crate::shared::{Shared, State};

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
    /// there before: dropping it may run code of others, so that is not done under the lock.
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

    fn remove(&mut self, slot: u64) -> Option<Waker> {
        self.slots.remove(&slot)
    }

    /// Moves all wakers to those that are to be woken.
    pub(crate) fn drain_into(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(std::mem::take(&mut self.slots).into_values());
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

/// One future's waiting: holds a slot from when it first has to wait until it is ready or dropped.
///
/// A future borrows the state. What is polled without a future, a stream or a sink, shares it, and
/// keeps its slot as long as it waits.
#[derive(Debug)]
pub(crate) struct Waiting<S: Deref<Target = Shared>> {
    shared: S,
    awaited: Awaited,
    slot: Option<u64>,
}

impl<S: Deref<Target = Shared>> Waiting<S> {
    pub(crate) fn new(shared: S, awaited: Awaited) -> Self {
        Self {
            shared,
            awaited,
            slot: None,
        }
    }

    /// Looks at the state; while that says `Pending`, the context's waker is woken when it is
    /// worth looking again.
    pub(crate) fn poll<R>(
        &mut self,
        context: &Context<'_>,
        look: impl FnOnce(&mut State) -> Poll<R>,
    ) -> Poll<R> {
        let (result, former) = self.shared.with(|state| {
            let result = look(state);
            let wakers = state.wakers_of(self.awaited);
            let former = match &result {
                Poll::Pending => wakers.put(&mut self.slot, context.waker()),
                Poll::Ready(_) => self.slot.take().and_then(|slot| wakers.remove(slot)),
            };
            (result, former)
        });
        drop(former);
        result
    }
}

impl<S: Deref<Target = Shared>> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let waker = self
                .shared
                .with(|state| state.wakers_of(self.awaited).remove(slot));
            drop(waker);
        }
    }
}
