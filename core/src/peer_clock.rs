//! What an end knows of its peer's clock (`docs/protocol.md`, Age).

use core::time::Duration;

use crate::Instant;
use crate::age::{ClockOffset, Timing, drift};
use crate::wire::{GreetingHead, Pong, Times};

/// How long after a PING the next one goes out, while messages with times arrive: at first, and at
/// most. It doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The same while none has arrived.
const IDLE_PAUSE: Duration = Duration::from_secs(10);
/// How long the shortest round trip counts where others are longer.
pub(crate) const ROUND_TRIP_LIFE: Duration = Duration::from_secs(10);

/// How far this end's clock is ahead of the peer's, as far as it is known, in microseconds.
///
/// The two clocks have any epochs, so the offset is a number modulo 2^64, as each of their
/// differences is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Bound {
    offset: u64,
    /// When it was found. It becomes weaker from then on.
    at: Instant,
}

impl Bound {
    /// Returns by how much it may be wrong now.
    fn error(self, now: Instant) -> u64 {
        drift(micros(now.saturating_since(self.at)))
    }
}

/// Whether an offset is above another.
const fn is_above(offset: u64, other: u64) -> bool {
    offset.wrapping_sub(other).cast_signed() > 0
}

/// The peer's clock, as seen on one connection.
///
/// What the peer's clock shows is known in two directions. A time that arrives was shown before it
/// arrived: that bounds the offset from above. A time that answers one of this end's was shown
/// after that was written: that bounds it from below. The true offset is between the highest lower
/// and the lowest upper bound, each of which widens as it gets old, because the clocks drift.
///
/// A peer that errs or lies makes its own messages early or late, as it could with its messages'
/// own times, and nothing else.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PeerClock {
    low: Option<Bound>,
    high: Option<Bound>,
    /// The shortest round trip of late, and when that was.
    round_trip: Option<(Duration, Instant)>,
    /// The latest time of the peer that can be answered, and when it arrived.
    heard: Option<(u64, Instant)>,
    /// The first time of this end that the peer can have answered, and the last.
    asked: Option<(Instant, Instant)>,
    /// When to ask again, should anything arrive.
    ask_at: Instant,
    pause: Duration,
}

impl Default for PeerClock {
    fn default() -> Self {
        Self {
            low: None,
            high: None,
            round_trip: None,
            heard: None,
            asked: None,
            ask_at: Instant::NEVER,
            pause: IDLE_PAUSE,
        }
    }
}

impl PeerClock {
    /// Notes that this end writes its time, which the peer answers.
    pub(crate) fn ask(&mut self, now: Instant) {
        // A PING may be dated back, also to before the greeting.
        let (first, last) = self.asked.unwrap_or((now, now));
        self.asked = Some((first.min(now), last.max(now)));
        self.ask_at = now + self.pause;
        if self.pause < IDLE_PAUSE {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether asking again is worth it.
    #[inline]
    pub(crate) fn wants_to_ask(&self, now: Instant) -> bool {
        self.ask_at <= now
    }

    /// Handles a WELCOME, which answers the HELLO and gives the acceptor's time.
    pub(crate) fn answered_by_welcome(&mut self, now: Instant, welcome: &GreetingHead) {
        let Some((hello, _)) = self.asked else {
            return;
        };
        self.heard = Some((welcome.time, now));
        let pong = Pong {
            echo: hello.as_micros(),
            arrived: welcome.arrived,
            time: welcome.time,
        };
        self.answered(now, &pong);
    }

    /// Handles a time of the peer that arrives in HELLO or PING.
    pub(crate) fn hear(&mut self, now: Instant, time: u64) {
        self.heard = Some((time, now));
        self.arrives(now, time);
    }

    /// Returns the answer to the latest of these.
    pub(crate) fn answer(&self, now: Instant) -> Option<Pong> {
        let (echo, arrived) = self.heard?;
        Some(Pong {
            echo,
            arrived: arrived.as_micros(),
            time: now.as_micros(),
        })
    }

    /// Returns when the latest of these arrived.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.heard.map(|(_, arrived)| arrived)
    }

    /// Handles the answer to a time of this end's. What answers none is ignored.
    pub(crate) fn answered(&mut self, now: Instant, pong: &Pong) {
        let echo = Instant::from_micros(pong.echo);
        let is_ours = |(first, last)| (first..=last).contains(&echo);
        if !self.asked.is_some_and(is_ours) {
            return;
        }
        let round_trip = pong.round_trip(now);
        let is_shorter =
            |(least, at)| round_trip <= least || now.saturating_since(at) > ROUND_TRIP_LIFE;
        if self.round_trip.is_none_or(is_shorter) {
            self.round_trip = Some((round_trip, now));
        }
        self.arrives(now, pong.time);
        let low = pong.echo.wrapping_sub(pong.arrived);
        let contradicts = self.high_at(now).is_some_and(|high| is_above(low, high));
        if contradicts {
            self.start_again(now);
        }
        if self.low_at(now).is_none_or(|known| is_above(low, known)) {
            self.low = Some(Bound {
                offset: low,
                at: echo,
            });
        }
    }

    /// Handles a time that the peer's clock showed before now.
    fn arrives(&mut self, now: Instant, time: u64) {
        let high = now.as_micros().wrapping_sub(time);
        if self.low_at(now).is_some_and(|low| is_above(low, high)) {
            self.start_again(now);
        }
        if self.high_at(now).is_none_or(|known| is_above(known, high)) {
            self.high = Some(Bound {
                offset: high,
                at: now,
            });
        }
    }

    /// Forgets the offset, because a clock has jumped, and asks anew.
    fn start_again(&mut self, now: Instant) {
        self.low = None;
        self.high = None;
        self.pause = FIRST_PAUSE;
        self.ask_at = now;
    }

    /// Handles the times of a message that begins to arrive.
    pub(crate) fn timing(&mut self, now: Instant, times: Times) -> Timing {
        if self.pause == IDLE_PAUSE {
            self.pause = FIRST_PAUSE;
            self.ask_at = now;
        }
        self.arrives(now, times.accepted);
        let since = now.as_micros().wrapping_sub(times.accepted);
        let ages = self.low_at(now).zip(self.high_at(now)).map(|(low, high)| {
            let (most, least) = (
                positive(since.wrapping_sub(low)),
                positive(since.wrapping_sub(high)),
            );
            (
                least.saturating_sub(drift(least)),
                most.saturating_add(drift(most)),
            )
        });
        let life = (times.expires != Times::NEVER)
            .then(|| positive(times.expires.wrapping_sub(times.accepted)));
        Timing::arriving(now, ages, life)
    }

    /// Takes the middle of the two bounds for the offset.
    #[cfg(planted)]
    pub(crate) fn narrow(&mut self, now: Instant) {
        if let (Some(low), Some(high)) = (self.low_at(now), self.high_at(now)) {
            let offset = low.wrapping_add(positive(high.wrapping_sub(low)) / 2);
            let bound = Some(Bound { offset, at: now });
            (self.low, self.high) = (bound, bound);
        }
    }

    /// Returns what is known of the offset.
    pub(crate) fn offset(&self, now: Instant) -> Option<ClockOffset> {
        Some(ClockOffset {
            at_least: self.low_at(now)?.cast_signed(),
            at_most: self.high_at(now)?.cast_signed(),
        })
    }

    /// Returns the shortest round trip.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|(least, _)| least)
    }

    fn low_at(&self, now: Instant) -> Option<u64> {
        self.low.map(|low| low.offset.wrapping_sub(low.error(now)))
    }

    fn high_at(&self, now: Instant) -> Option<u64> {
        self.high
            .map(|high| high.offset.wrapping_add(high.error(now)))
    }
}

/// Returns a difference, zero where it is below that.
fn positive(difference: u64) -> u64 {
    u64::try_from(difference.cast_signed()).unwrap_or(0)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
