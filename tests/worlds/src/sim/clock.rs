//! Clocks that agree neither on the time nor on how fast it passes.

use countersign_core::Instant;

/// What a clock may be wrong by at most, in microseconds for each second, for links to know how old
/// messages are: the allowance that they make is larger.
pub const HONEST: i64 = 200;

const MILLION: i64 = 1_000_000;

/// One host's clock. The world's time is in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows when the world begins.
    pub epoch: u64,
    /// By how many microseconds it is fast in a second of the world's: in turn, for as long as
    /// `turn` each.
    pub fast: [i64; 2],
    /// In microseconds.
    pub turn: u64,
    /// At which moment of the world it jumps, and by how much.
    pub jump: Option<(u64, u64)>,
}

impl Clock {
    /// Returns a clock that is right.
    pub const RIGHT: Self = Self {
        epoch: 0,
        fast: [0; 2],
        turn: 1_000_000,
        jump: None,
    };

    /// Whether it is never further wrong than [`HONEST`].
    #[must_use]
    pub fn is_honest(self) -> bool {
        self.jump.is_none() && self.fast.iter().all(|fast| fast.abs() <= HONEST)
    }

    /// Returns what it shows at a moment of the world.
    #[must_use]
    pub fn at(self, world: u64) -> Instant {
        let jumped = self
            .jump
            .map_or(0, |(when, by)| if world >= when { by } else { 0 });
        let shown = (self.epoch + world + jumped).checked_add_signed(self.ahead(world));
        Instant::from_micros(shown.expect("it runs forward"))
    }

    /// By how much it is ahead.
    fn ahead(self, world: u64) -> i64 {
        let signed = |time: u64| i64::try_from(time).expect("a run is short");
        let (rounds, rest) = (world / (2 * self.turn), world % (2 * self.turn));
        let [first, second] = self.fast;
        let (in_first, in_second) = (rest.min(self.turn), rest.saturating_sub(self.turn));
        let whole = signed(rounds * self.turn) * (first + second);
        (whole + signed(in_first) * first + signed(in_second) * second) / MILLION
    }

    /// Returns the first moment of the world at which it shows `local` or more.
    #[must_use]
    pub fn when(self, local: Instant) -> u64 {
        let passed = local.as_micros().saturating_sub(self.epoch);
        // It is wrong by a tenth at most, and it jumps forward.
        let jump = self.jump.map_or(0, |(_, by)| by);
        let (mut early, mut late) = (
            passed.saturating_sub(passed / 8 + jump + 8),
            passed.saturating_add(passed / 8 + 8),
        );
        while early < late {
            let middle = early + (late - early) / 2;
            if self.at(middle) >= local {
                late = middle;
            } else {
                early = middle + 1;
            }
        }
        early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_it_shows_first_when_it_says() {
        for fast in [[0, 0], [200, -200], [-100_000, 100_000], [90_000, 90_000]] {
            for jump in [None, Some((3_000_000, 70_000))] {
                let clock = Clock {
                    epoch: 5,
                    fast,
                    turn: 700_000,
                    jump,
                };
                for local in (5..9_000_000).step_by(77_777) {
                    let local = Instant::from_micros(local);
                    let when = clock.when(local);
                    assert!(clock.at(when) >= local, "{clock:?} {local:?}");
                    assert!(
                        when == 0 || clock.at(when - 1) < local,
                        "{clock:?} {local:?}"
                    );
                }
            }
        }
    }
}
