//! Futures that are dropped at every moment of their lives, and work that gets done all the same.
//!
//! [`persist`] is the tool: it drops an operation's future before its first poll, after it, when it
//! is woken, after the second, and so on, and begins anew each time until one is ready in time.
//! A [`Job`] has work done that way, messages in both directions through windows that are too small
//! for them, in every [form](forms) of sending and receiving that there is, and compares what
//! came with what must have come. [`in_memory`] runs a job without sockets, threads or timers:
//! a task is polled when it was woken and never otherwise, so a lost wake-up shows too.
//! [`on_sockets`] runs the same on a backend, and what only a backend has: connecting, accepting,
//! closing the listener; [`cancelling!`](crate::cancelling!) makes tests of it, one line for each.
//!
//! Planted forms with mistakes show that the harness notices them.

pub mod forms;
mod job;
pub mod on_sockets;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

pub use job::{Job, Outcome, in_memory};

/// How many futures were dropped before they were ready.
#[derive(Debug, Default)]
pub struct Drops {
    /// Whether there are any.
    on: bool,
    /// Right after a poll.
    waiting: Cell<u64>,
    /// Woken, and not polled again.
    woken: Cell<u64>,
    /// The most polls that one of them had.
    deepest: Cell<u32>,
}

impl Drops {
    /// None yet, and none ever if `on` is false.
    #[must_use]
    pub fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    /// How many were dropped right after a poll, and how many when they were woken.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [self.waiting.get(), self.woken.get()]
    }

    /// The most polls that one of them had.
    #[must_use]
    pub fn deepest(&self) -> u32 {
        self.deepest.get()
    }

    fn count(&self, moment: Moment) {
        let count = if moment.woken {
            &self.woken
        } else {
            &self.waiting
        };
        count.set(count.get() + u64::from(moment.polls > 0));
        self.deepest.set(self.deepest.get().max(moment.polls));
    }
}

/// When a future is dropped.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// After this many polls.
    polls: u32,
    /// Not at once, but when it would be polled again.
    woken: bool,
}

impl Moment {
    /// Never polled; polled once, then at once or when woken; polled twice, and so on.
    fn all() -> impl Iterator<Item = Self> {
        (0..).flat_map(|polls| {
            let first = Self {
                polls,
                woken: false,
            };
            let second = Self { polls, woken: true };
            [first].into_iter().chain((polls > 0).then_some(second))
        })
    }
}

/// Has an operation done whose futures are dropped at one moment after the other, until one is
/// ready before its moment comes.
pub async fn persist<T>(drops: &Drops, mut operation: impl AsyncFnMut() -> T) -> T {
    if !drops.on {
        return operation().await;
    }
    for moment in Moment::all() {
        if let Some(output) = until(moment, operation()).await {
            return output;
        }
        drops.count(moment);
    }
    unreachable!("there is always a later moment")
}

/// What the future gives, if it is ready before it is dropped.
async fn until<F: Future>(moment: Moment, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == moment.polls {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == moment.polls && !moment.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
