//! A peer's clock, and what the peer says of it: the truth, or near it, or far from it.

use arbitrary::{Result, Unstructured};
use countersign_core::Instant;
use countersign_core::wire::{Pong, Times};

use super::frames::figure;
use crate::subject::PeerClock;

/// What a peer's clock shows where the link's shows zero. One of them soon passes its end.
const EPOCHS: [u64; 4] = [0, 1 << 40, u64::MAX - 3_000_000, 1 << 63];
/// By how much it is too fast, in millionths: nearly by as much as two clocks may differ.
const DRIFTS: [i64; 4] = [0, 990, -990, 990];
/// For how long messages are good, in microseconds.
const LIVES: [u64; 8] = [
    500_000,
    20_000,
    5_000_000,
    1,
    0,
    400_000_000,
    1 << 62,
    1_000,
];
/// By how much a clock jumps.
const JUMPS: [i64; 8] = [
    10_000_000,
    -10_000_000,
    3_600_000_000,
    -3_600_000_000,
    1_000,
    -1_000,
    1 << 56,
    -1 << 56,
];
/// How long ago they were accepted.
const AGES: [u64; 4] = [1_000, 19_000, 600_000, 1 << 40];

/// What can be said of all that a peer has told of its clock on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// It is true.
    True,
    /// It was, until the clock jumped. Its next answer shows that.
    Before,
    /// Some of it is not.
    Wrong,
}

/// The peer's clock, and what has become known of it on a connection.
#[derive(Debug)]
pub(super) struct Clock {
    clock: PeerClock,
    told: Told,
    /// The latest time of the link's that asks for an answer, and when it came, by this clock.
    heard: Option<(u64, u64)>,
    /// The link waits for that answer.
    owes: bool,
}

impl Clock {
    pub(super) fn new(which: usize) -> Self {
        Self {
            clock: PeerClock {
                ahead: EPOCHS[which % EPOCHS.len()],
                drift: DRIFTS[which % DRIFTS.len()],
            },
            told: Told::True,
            heard: None,
            owes: false,
        }
    }

    /// A connection begins: what was said before does not count.
    pub(super) fn begin(&mut self) {
        (self.told, self.heard, self.owes) = (Told::True, None, false);
    }

    /// What it shows.
    pub(super) fn time(&self, now: Instant) -> u64 {
        self.clock.shows(now)
    }

    /// The clock itself, if all that it has told is true.
    pub(super) fn known(&self) -> Option<PeerClock> {
        (self.told == Told::True).then_some(self.clock)
    }

    /// Something was said about it that nobody knows.
    pub(super) fn lie(&mut self) {
        self.told = Told::Wrong;
    }

    /// Something was said about it, which `is_true` or not.
    fn say(&mut self, is_true: bool) {
        if !is_true {
            self.told = Told::Wrong;
        }
    }

    /// A time of the link's is answered truly.
    fn answer(&mut self) {
        self.owes = false;
        if self.told == Told::Before {
            self.told = Told::True;
        }
    }

    /// A time of the link's has come.
    pub(super) fn hear(&mut self, now: Instant, time: u64) {
        self.heard = Some((time, self.time(now)));
        self.owes = true;
    }

    /// When that came, for a WELCOME, which answers it; seldom something else.
    pub(super) fn welcome(&mut self, how: u8, input: &mut Unstructured<'_>) -> Result<u64> {
        let Some((_, truth)) = self.heard else {
            self.lie();
            return Ok(0);
        };
        self.owes = false;
        let told = if how % 16 == 15 {
            figure(input, truth)?
        } else {
            truth
        };
        self.say(told == truth);
        Ok(told)
    }

    /// It shows something else from now on.
    pub(super) fn jump(
        &mut self,
        now: Instant,
        how: u8,
        input: &mut Unstructured<'_>,
    ) -> Result<()> {
        let by = match how {
            0..200 => JUMPS[usize::from(how) % JUMPS.len()],
            _ => figure(input, 0)?.cast_signed(),
        };
        self.clock.ahead = self.clock.ahead.wrapping_add(by.cast_unsigned());
        // What is known of the clock gets less precise with time, and hides a short jump.
        let shows = 1_000_000 + now.as_micros() / 100..1 << 62;
        self.told = match self.told {
            Told::True if shows.contains(&by.unsigned_abs()) => Told::Before,
            _ => Told::Wrong,
        };
        // What came before can't be answered any more: when it came is wrong now.
        (self.heard, self.owes) = (None, false);
        Ok(())
    }

    /// A time for a greeting or a PING; seldom another than it shows.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        how: u8,
        input: &mut Unstructured<'_>,
    ) -> Result<u64> {
        let truth = self.time(now);
        let told = if how < 230 {
            truth
        } else {
            figure(input, truth)?
        };
        self.say(told == truth);
        Ok(told)
    }

    /// The answer that the link waits for, if it does.
    pub(super) fn owed(&mut self, now: Instant) -> Option<Pong> {
        let (echo, arrived) = self.heard.filter(|_| self.owes)?;
        self.answer();
        let time = self.time(now);
        Some(Pong {
            echo,
            arrived,
            time,
        })
    }

    /// An answer to the latest time of the link's, or to nothing.
    pub(super) fn pong(
        &mut self,
        now: Instant,
        how: u8,
        input: &mut Unstructured<'_>,
    ) -> Result<Pong> {
        let time = self.time(now);
        let (echo, arrived) = self.heard.unwrap_or((how.into(), time));
        let mut pong = Pong {
            echo,
            arrived,
            time,
        };
        if how < 200 && self.heard.is_some() {
            self.answer();
        }
        if how >= 200 {
            let field = match how % 3 {
                0 => &mut pong.echo,
                1 => &mut pong.arrived,
                _ => &mut pong.time,
            };
            *field = figure(input, *field)?;
            self.lie();
        }
        Ok(pong)
    }

    /// The times of a message, which a receiver may want for each. `how` is one of 64.
    pub(super) fn times(
        &mut self,
        now: Instant,
        how: u8,
        wanted: bool,
        input: &mut Unstructured<'_>,
    ) -> Result<Option<Times>> {
        let truth = self.time(now);
        let which = usize::from(how);
        let (accepted, expires) = match how % 64 {
            0..28 if !wanted => return Ok(None),
            0..28 => (truth, Times::NEVER),
            28..44 => (truth, truth.wrapping_add(LIVES[which % LIVES.len()])),
            44..56 => {
                let accepted = truth.wrapping_sub(AGES[which % AGES.len()]);
                let life = LIVES[which / AGES.len() % LIVES.len()];
                (accepted, accepted.wrapping_add(life))
            }
            56 | 57 => (truth.wrapping_sub(AGES[which % AGES.len()]), Times::NEVER),
            58..62 => {
                let accepted = figure(input, truth)?;
                (accepted, figure(input, accepted)?)
            }
            _ => input.arbitrary()?,
        };
        // No sender accepts a message before it has it.
        self.say(truth.wrapping_sub(accepted) < 1 << 63);
        Ok(Some(Times { accepted, expires }))
    }
}
