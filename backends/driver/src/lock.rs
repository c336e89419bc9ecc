//! A lock under which no code of others runs.
//!
//! A waker that is woken or dropped, the destructor of a payload, whoever hears of a line in the log:
//! all of these are others' code, and may want to use the very link that brought them about. So what
//! works under a lock puts them into [`Later`], and that is done when the thread holds none of these
//! locks any more.

use std::cell::{Cell, RefCell};
use std::sync::PoisonError;
use std::task::Waker;

use countersign_core::Spent;

use crate::sync::{Mutex, thread_local};

/// What is to be done once the lock is released.
#[derive(Default)]
pub(crate) struct Later {
    wakes: Vec<Waker>,
    spent: Spent,
    rest: Vec<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Later")
            .field("wakes", &self.wakes.len())
            .finish_non_exhaustive()
    }
}

impl Later {
    /// Those that are to be woken.
    pub(crate) fn wakes(&mut self) -> &mut Vec<Waker> {
        &mut self.wakes
    }

    /// Wakes someone, if there is one.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakes.extend(waker);
    }

    /// Drops something, if there is something.
    pub(crate) fn drop(&mut self, value: Option<impl Send + 'static>) {
        if let Some(value) = value {
            self.then(move || drop(value));
        }
    }

    /// Drops payloads that a link has let go of.
    #[inline]
    pub(crate) fn drop_spent(&mut self, spent: Spent) {
        if self.spent.is_empty() {
            self.spent = spent;
        } else {
            self.spent.append(spent);
        }
    }

    /// Does anything else: writes a line, uses another link.
    pub(crate) fn then(&mut self, work: impl FnOnce() + Send + 'static) {
        self.rest.push(Box::new(work));
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.wakes.is_empty() && self.spent.is_empty() && self.rest.is_empty()
    }

    fn append(&mut self, other: Self) {
        self.wakes.extend(other.wakes);
        self.rest.extend(other.rest);
        self.drop_spent(other.spent);
    }

    fn run(self) {
        self.wakes.into_iter().for_each(Waker::wake);
        self.rest.into_iter().for_each(|work| work());
        drop(self.spent);
    }
}

/// What is behind a [`Lock`].
pub(crate) trait Locked {
    /// What is to be done once the lock is released.
    fn later(&mut self) -> &mut Later;
}

/// A mutex for what several tasks or threads use.
#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

thread_local! {
    /// How many of these locks this thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// Something is in `LEFT`.
    static IS_LEFT: Cell<bool> = const { Cell::new(false) };
    /// What the inner of several have left for when the outermost is released.
    static LEFT: RefCell<Later> = RefCell::default();
    #[cfg(debug_assertions)]
    static WHICH: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Counts a lock that this thread holds, also where the work under it panics.
struct Held;

impl Held {
    fn begin(_lock: usize) -> Self {
        // What would wait for itself for ever is to be found by the first test that gets there. (A
        // thread that is about to end has no list any more.)
        #[cfg(debug_assertions)]
        let _ = WHICH.try_with(|which| {
            let mut which = which.borrow_mut();
            assert!(
                !which.contains(&_lock),
                "code that runs under a lock has asked for it again"
            );
            which.push(_lock);
        });
        HELD.with(|held| held.set(held.get() + 1));
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
        #[cfg(debug_assertions)]
        let _ = WHICH.try_with(|which| which.borrow_mut().pop());
    }
}

/// Whether this thread holds such a lock.
fn is_held() -> bool {
    HELD.with(Cell::get) > 0
}

/// Does what was left for later, or leaves it to the lock that this thread still holds.
#[cold]
fn leave_or_run(later: Later) {
    if is_held() {
        let mut later = Some(later);
        // A thread that is about to end has no place for it any more.
        let _ = LEFT.try_with(|left| {
            left.borrow_mut().append(later.take().unwrap_or_default());
            IS_LEFT.with(|is_left| is_left.set(true));
        });
        return;
    }
    later.run();
    if IS_LEFT.with(|is_left| is_left.replace(false))
        && let Ok(left) = LEFT.try_with(RefCell::take)
    {
        left.run();
    }
}

impl<T: Locked> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Works on what is behind the lock; then, once this thread holds no such lock any more, does what
    /// was left for later.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let held = Held::begin(std::ptr::from_ref(self) as usize);
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut value);
        let later = value.later();
        if later.is_empty() {
            drop(value);
            drop(held);
            if !is_held() && IS_LEFT.with(Cell::get) {
                leave_or_run(Later::default());
            }
            return result;
        }
        let later = std::mem::take(later);
        drop(value);
        drop(held);
        leave_or_run(later);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Default)]
    struct State {
        later: Later,
        done: Vec<&'static str>,
    }

    impl Locked for State {
        fn later(&mut self) -> &mut Later {
            &mut self.later
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
            state.later.then(note(&lock, "left"));
            state.done.push("work");
        });
        assert_eq!(lock.with(|state| state.done.clone()), ["work", "left"]);
    }

    #[test]
    fn what_an_inner_lock_leaves_waits_for_the_outer() {
        let [outer, inner] = [(); 2].map(|()| Arc::new(Lock::new(State::default())));
        outer.with(|state| {
            inner.with(|state| state.later.then(note(&outer, "of the inner")));
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
        lock.with(|state| state.later.then(note(&lock, "later")));
        assert_eq!(lock.with(|state| state.done.clone()), ["later"]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic = "has asked for it again"]
    fn a_lock_that_is_asked_for_under_itself() {
        let lock = Lock::new(State::default());
        lock.with(|_| lock.with(|_| ()));
    }
}
