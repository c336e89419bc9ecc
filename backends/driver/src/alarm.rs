//! A timer for runtimes that have futures which sleep.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::clock::Clock;
use crate::driver::Timer;

/// A timer made of futures that sleep until some moment, which `Sleep` makes.
///
/// They have to be ready at that moment or later, and not before.
pub struct Alarm<Sleep, F> {
    clock: Clock,
    sleep_until: Sleep,
    sleep: Option<Pin<Box<F>>>,
    /// When `sleep` is over; `None` once it is.
    set_to: Option<Instant>,
}

impl<Sleep, F> fmt::Debug for Alarm<Sleep, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("set_to", &self.set_to)
            .finish_non_exhaustive()
    }
}

impl<Sleep, F> Alarm<Sleep, F>
where
    Sleep: FnMut(Instant) -> F,
    F: Future,
{
    /// A timer that asks `sleep_until` for a future when it first needs one.
    #[must_use]
    pub fn new(sleep_until: Sleep) -> Self {
        Self::timed_by(Clock::default(), sleep_until)
    }

    /// The same, where sleeping goes by this clock.
    #[must_use]
    pub fn timed_by(clock: Clock, sleep_until: Sleep) -> Self {
        Self {
            clock,
            sleep_until,
            sleep: None,
            set_to: None,
        }
    }

    fn set(&mut self, deadline: Instant) {
        self.set_to = Some(deadline);
        let sleep = (self.sleep_until)(deadline);
        match &mut self.sleep {
            Some(place) => place.set(sleep),
            None => self.sleep = Some(Box::pin(sleep)),
        }
    }
}

impl<Sleep, F> Timer for Alarm<Sleep, F>
where
    Sleep: FnMut(Instant) -> F,
    F: Future,
{
    fn now(&self) -> Instant {
        self.clock.of_timers()
    }

    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // A deadline that moves away with every byte that arrives is not worth setting the timer
        // again each time: it is left to go off early, and then set to what is true by then.
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// The moments that futures were made for. Each is ready once its moment has come, and may not
    /// be polled after that.
    type Made = Rc<RefCell<Vec<Instant>>>;

    fn alarm(made: &Made) -> impl Timer + use<> {
        let made = made.clone();
        Alarm::new(move |moment| {
            made.borrow_mut().push(moment);
            let mut over = false;
            poll_fn(move |_| {
                assert!(!over, "polled after it was ready");
                over = moment <= Instant::now();
                if over { Poll::Ready(()) } else { Poll::Pending }
            })
        })
    }

    #[test]
    fn set_again_only_for_what_comes_earlier() {
        let made = Made::default();
        let mut alarm = alarm(&made);
        let mut context = Context::from_waker(Waker::noop());
        let hour = Duration::from_secs(3600);
        let start = Instant::now();
        for hours in [2, 3, 2, 1, 5] {
            let deadline = start + hours * hour;
            assert!(alarm.poll_until(&mut context, deadline).is_pending());
        }
        assert_eq!(*made.borrow(), [start + 2 * hour, start + hour]);
    }

    #[test]
    fn goes_off_and_can_be_set_again() {
        let made = Made::default();
        let mut alarm = alarm(&made);
        let mut context = Context::from_waker(Waker::noop());
        let past = Instant::now();
        for _ in 0..3 {
            assert!(alarm.poll_until(&mut context, past).is_ready());
        }
        assert_eq!(*made.borrow(), [past; 3]);
        let later = past + Duration::from_secs(3600);
        assert!(alarm.poll_until(&mut context, later).is_pending());
        assert!(alarm.poll_until(&mut context, past).is_ready());
    }

    #[test]
    fn what_went_off_early_is_set_to_the_deadline_of_now() {
        let made = Made::default();
        let mut alarm = alarm(&made);
        let mut context = Context::from_waker(Waker::noop());
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(alarm.poll_until(&mut context, soon).is_pending() || Instant::now() >= soon);
        let later = soon + Duration::from_secs(3600);
        while Instant::now() < soon {
            std::thread::yield_now();
        }
        assert!(alarm.poll_until(&mut context, later).is_pending());
        assert_eq!(*made.borrow(), [soon, later]);
    }
}
