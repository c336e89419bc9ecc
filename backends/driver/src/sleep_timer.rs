//! A timer made of a runtime's sleep.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::clock::Clock;
use crate::runtime::Runtime;
use crate::transport::Timer;

/// A [`Timer`] on top of its runtime's sleep, which is allocated once.
pub struct SleepTimer<R: Runtime> {
    runtime: R,
    clock: Clock,
    sleep: Option<Pin<Box<R::Sleep>>>,
    /// When `sleep` is over; `None` once it is.
    set_to: Option<Instant>,
}

impl<R: Runtime> fmt::Debug for SleepTimer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SleepTimer")
            .field("set_to", &self.set_to)
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> SleepTimer<R> {
    /// Makes a timer that creates its sleep when it first needs one.
    #[must_use]
    pub fn new(runtime: &R) -> Self {
        Self {
            clock: runtime.clock(),
            runtime: runtime.clone(),
            sleep: None,
            set_to: None,
        }
    }

    fn set(&mut self, deadline: Instant) {
        self.set_to = Some(deadline);
        let sleep = self.runtime.sleep_until(deadline);
        match &mut self.sleep {
            Some(place) => place.set(sleep),
            None => self.sleep = Some(Box::pin(sleep)),
        }
    }
}

impl<R: Runtime> Timer for SleepTimer<R> {
    fn now(&self) -> Instant {
        self.clock.of_timers()
    }

    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // A deadline that moves later with every byte that arrives is not worth resetting the timer
        // each time: it may fire early, and is then set to the deadline of that time.
        if self.set_to.is_none_or(|set_to| deadline < set_to) {
            self.set(deadline);
        }
        while let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
            // A future that has been ready is not polled again.
            self.set_to = None;
            if deadline <= self.clock.of_timers() {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        Poll::Pending
    }
}

impl<T: Timer + ?Sized> Timer for Box<T> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        (**self).poll_until(context, deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// Records the deadlines of the sleeps it makes.
    #[derive(Clone, Default)]
    struct Made(Arc<Mutex<Vec<Instant>>>);

    impl Made {
        fn moments(&self) -> Vec<Instant> {
            self.0.lock().unwrap().clone()
        }
    }

    /// Is ready once its deadline has passed, and must not be polled after that.
    struct Sleep(Option<Instant>);

    impl Future for Sleep {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            let moment = self.0.expect("polled after it was ready");
            if moment > Instant::now() {
                return Poll::Pending;
            }
            self.0 = None;
            Poll::Ready(())
        }
    }

    impl Runtime for Made {
        type Sleep = Sleep;

        fn spawn(
            &self,
            _: &'static str,
            _: impl Future<Output = ()> + Send + 'static,
        ) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sleep_until(&self, deadline: Instant) -> Sleep {
            self.0.lock().unwrap().push(deadline);
            Sleep(Some(deadline))
        }
    }

    #[test]
    fn set_again_only_for_what_comes_earlier() {
        let made = Made::default();
        let mut timer = SleepTimer::new(&made);
        let mut context = Context::from_waker(Waker::noop());
        let hour = Duration::from_secs(3600);
        let start = Instant::now();
        for hours in [2, 3, 2, 1, 5] {
            let deadline = start + hours * hour;
            assert!(timer.poll_until(&mut context, deadline).is_pending());
        }
        assert_eq!(made.moments(), [start + 2 * hour, start + hour]);
    }

    #[test]
    fn goes_off_and_can_be_set_again() {
        let made = Made::default();
        let mut timer = SleepTimer::new(&made);
        let mut context = Context::from_waker(Waker::noop());
        let past = Instant::now();
        for _ in 0..3 {
            assert!(timer.poll_until(&mut context, past).is_ready());
        }
        assert_eq!(made.moments(), [past; 3]);
        let later = past + Duration::from_secs(3600);
        assert!(timer.poll_until(&mut context, later).is_pending());
        assert!(timer.poll_until(&mut context, past).is_ready());
    }

    #[test]
    fn what_went_off_early_is_set_to_the_deadline_of_now() {
        let made = Made::default();
        let mut timer = SleepTimer::new(&made);
        let mut context = Context::from_waker(Waker::noop());
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(timer.poll_until(&mut context, soon).is_pending() || Instant::now() >= soon);
        let later = soon + Duration::from_secs(3600);
        while Instant::now() < soon {
            std::thread::yield_now();
        }
        assert!(timer.poll_until(&mut context, later).is_pending());
        assert_eq!(made.moments(), [soon, later]);
    }
}
