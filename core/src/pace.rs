//! How much a link has under way, and how much it may have (`docs/protocol.md`, Latency budget).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::bound::Bound;
use crate::wire::Pong;

/// What may be under way while the rate is not known, in bytes: ten segments, as TCP begins with
/// (RFC 6928).
const FIRST_CAP: u64 = 14_600;
/// What may be under way at least, whatever was measured.
const LEAST_CAP: u64 = 4096;
/// Where there is any room, there is room for so much: short fragments cost more in heads than they
/// gain.
const LEAST_ROOM: u64 = 1024;
/// How many PINGs are spread over what may be under way.
const SHARES: u64 = 8;
/// By how much a PING may be dated back for no two to have the same time, in microseconds.
const DATED_BACK: u64 = 15;
/// How many PINGs without an answer are remembered.
const MOST_ASKED: usize = 32;
/// How fast a burst may grow, in percent of the rate.
const GAIN: u128 = 125;
/// How fast it may grow at least, in bytes a second, so that what was measured while the peer stood
/// still holds nothing up for long.
const LEAST_FILL: u64 = 10 * LEAST_CAP;
/// For how many flights a rate counts.
const FLIGHTS: usize = 10;
const MILLION: u128 = 1_000_000;
/// How long the shortest round trip counts before it is measured again.
const ROUND_TRIP_LIFE: Duration = Duration::from_secs(10);

/// The bytes under way on one connection, the rate at which they arrive, and the round trip without
/// queues.
///
/// PINGs mark places in what this end writes. The answer to one says when the peer's clock showed
/// its arrival; the bytes between two marks by the time between their arrivals are a rate. That is
/// the bottleneck's wherever there was more to send than it carried, so the highest of the last
/// flights counts. What the path holds by itself is the rate times the shortest round trip; the
/// budget comes on top of it. So queues hold no more than the budget, the path is never idle, and
/// when it gets faster, the next flight shows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pace {
    budget: Duration,
    /// How many bytes this end has written on the connection.
    sent: u64,
    /// The time of the last PING.
    dated: Option<Instant>,
    /// PINGs without an answer, in the order in which they were written.
    asked: VecDeque<Mark>,
    /// The latest that was answered.
    arrived: Option<Arrival>,
    /// Bytes in a second, one figure for each flight, the newest last.
    rates: VecDeque<u64>,
    /// Whether one of these is of a flight in which there was always more to send. Until then it is
    /// not known how much the path carries.
    is_measured: bool,
    /// How much will have been written when the newest flight is over.
    flight: u64,
    /// The shortest round trip, and when it was measured.
    round_trip: Option<(Duration, Instant)>,
    /// Whether next to nothing is to be under way, for the round trip to be measured.
    probes: bool,
    /// How many millionths of a byte may be written in a burst, as of a moment; less than zero where
    /// more was written.
    tokens: (i128, Instant),
    /// What waits after the latest output.
    waits: Waits,
    /// How much had been written when nothing was waiting last.
    idle_at: u64,
}

/// Why messages wait to be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Waits {
    /// None do.
    Nothing,
    /// For room in the budget.
    Held,
    /// For room in the output.
    Full,
}

/// A PING, and what was known when it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Mark {
    written: Instant,
    /// How many bytes were written up to its end.
    sent: u64,
    /// What had been answered by then.
    before: Option<Arrival>,
    /// Whether there was always more to send since `before`.
    busy: bool,
    /// Whether next to nothing was to be under way.
    probes: bool,
}

/// A PING that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Arrival {
    written: Instant,
    sent: u64,
    /// When it arrived, by the peer's clock; `None` where that is not known, because a PING behind
    /// it was answered that has no mark.
    at: Option<u64>,
}

/// Bytes and times are far below the limit.
fn signed(figure: u128) -> i128 {
    i128::try_from(figure).unwrap_or(i128::MAX)
}

impl Pace {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            budget,
            sent: 0,
            dated: None,
            asked: VecDeque::new(),
            arrived: None,
            rates: VecDeque::new(),
            is_measured: false,
            flight: 0,
            round_trip: None,
            probes: false,
            tokens: (0, Instant::ZERO),
            waits: Waits::Nothing,
            idle_at: 0,
        }
    }

    /// Returns how much memory this takes at most.
    pub(crate) fn memory_bound() -> Bound {
        Bound::default()
            .bytes(size_of::<Self>())
            .list::<Mark>(MOST_ASKED)
            .list::<u64>(FLIGHTS)
    }

    /// Returns how many bytes a second arrive at the peer where there is enough to send, if there
    /// was.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.carried_at_least().filter(|_| self.is_measured)
    }

    /// Returns how many bytes a second the path carries, or, where there was too little to send to
    /// know that, has carried.
    fn carried_at_least(&self) -> Option<u64> {
        self.rates.iter().max().copied()
    }

    /// Returns at which rate messages wait for nothing, in bits a second.
    pub(crate) fn target_bitrate(&self) -> Option<u64> {
        let percent = if self.is_busy() { 90 } else { 125 };
        let bits = self.carried_at_least()?.saturating_mul(8);
        Some((bits / 100).saturating_mul(percent))
    }

    /// Returns how many bytes are on their way, as far as this end knows.
    pub(crate) fn under_way(&self) -> u64 {
        self.sent - self.arrived.map_or(0, |arrived| arrived.sent)
    }

    /// Whether there was always something to send of late.
    pub(crate) fn is_busy(&self) -> bool {
        let is_busy = |arrived: Arrival| self.idle_at < arrived.sent;
        self.waits != Waits::Nothing && self.arrived.is_some_and(is_busy)
    }

    /// Returns how many bytes may be under way.
    fn cap(&self) -> u64 {
        if self.probes {
            return LEAST_CAP;
        }
        let least = if self.is_measured {
            LEAST_CAP
        } else {
            FIRST_CAP
        };
        let round_trip = self.round_trip.map(|(round_trip, _)| round_trip);
        let time = round_trip.unwrap_or_default().saturating_add(self.budget);
        self.carried(time).max(least)
    }

    /// Returns how many more bytes may be under way.
    fn cap_room(&self) -> u64 {
        self.cap().saturating_sub(self.under_way())
    }

    /// Returns the room that is worth waiting for.
    fn worthwhile(&self) -> u64 {
        let share = self.cap() / SHARES / 2;
        share.min(self.burst() / 4).max(LEAST_ROOM)
    }

    /// Returns how much may be written at once: half of the budget. What is written faster than it
    /// arrives waits in a queue.
    fn burst(&self) -> u64 {
        self.carried(self.budget / 2).max(LEAST_CAP)
    }

    /// Returns how many bytes arrive in this time; zero where nothing is known of that.
    fn carried(&self, time: Duration) -> u64 {
        let rate = u128::from(self.carried_at_least().unwrap_or(0));
        let bytes = rate.saturating_mul(time.as_micros()) / MILLION;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Returns how many bytes a second a burst may grow by: a quarter more than arrive, so that a
    /// path that has got faster is noticed. `None` while it is not known how many do.
    fn fill_rate(&self) -> Option<u128> {
        let filled = u128::from(self.rate()?) * GAIN / 100;
        Some(filled.max(LEAST_FILL.into()))
    }

    /// Returns how much may be written now, as far as bursts are concerned, in millionths of a byte;
    /// `None` where that is anything.
    fn tokens(&self, now: Instant) -> Option<i128> {
        let (left, at) = self.tokens;
        let most = signed(u128::from(self.burst()) * MILLION);
        let filled = self
            .fill_rate()?
            .saturating_mul(now.saturating_since(at).as_micros());
        Some(left.max(-most).saturating_add(signed(filled)).min(most))
    }

    /// Returns when there will be room for messages that wait, if only time is needed for that.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let worthwhile = self.worthwhile();
        if !self.is_held() || self.cap_room() < worthwhile {
            return None;
        }
        let (left, at) = self.tokens;
        let missing = signed(u128::from(worthwhile) * MILLION).saturating_sub(left);
        let missing = u128::try_from(missing).unwrap_or(0);
        let wait = missing.div_ceil(self.fill_rate()?);
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX));
        at.checked_add(wait)
    }

    /// Handles the passing of time. Returns whether messages need not wait any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.deadline().is_some_and(|at| at <= now);
        if is_due {
            self.waits = Waits::Full;
        }
        is_due
    }

    /// Returns how many more bytes may be written of messages that have no priority, `pending`
    /// bytes of output being written. It may be a little more than is left, so that messages are
    /// not cut into small pieces.
    pub(crate) fn room(&self, now: Instant, pending: usize) -> usize {
        let burst = match self.tokens(now) {
            Some(tokens) => u64::try_from(tokens / signed(MILLION)).unwrap_or(0),
            None => u64::MAX,
        };
        let room = self.cap_room().min(burst);
        // What waits does so until it is worth it.
        let least = if self.is_held() { self.worthwhile() } else { 1 };
        if room < least {
            return 0;
        }
        let room = room.saturating_sub(pending as u64);
        usize::try_from(room.max(LEAST_ROOM)).unwrap_or(usize::MAX)
    }

    /// Notes what waits after the messages of an output were written.
    pub(crate) fn note_waiting(&mut self, now: Instant, waits: Waits) {
        self.waits = waits;
        self.wrote(now, 0);
    }

    /// Whether messages wait for room.
    pub(crate) fn is_held(&self) -> bool {
        self.waits == Waits::Held
    }

    /// Notes output.
    pub(crate) fn wrote(&mut self, now: Instant, bytes: usize) {
        let written = signed(bytes as u128 * MILLION);
        self.tokens = (self.tokens(now).unwrap_or(0).saturating_sub(written), now);
        self.sent += bytes as u64;
        if self.waits == Waits::Nothing {
            self.idle_at = self.sent;
        }
    }

    /// Whether a PING is due: one for each share, and one behind everything where messages wait for
    /// its answer.
    pub(crate) fn wants_to_ask(&self, pending: usize) -> bool {
        let marked = match (self.asked.back(), self.arrived) {
            (Some(mark), _) => mark.sent,
            (None, Some(arrived)) => arrived.sent,
            (None, None) => 0,
        };
        let since = self.sent + pending as u64 - marked;
        // What waits for room needs an answer; while one is on its way, that is soon enough.
        let due = since >= self.cap() / SHARES || (self.is_held() && self.asked.is_empty());
        due && since > 0 && self.asked.len() < MOST_ASKED
    }

    /// Returns the time for a PING: now, or a little before, so that the answer says which PING it is
    /// for. Too early is the safe side: it makes messages look older. `None` if there were too many
    /// at once.
    pub(crate) fn date(&self, now: Instant) -> Option<Instant> {
        let now = now.as_micros();
        let free = self.dated.map_or(0, |last| last.as_micros() + 1);
        let date = now.saturating_sub(DATED_BACK).max(free);
        (date <= now).then_some(Instant::from_micros(date))
    }

    /// Notes a PING with this time at the end of `pending` bytes of output.
    pub(crate) fn ask(&mut self, date: Instant, pending: usize) {
        self.dated = Some(date);
        if self.asked.len() < MOST_ASKED {
            self.asked.push_back(Mark {
                written: date,
                sent: self.sent + pending as u64,
                before: self.arrived,
                busy: self.is_busy(),
                probes: self.probes,
            });
        }
    }

    /// Handles a PONG. One that answers no PING is ignored.
    pub(crate) fn answered(&mut self, now: Instant, pong: &Pong) {
        let echo = Instant::from_micros(pong.echo);
        if self.dated.is_none_or(|last| echo > last) {
            return;
        }
        // Those before it have arrived too, and will not be answered.
        let count = self.asked.partition_point(|mark| mark.written <= echo);
        let Some(mark) = self.asked.drain(..count).next_back() else {
            return;
        };
        let exact = mark.written == echo;
        let arrived = Arrival {
            written: mark.written,
            sent: mark.sent,
            at: exact.then_some(pong.arrived),
        };
        if exact {
            let answering = Duration::from_micros(pong.time.wrapping_sub(pong.arrived));
            let whole = now.saturating_since(echo);
            self.note_round_trip(now, whole.saturating_sub(answering), &mark);
            self.note_rate(now, &mark, pong.arrived);
        }
        self.arrived = Some(arrived);
    }

    fn note_round_trip(&mut self, now: Instant, round_trip: Duration, mark: &Mark) {
        let in_front = mark.sent - mark.before.map_or(0, |before| before.sent);
        // Queues make it longer, unless there were none when it was asked for.
        let is_clean = self.probes && mark.probes && in_front <= 2 * LEAST_CAP;
        match self.round_trip {
            Some((least, _)) if round_trip > least && !is_clean => {}
            least => {
                self.round_trip = Some((round_trip, now));
                // One behind much has queued, and so may the first one have, behind what was sent
                // before anything was known.
                self.probes = in_front > 2 * LEAST_CAP && (self.probes || least.is_none());
            }
        }
        let Some((least, at)) = self.round_trip else {
            return;
        };
        self.probes |= now.saturating_since(at) > ROUND_TRIP_LIFE;
        let waits = round_trip.saturating_sub(least);
        if waits > self.budget.saturating_mul(2) && !self.probes {
            // The path is slower than it was, or longer.
            self.probes = true;
            self.rates.drain(..self.rates.len().saturating_sub(1));
        }
    }

    /// Notes how fast what is in front of the mark, which arrived then, has arrived.
    fn note_rate(&mut self, now: Instant, mark: &Mark, arrived: u64) {
        let Some((before, at)) = mark.before.and_then(|before| Some((before, before.at?))) else {
            return;
        };
        // Not faster than it was written, however close together the two have arrived.
        let apart = Duration::from_micros(arrived.wrapping_sub(at));
        let took = apart.max(mark.written.saturating_since(before.written));
        let bytes = u128::from(mark.sent - before.sent);
        let Some(rate) = (bytes * 1_000_000).checked_div(took.as_micros()) else {
            return;
        };
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        // Where there was too little to send, the path can do at least this.
        let counts = mark.busy && !self.probes;
        if !counts && self.carried_at_least().is_some_and(|known| rate <= known) {
            return;
        }
        if counts && !self.is_measured {
            self.is_measured = true;
            // From here on bursts are bounded.
            self.tokens = (0, now);
        }
        match self.rates.back_mut() {
            Some(newest) if before.sent < self.flight => *newest = rate.max(*newest),
            _ => {
                if self.rates.len() == FLIGHTS {
                    self.rates.pop_front();
                }
                self.rates.push_back(rate);
                self.flight = self.sent;
            }
        }
    }
}
