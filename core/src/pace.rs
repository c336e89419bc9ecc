//! How much a link has under way, and how much it may have (`docs/protocol.md`, Latency budget).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::bound::Bound;
use crate::peer_clock::ROUND_TRIP_LIFE;
use crate::wire::Pong;

/// What may be under way while the rate is not known, in bytes: ten segments, as TCP begins with
/// (RFC 6928).
const FIRST_CAP: u64 = 14_600;
/// What may be under way at least of messages without priority, whatever was measured and whatever
/// else is.
const LEAST_CAP: u64 = 4096;
/// The same while the round trip is measured.
const PROBE_CAP: u64 = 2048;
/// Where there is any room, there is room for so much: short fragments cost more in heads than they
/// gain.
const LEAST_ROOM: u64 = 1024;
/// How many PINGs are spread over what may be under way, at least and at most.
const SHARES: u64 = 8;
const MOST_SHARES: u64 = 36;
/// How many PINGs without an answer are remembered.
const MOST_ASKED: usize = 48;
/// By how much a PING may be dated back for no two to have the same time, in microseconds.
const DATED_BACK: u64 = 15;
/// How fast a burst may grow, in percent of the rate: at first, and once the rate has stopped
/// growing.
const FIRST_GAIN: u128 = 250;
const GAIN: u128 = 125;
/// How fast it may grow at least, in bytes a second, so that what was measured while the peer stood
/// still holds nothing up for long.
const LEAST_FILL: u64 = 10 * LEAST_CAP;
/// The longest burst.
const LONGEST_BURST: Duration = Duration::from_millis(50);
/// Queueing delays that are shorter than this say nothing about the path.
const LEAST_QUEUED: Duration = Duration::from_millis(50);
const MILLION: u128 = 1_000_000;
/// The shortest time that a rate is measured over: clocks are not exact.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// For how many flights a rate counts.
const FLIGHTS: usize = 10;
/// Which part of the rate is kept where the path has become slower.
const KEPT_RATE: u64 = 4;
/// After how many flights without a gain of a quarter the rate has stopped growing.
const STALLED: u8 = 3;

/// The bytes under way on one connection, the rate at which they arrive, and the round trip without
/// queues.
///
/// PINGs mark places in what this end writes. The answer to one says when the peer's clock showed
/// its arrival; the bytes between two marks by the time between their arrivals are a rate. That is
/// the bottleneck's wherever there was more to send than it carried, so the highest of the last
/// flights counts. What the path holds by itself is the rate times the shortest round trip; the
/// budget comes on top of it, so that queues hold no more than that. Until the rate stops growing
/// twice as much may be under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pace {
    budget: Duration,
    written: Written,
    /// The time of the last PING.
    dated: Option<Instant>,
    /// PINGs without an answer, in the order in which they were written.
    asked: VecDeque<Mark>,
    /// What had been written up to the latest that was answered.
    arrived: Written,
    /// The arrival that the next rate is measured from.
    base: Option<Arrival>,
    /// Bytes in a second, one figure for each flight, the newest last.
    rates: VecDeque<u64>,
    /// Whether one of these is of a flight in which there was always more to send. Until then it is
    /// not known how much the path carries.
    is_measured: bool,
    /// How much will have been written when the newest flight is over.
    flight: u64,
    /// While the rate grows: what it was when it had last grown by a quarter, and how many flights
    /// there were since.
    grows: Option<(u64, u8)>,
    /// The shortest round trip, and when it was measured.
    round_trip: Option<(Duration, Instant)>,
    /// The shortest one-way delay to the peer, apart from the offset between the two clocks, modulo
    /// 2^64.
    one_way: Option<u64>,
    /// Whether next to nothing is to be under way, for these two to be measured.
    probes: bool,
    /// How many millionths of a byte may be written in a burst, as of a moment; less than zero where
    /// more was written.
    tokens: (i128, Instant),
    /// What waits after the latest output.
    waits: Waits,
    /// How much had been written when nothing was waiting last.
    idle_at: u64,
}

/// How much was written on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Written {
    all: u64,
    /// Of messages without priority.
    paced: u64,
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
    /// For nothing any more: there was no room in the budget, and there is now.
    Due,
}

/// A PING, and what was known when it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Mark {
    date: Instant,
    /// What was written up to its end.
    written: Written,
    /// How much of that without priority was under way.
    in_front: u64,
    base: Option<Arrival>,
    /// Whether there was always more to send since `base`.
    busy: bool,
    /// Whether next to nothing was to be under way.
    probes: bool,
}

/// A PING that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Arrival {
    date: Instant,
    /// How much was written up to its end.
    sent: u64,
    /// When it arrived, by the peer's clock.
    at: u64,
}

/// Bytes and times are far below the limit.
fn signed(figure: u128) -> i128 {
    i128::try_from(figure).unwrap_or(i128::MAX)
}

impl Pace {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            budget,
            written: Written::default(),
            dated: None,
            asked: VecDeque::new(),
            arrived: Written::default(),
            base: None,
            rates: VecDeque::new(),
            is_measured: false,
            flight: 0,
            grows: Some((0, 0)),
            round_trip: None,
            one_way: None,
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
        let percent = if self.is_measured { 90 } else { 125 };
        let bits = u128::from(self.carried_at_least()?) * 8 * percent / 100;
        Some(u64::try_from(bits).unwrap_or(u64::MAX))
    }

    /// Whether there was always something to send of late.
    fn is_busy(&self) -> bool {
        let is_busy = |base: Arrival| self.idle_at < base.sent;
        self.waits != Waits::Nothing && self.base.is_some_and(is_busy)
    }

    /// Returns how many bytes may be under way.
    fn cap(&self) -> u64 {
        let round_trip = self.round_trip.map(|(round_trip, _)| round_trip);
        let time = round_trip.unwrap_or_default().saturating_add(self.budget);
        let carried = self.carried(time);
        // Where some has arrived is not known until the next PING is answered.
        let unknown = carried / MOST_SHARES + LEAST_ROOM.min(carried / 16);
        let carried = carried.saturating_add(unknown);
        match self.grows {
            Some(_) => carried.saturating_mul(2).max(FIRST_CAP),
            None => carried.max(LEAST_CAP),
        }
    }

    /// Returns how many bytes of messages without priority are on their way, as far as this end
    /// knows.
    fn paced_under_way(&self) -> u64 {
        self.written.paced - self.arrived.paced
    }

    /// Returns how many more bytes of messages without priority may be under way.
    fn cap_room(&self) -> u64 {
        // What has priority counts, and may be all that there is room for.
        let under_way = self.paced_under_way();
        if self.probes {
            return PROBE_CAP.saturating_sub(under_way);
        }
        let least = LEAST_CAP.saturating_sub(under_way);
        let under_way = self.written.all - self.arrived.all;
        self.cap().saturating_sub(under_way).max(least)
    }

    /// Returns how many bytes there are between two PINGs: some to a budget, so that what is under
    /// way is known to less than that, and not too many in all.
    fn share(&self) -> u64 {
        let cap = self.cap();
        let share = (self.carried(self.budget) / 2).min(cap / SHARES);
        share.max(cap / MOST_SHARES).max(LEAST_ROOM)
    }

    /// Returns how much may be written at once: half of the budget. What is written faster than it
    /// arrives waits in a queue.
    fn burst(&self) -> u64 {
        let time = (self.budget / 2).min(LONGEST_BURST);
        self.carried(time).max(LEAST_CAP)
    }

    /// Returns the part of a burst that is worth waiting for, in millionths of a byte.
    fn worthwhile(&self) -> i128 {
        signed(u128::from((self.burst() / 4).max(LEAST_ROOM)) * MILLION)
    }

    /// Returns how many bytes arrive in this time; zero where nothing is known of that.
    fn carried(&self, time: Duration) -> u64 {
        let rate = u128::from(self.carried_at_least().unwrap_or(0));
        let bytes = rate.saturating_mul(time.as_micros()) / MILLION;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Returns how many bytes a second a burst may grow by: more than arrive, so that a path that
    /// carries more is noticed. `None` while it is not known how many do.
    fn fill_rate(&self) -> Option<u128> {
        let gain = self.grows.map_or(GAIN, |_| FIRST_GAIN);
        let filled = u128::from(self.rate()?) * gain / 100;
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
        if !self.is_held() {
            return None;
        }
        if self.cap_room() < LEAST_ROOM {
            return self.next_ask();
        }
        let (left, at) = self.tokens;
        let missing = u128::try_from(self.worthwhile().saturating_sub(left)).unwrap_or(0);
        let wait = missing.div_ceil(self.fill_rate()?);
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(u64::MAX));
        at.checked_add(wait)
    }

    /// Returns when a PING can be written that messages wait for, where there were too many at once
    /// for one more: by a clock that is coarse, or stands still.
    fn next_ask(&self) -> Option<Instant> {
        let tick = Duration::from_micros(1);
        let dated = self.dated.filter(|_| self.asked.is_empty());
        dated.and_then(|at| at.checked_add(tick))
    }

    /// Handles the passing of time. Returns whether messages need not wait any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.deadline().is_some_and(|at| at <= now);
        if is_due {
            self.waits = Waits::Due;
        }
        is_due
    }

    /// Returns how many more bytes may be written of messages that have no priority, `pending`
    /// bytes of output being written. It may be a little more than is left, so that messages are
    /// not cut into small pieces.
    pub(crate) fn room(&self, now: Instant, pending: usize) -> usize {
        let (room, tokens) = (self.cap_room(), self.tokens(now));
        // What waits does so until it is worth it.
        let (least, worthwhile) = if self.is_held() {
            (LEAST_ROOM, self.worthwhile())
        } else {
            (1, 1)
        };
        if room < least || tokens.is_some_and(|tokens| tokens < worthwhile) {
            return 0;
        }
        let burst = tokens.map_or(u64::MAX, |tokens| {
            u64::try_from(tokens / signed(MILLION)).unwrap_or(0)
        });
        let room = room.min(burst).saturating_sub(pending as u64);
        usize::try_from(room.max(LEAST_ROOM)).unwrap_or(usize::MAX)
    }

    /// Notes how much was written of messages without priority, and why the others wait.
    pub(crate) fn wrote_messages(&mut self, bytes: usize, waits: Waits) {
        self.written.paced += bytes as u64;
        self.waits = waits;
        if waits == Waits::Nothing {
            self.idle_at = self.written.all;
        }
    }

    /// Whether messages wait for room.
    pub(crate) fn is_held(&self) -> bool {
        self.waits == Waits::Held
    }

    /// Notes output.
    pub(crate) fn wrote(&mut self, now: Instant, bytes: usize) {
        let written = signed(bytes as u128 * MILLION);
        self.tokens = (self.tokens(now).unwrap_or(0).saturating_sub(written), now);
        self.written.all += bytes as u64;
        if self.waits == Waits::Nothing {
            self.idle_at = self.written.all;
        }
    }

    /// Whether a PING is due: one for each share, and one behind everything where messages wait for
    /// its answer.
    pub(crate) fn wants_to_ask(&self, pending: usize) -> bool {
        let marked = self.asked.back().map_or(self.arrived, |mark| mark.written);
        let since = self.written.all + pending as u64 - marked.all;
        // What waits for room needs an answer; while one is on its way, that is soon enough.
        let due = since >= self.share() || (self.is_held() && self.asked.is_empty());
        due && since > 0 && self.asked.len() < MOST_ASKED
    }

    /// Returns the time for a PING: now, or a little before, so that the answer says which PING it is
    /// for. Too early is the safe side: it makes messages look older. `None` if there were too many
    /// at once.
    pub(crate) fn date(&self, now: Instant) -> Option<Instant> {
        let now = now.as_micros();
        let free = self
            .dated
            .map_or(Some(0), |last| last.as_micros().checked_add(1))?;
        let date = now.saturating_sub(DATED_BACK).max(free);
        (date <= now).then_some(Instant::from_micros(date))
    }

    /// Notes a PING with this time at the end of `pending` bytes of output.
    pub(crate) fn ask(&mut self, date: Instant, pending: usize) {
        self.dated = Some(date);
        if self.asked.len() < MOST_ASKED {
            self.asked.push_back(Mark {
                date,
                written: Written {
                    all: self.written.all + pending as u64,
                    ..self.written
                },
                in_front: self.paced_under_way(),
                base: self.base,
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
        let count = self.asked.partition_point(|mark| mark.date <= echo);
        let Some(mark) = self.asked.drain(..count).next_back() else {
            return;
        };
        // The answer may be to a PING behind it that has no mark.
        if mark.date == echo {
            self.note_round_trip(now, pong, &mark);
            self.note_rate(now, pong.arrived, &mark);
        }
        self.arrived = mark.written;
    }

    fn note_round_trip(&mut self, now: Instant, pong: &Pong, mark: &Mark) {
        let round_trip = pong.round_trip(now);
        // Queues make it longer, unless there were none when it was asked for.
        let is_clean = self.probes && mark.probes && mark.in_front <= 2 * LEAST_CAP;
        match self.round_trip {
            Some((least, _)) if round_trip > least && !is_clean => {}
            least => {
                self.round_trip = Some((round_trip, now));
                // One behind much has queued, and so may the first one have, behind what was sent
                // before anything was known.
                self.probes = mark.in_front > 2 * LEAST_CAP && (self.probes || least.is_none());
            }
        }
        let is_old = |(_, at)| now.saturating_since(at) > ROUND_TRIP_LIFE;
        self.probes |= self.round_trip.is_some_and(is_old);
        let queued = self.queued(pong, is_clean);
        let usual = self.budget.saturating_mul(2).max(round_trip / 2);
        if queued > usual.max(LEAST_QUEUED) {
            self.note_queue(now);
        }
    }

    /// Returns how much longer a PING was on its way than the fastest. If it is `clean`, it becomes
    /// the one to compare with.
    fn queued(&mut self, pong: &Pong, clean: bool) -> Duration {
        let one_way = pong.arrived.wrapping_sub(pong.echo);
        let known = self.one_way.filter(|_| !clean);
        let queued = known.map_or(0, |least| one_way.wrapping_sub(least).cast_signed());
        if queued <= 0 {
            self.one_way = Some(one_way);
        }
        Duration::from_micros(u64::try_from(queued).unwrap_or(0))
    }

    /// Handles a queue that is longer than the budget accounts for. It is one at the bottleneck, so
    /// its rate has been seen.
    fn note_queue(&mut self, now: Instant) {
        if self.rates.is_empty() {
            return;
        }
        self.grows = None;
        if !self.is_measured {
            // Bursts that never made messages wait have filled it.
            self.bound_bursts(now);
        } else if !self.probes {
            // The path is slower than it was, or longer, or has stood still: the rate from here on
            // counts, and a part of what was known, for it to be found again soon.
            self.probes = true;
            let known = self.carried_at_least().unwrap_or(0);
            self.rates.clear();
            self.rates.push_back(known / KEPT_RATE);
        }
    }

    /// From here on the rate is known, and bursts are bounded.
    fn bound_bursts(&mut self, now: Instant) {
        self.is_measured = true;
        self.tokens = (0, now);
    }

    /// Notes how fast what is in front of the mark, which arrived then, has arrived.
    fn note_rate(&mut self, now: Instant, arrived: u64, mark: &Mark) {
        let since = |base: Arrival| Duration::from_micros(arrived.wrapping_sub(base.at));
        if self.base.is_none_or(|base| since(base) >= LEAST_TIME) {
            self.base = Some(Arrival {
                date: mark.date,
                sent: mark.written.all,
                at: arrived,
            });
        }
        let Some(base) = mark.base else {
            return;
        };
        // Not faster than it was written, however close together the two have arrived.
        let took = since(base).max(mark.date.saturating_since(base.date));
        if took < LEAST_TIME {
            return;
        }
        let bytes = u128::from(mark.written.all - base.sent);
        let rate = u64::try_from(bytes * MILLION / took.as_micros()).unwrap_or(u64::MAX);
        // Where there was too little to send, the path can do at least this.
        let counts = mark.busy && !mark.probes && !self.probes;
        if !counts && self.carried_at_least().is_some_and(|known| rate <= known) {
            return;
        }
        if counts && !self.is_measured {
            self.bound_bursts(now);
        }
        match self.rates.back_mut() {
            Some(newest) if base.sent < self.flight => *newest = rate.max(*newest),
            _ => self.begin_flight(rate, counts),
        }
    }

    fn begin_flight(&mut self, rate: u64, counts: bool) {
        let best = self.carried_at_least().unwrap_or(0);
        if let Some((grown, stalled)) = self.grows.filter(|_| counts) {
            let is_more = best >= grown.saturating_add(grown / 4).max(1);
            self.grows = match stalled + 1 {
                _ if is_more => Some((best, 0)),
                STALLED => None,
                stalled => Some((grown, stalled)),
            };
        }
        if self.rates.len() == FLIGHTS {
            self.rates.pop_front();
        }
        self.rates.push_back(rate);
        self.flight = self.written.all;
    }
}
