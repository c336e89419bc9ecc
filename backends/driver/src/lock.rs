//! A lock under which no foreign code runs.
//!
//! Waking or dropping a waker, the destructor of a payload, and a subscriber of the log are foreign
//! code, and may use the very link that triggers them. So code under a lock puts such work into
//! [`Deferred`], which runs once the thread holds none of these locks any more.

use std::cell::{Cell, RefCell};
use std::sync::PoisonError;
use std::sync::mpsc::{self, SendError};
use std::task::Waker;
use std::thread;

use countersign_core::Spent;

use crate::sync::{Mutex, thread_local};

/// Wakers to wake, most often one, for which no memory is needed.
#[derive(Default)]
pub(crate) struct ToWake {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl ToWake {
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }
}

impl Extend<Waker> for ToWake {
    #[inline]
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }
}

impl IntoIterator for ToWake {
    type Item = Waker;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Waker>, std::vec::IntoIter<Waker>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

/// Work to do once the lock is released.
#[derive(Default)]
pub(crate) struct Deferred {
    wakers: ToWake,
    spent: Spent,
    work: Vec<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for Deferred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deferred")
            .field("wakers", &self.wakers.len())
            .finish_non_exhaustive()
    }
}

impl Deferred {
    /// Returns the wakers to wake.
    pub(crate) fn wakers(&mut self) -> &mut ToWake {
        &mut self.wakers
    }

    /// Wakes the waker, if any.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Drops the value, if any.
    pub(crate) fn drop(&mut self, value: Option<impl Send + 'static>) {
        if let Some(value) = value {
            self.push(move || drop(value));
        }
    }

    /// Drops payloads that a link has released.
    #[inline]
    pub(crate) fn drop_spent(&mut self, spent: Spent) {
        if self.spent.is_empty() {
            self.spent = spent;
        } else {
            self.spent.append(spent);
        }
    }

    /// Runs anything else: writes to the log, uses another link.
    pub(crate) fn push(&mut self, work: impl FnOnce() + Send + 'static) {
        self.work.push(Box::new(work));
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.spent.is_empty() && self.work.is_empty()
    }

    fn append(&mut self, other: Self) {
        self.wakers.extend(other.wakers);
        self.work.extend(other.work);
        self.drop_spent(other.spent);
    }

    fn run(self) {
        wake(self.wakers);
        self.work.into_iter().for_each(|work| work());
        drop(self.spent);
    }
}

/// Wakes all; for a thread that unwinds, in another. compio's wakers abort the process where they
/// run in a thread that unwinds, and so does every waker that panics there.
fn wake(wakers: ToWake) {
    if wakers.is_empty() || !thread::panicking() || cfg!(shuttle) {
        wakers.into_iter().for_each(Waker::wake);
        return;
    }
    let (hand_over, handed_over) = mpsc::channel::<Waker>();
    // Where no thread can be had, sending fails.
    let _ = thread::Builder::new().spawn(move || handed_over.into_iter().for_each(Waker::wake));
    for waker in wakers {
        if let Err(SendError(waker)) = hand_over.send(waker) {
            waker.wake();
        }
    }
}

/// State behind a [`Lock`].
pub(crate) trait Locked {
    /// Returns the work to do once the lock is released.
    fn deferred(&mut self) -> &mut Deferred;
}

/// A mutex that runs deferred work after it is released.
#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

thread_local! {
    /// How many of these locks this thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// `DEFERRED` is not empty.
    static HAS_DEFERRED: Cell<bool> = const { Cell::new(false) };
    /// The work that inner locks have deferred until the outermost is released.
    static DEFERRED: RefCell<Deferred> = RefCell::default();
    #[cfg(debug_assertions)]
    static LOCKS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Counts a lock that this thread holds, also where the work under it panics.
struct Held;

impl Held {
    fn begin(_lock: usize) -> Self {
        // Locking again would deadlock: panic, so that tests find it. (A thread that is exiting has
        // dropped its list already.)
        #[cfg(debug_assertions)]
        let _ = LOCKS.try_with(|locks| {
            let mut locks = locks.borrow_mut();
            assert!(
                !locks.contains(&_lock),
                "code that runs under a lock has asked for it again"
            );
            locks.push(_lock);
        });
        HELD.with(|held| held.set(held.get() + 1));
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
        #[cfg(debug_assertions)]
        let _ = LOCKS.try_with(|locks| locks.borrow_mut().pop());
    }
}

/// Whether this thread holds any of these locks.
fn is_held() -> bool {
    HELD.with(Cell::get) > 0
}

/// Runs the deferred work, or leaves it to the outer lock that this thread still holds.
#[cold]
fn run_or_defer(deferred: Deferred) {
    if is_held() {
        let mut deferred = Some(deferred);
        // A thread that is exiting has dropped `DEFERRED` already.
        let _ = DEFERRED.try_with(|left| {
            left.borrow_mut()
                .append(deferred.take().unwrap_or_default());
            HAS_DEFERRED.with(|has_deferred| has_deferred.set(true));
        });
        return;
    }
    deferred.run();
    if HAS_DEFERRED.with(|has_deferred| has_deferred.replace(false))
        && let Ok(left) = DEFERRED.try_with(RefCell::take)
    {
        left.run();
    }
}

impl<T: Locked> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Works on the state under the lock; then, once this thread holds no such lock any more, runs
    /// the deferred work.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let held = Held::begin(std::ptr::from_ref(self) as usize);
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut value);
        let deferred = value.deferred();
        if deferred.is_empty() {
            drop(value);
            drop(held);
            if !is_held() && HAS_DEFERRED.with(Cell::get) {
                run_or_defer(Deferred::default());
            }
            return result;
        }
        let deferred = std::mem::take(deferred);
        drop(value);
        drop(held);
        run_or_defer(deferred);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Default)]
    struct State {
        deferred: Deferred,
        done: Vec<&'static str>,
    }

    impl Locked for State {
        fn deferred(&mut self) -> &mut Deferred {
            &mut self.deferred
        }
    }

    fn note(lock: &Arc<Lock<State>>, what: &'static str) -> impl FnOnce() + Send + use<> {
        let lock = lock.clone();
        move || lock.with(|state| state.done.push(what))
    }

    #[test]
    fn what_is_left_may_use_the_lock() {
        let lock = Arc::new(Lock::new(State::default()));
        lock.with(|state| {
            state.deferred.push(note(&lock, "left"));
            state.done.push("work");
        });
        assert_eq!(lock.with(|state| state.done.clone()), ["work", "left"]);
    }

    #[test]
    fn what_an_inner_lock_leaves_waits_for_the_outer() {
        let [outer, inner] = [(); 2].map(|()| Arc::new(Lock::new(State::default())));
        outer.with(|state| {
            inner.with(|state| state.deferred.push(note(&outer, "of the inner")));
            state.done.push("work");
        });
        assert_eq!(
            outer.with(|state| state.done.clone()),
            ["work", "of the inner"]
        );
    }

    #[test]
    fn work_that_panics_leaves_the_lock_usable() {
        let lock = Arc::new(Lock::new(State::default()));
        let panics = || lock.with(|_| panic!("on purpose"));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        let () = caught
            .unwrap_err()
            .downcast_ref::<&str>()
            .map(drop)
            .unwrap();
        lock.with(|state| state.deferred.push(note(&lock, "deferred")));
        assert_eq!(lock.with(|state| state.done.clone()), ["deferred"]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic = "has asked for it again"]
    fn a_lock_that_is_asked_for_under_itself() {
        let lock = Lock::new(State::default());
        lock.with(|_| lock.with(|_| ()));
    }
}
