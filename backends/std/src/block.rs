//! Blocks a thread until a future is ready.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::timeout::WaitTimeoutError;

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Blocks the thread until the future is ready.
pub(crate) fn on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            thread::park();
        }
    })
}

/// Blocks the thread until the future is ready, but no longer than `limit`.
pub(crate) fn on_for<F: Future>(future: F, limit: Duration) -> Result<F::Output, WaitTimeoutError> {
    // A limit beyond the range of the clock is no limit.
    let Some(deadline) = Instant::now().checked_add(limit) else {
        return Ok(on(future));
    };
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitTimeoutError);
            }
            thread::park_timeout(left);
        }
    })
}
