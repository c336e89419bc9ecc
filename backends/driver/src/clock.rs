//! The clock of links and of the timers of their runtime.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant as StdInstant};

use countersign_core::Instant;

/// The epoch of the core's time: the same for all links, since a connection may be handed from one
/// to another, and before the first of them, since a runtime's clock may have stood still for a
/// while.
static EPOCH: LazyLock<StdInstant> = LazyLock::new(|| {
    let now = StdInstant::now();
    now.checked_sub(Duration::from_secs(600)).unwrap_or(now)
});

/// The clock of links: that of their runtime's timers, plus the time for which the machine has
/// slept (`docs/backends.md`, Time).
///
/// The default one follows the machine's. Backends set theirs with
/// [`Setup::timed_by`](crate::Setup::timed_by) if their runtime has another, for example one that
/// tests can pause.
#[derive(Clone)]
pub struct Clock {
    /// The runtime's clock, if that is not the machine's.
    timers: Option<Arc<dyn Fn() -> StdInstant + Send + Sync>>,
    /// Returns for how long the machine has slept, in all.
    slept: fn() -> Duration,
}

/// One instant, by the clock of links and by that of their runtime's timers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Instant,
    timers: StdInstant,
}

impl Reading {
    /// Converts an instant of links to the timers' clock, as [`Clock::to_timers`] does.
    pub(crate) fn to_timers(self, moment: Instant) -> Option<StdInstant> {
        if moment >= self.now {
            self.timers.checked_add(moment.saturating_since(self.now))
        } else {
            self.timers.checked_sub(self.now.saturating_since(moment))
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            timers: None,
            slept,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.timers.as_ref().map_or("machine's", |_| "runtime's");
        f.debug_tuple("Clock").field(&kind).finish()
    }
}

impl Clock {
    /// Makes the clock of a runtime whose timers follow `now`.
    #[must_use]
    pub fn following(now: impl Fn() -> StdInstant + Send + Sync + 'static) -> Self {
        Self {
            timers: Some(Arc::new(now)),
            slept,
        }
    }

    /// Returns the time of the runtime's timers, which stand still while the machine sleeps.
    #[must_use]
    pub fn of_timers(&self) -> StdInstant {
        match &self.timers {
            Some(now) => now(),
            None => StdInstant::now(),
        }
    }

    /// Returns the time of links.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.at(self.of_timers())
    }

    /// Reads both clocks.
    pub(crate) fn read(&self) -> Reading {
        let timers = self.of_timers();
        let now = self.at(timers);
        Reading { now, timers }
    }

    /// Converts an instant of the timers' clock to the core's, as long as the machine does not
    /// sleep until then.
    #[must_use]
    pub fn at(&self, moment: StdInstant) -> Instant {
        Instant::ZERO + (moment.saturating_duration_since(*EPOCH) + (self.slept)())
    }

    /// Converts an instant of the core's to the timers' clock, as long as the machine does not
    /// sleep until then; returns `None` for one beyond that clock's range.
    #[must_use]
    pub fn to_timers(&self, moment: Instant) -> Option<StdInstant> {
        let since = moment.saturating_since(Instant::ZERO);
        EPOCH.checked_add(since.saturating_sub((self.slept)()))
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use suspend::slept;

/// Returns zero where the standard library's clock runs while the machine sleeps, or the system has
/// no other clock.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn slept() -> Duration {
    Duration::ZERO
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod suspend {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    /// A clock that runs while the machine sleeps, unlike that of the standard library.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK_WITH_SLEEP: ClockId = ClockId::Boottime;
    #[cfg(target_vendor = "apple")]
    const CLOCK_WITH_SLEEP: ClockId = ClockId::Monotonic;

    /// One instant by both clocks, in nanoseconds: whole numbers, since this is read in every turn.
    #[derive(Clone, Copy)]
    struct Reading {
        with_sleep: u64,
        without_sleep: u64,
    }

    /// The first reading of both. The order makes the time between the two readings count as awake.
    static FIRST: LazyLock<Reading> = LazyLock::new(|| {
        let without_sleep = without_sleep();
        Reading {
            with_sleep: nanos(CLOCK_WITH_SLEEP),
            without_sleep,
        }
    });

    /// The most that [`slept`] has found, in nanoseconds.
    static SLEPT: AtomicU64 = AtomicU64::new(0);

    /// Reads a clock, which shows less than 500 years.
    fn nanos(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        let seconds = time.tv_sec.unsigned_abs().wrapping_mul(1_000_000_000);
        seconds.wrapping_add(time.tv_nsec.unsigned_abs())
    }

    /// Reads the clock of the standard library.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn without_sleep() -> u64 {
        nanos(ClockId::Monotonic)
    }

    /// The same where `rustix` has no name for it.
    #[cfg(target_vendor = "apple")]
    fn without_sleep() -> u64 {
        let since = std::time::Instant::now().saturating_duration_since(*super::EPOCH);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    impl Reading {
        /// Returns how long the machine has slept between this reading and `now`.
        fn asleep(self, now: Self) -> u64 {
            let awake = now.without_sleep.saturating_sub(self.without_sleep);
            let all = now.with_sleep.saturating_sub(self.with_sleep);
            all.saturating_sub(awake)
        }
    }

    /// Returns how long the machine has slept since the first call. It never decreases: a delay
    /// between the two readings makes the result too small, not too large.
    pub(super) fn slept() -> Duration {
        let first = *FIRST;
        let now = Reading {
            with_sleep: nanos(CLOCK_WITH_SLEEP),
            without_sleep: without_sleep(),
        };
        let found = first.asleep(now);
        let known = SLEPT.load(Ordering::Relaxed);
        if found > known {
            SLEPT.fetch_max(found, Ordering::Relaxed);
        }
        Duration::from_nanos(found.max(known))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_one_clock_has_missed_the_machine_has_slept() {
            const SECOND: u64 = 1_000_000_000;
            let first = Reading {
                with_sleep: 1000 * SECOND,
                without_sleep: 600 * SECOND,
            };
            let later = |all: u64, awake: u64| Reading {
                with_sleep: first.with_sleep + all * SECOND,
                without_sleep: first.without_sleep + awake * SECOND,
            };
            assert_eq!(first.asleep(later(13, 1)), 12 * SECOND);
            assert_eq!(first.asleep(later(13, 13)), 0);
            // The thread was preempted between the two readings.
            assert_eq!(first.asleep(later(13, 14)), 0);
            let known = slept();
            assert!(slept() >= known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use countersign_core::{Config, Link, Role, SendChannel, Verdict};
    use countersign_endpoint::Security;

    use super::*;
    use crate::sender::{Outgoing, Sender};
    use crate::shared::{Handle, Shared};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_a_timer_waits_for_has_come_when_it_goes_off() {
        let clock = Clock::default();
        let now = clock.now();
        for later in [0, 1, 1_000, 3_600_000_000] {
            let moment = now + Duration::from_micros(later);
            let set_to = clock.to_timers(moment).unwrap();
            assert!(clock.at(set_to) >= moment);
        }
        assert!(clock.now() >= now);
    }

    #[test]
    fn a_runtime_may_have_a_time_of_its_own() {
        let time = Arc::new(Mutex::new(StdInstant::now()));
        let runtime = time.clone();
        let clock = Clock::following(move || *runtime.lock().unwrap());
        let before = clock.now();
        *time.lock().unwrap() += HOUR;
        assert!(clock.now() >= before + HOUR);
        assert!(clock.now() < before + 2 * HOUR);
    }

    #[test]
    fn what_has_expired_while_the_machine_slept_is_not_sent() {
        static SLEPT: AtomicU64 = AtomicU64::new(0);
        let clock = Clock {
            slept: || Duration::from_secs(SLEPT.load(Ordering::SeqCst)),
            ..Clock::default()
        };
        let config = Config::new().channel(SendChannel::new("commands"));
        let link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
        let channel = link.channel_id("commands").unwrap();
        let shared = Shared::new(link, &Security::plaintext(), &clock);
        let sender = Sender::new(Arc::new(Handle(shared.clone())), channel);
        let stop = Outgoing::from("stop").expires_in(HOUR);
        let receipt = sender.try_send(stop).unwrap();
        let expiry = shared.with(|state| {
            state.link.handle_timeout(clock.now());
            state.link.poll_deadline().unwrap()
        });
        assert_eq!(receipt.verdict(), None);
        assert!(clock.to_timers(expiry).unwrap() > clock.of_timers());
        SLEPT.store(HOUR.as_secs(), Ordering::SeqCst);
        // A timer that is set now fires at once.
        assert!(clock.to_timers(expiry).unwrap() <= clock.of_timers());
        shared.with(|state| state.link.handle_timeout(clock.now()));
        assert_eq!(receipt.verdict(), Some(Verdict::Expired));
    }
}
