//! Round trips, by the times that an end writes and its peer answers (`docs/protocol.md`, Age).

use countersign::capture::Instant;
use countersign::capture::wire::Pong;

/// The times that an end has written on a connection: the earliest and the latest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked(Option<(u64, u64)>);

impl Asked {
    /// Notes that the end has written its time.
    pub(super) fn ask(&mut self, time: u64) {
        // With a latency budget a PING may be dated back, also to before the greeting.
        let (first, last) = self.0.unwrap_or((time, time));
        self.0 = Some((first.min(time), last.max(time)));
    }

    /// Returns how long the way there and back took, in microseconds, without what the answer waited
    /// at the peer. `None` if it answers no time of this end's.
    pub(super) fn round_trip(&self, now: u64, answer: &Pong) -> Option<u64> {
        let (first, last) = self.0?;
        if !(first..=last).contains(&answer.echo) {
            return None;
        }
        let round_trip = answer.round_trip(Instant::from_micros(now));
        u64::try_from(round_trip.as_micros()).ok()
    }

    /// Returns the same of a WELCOME, which answers the greeting.
    pub(super) fn first_round_trip(&self, now: u64, arrived: u64, time: u64) -> Option<u64> {
        let (echo, _) = self.0?;
        let answer = Pong {
            echo,
            arrived,
            time,
        };
        self.round_trip(now, &answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_times_that_were_written_have_a_round_trip() {
        let mut asked = Asked::default();
        let answer = |echo| Pong {
            echo,
            arrived: u64::MAX - 10,
            time: 19,
        };
        assert_eq!(asked.round_trip(1200, &answer(1000)), None);
        assert_eq!(asked.first_round_trip(1200, 0, 5), None);
        asked.ask(1000);
        asked.ask(1100);
        // The peer's clock has passed its end meanwhile.
        for (echo, expected) in [
            (999, None),
            (1000, Some(170)),
            (1100, Some(70)),
            (1101, None),
        ] {
            assert_eq!(asked.round_trip(1200, &answer(echo)), expected);
        }
        assert_eq!(asked.first_round_trip(1200, 7, 57), Some(150));
        // A peer that says that it has waited longer than that.
        assert_eq!(asked.first_round_trip(1200, 7, 1000), Some(0));
    }

    #[test]
    fn a_ping_may_be_dated_back_to_before_the_greeting() {
        let mut asked = Asked::default();
        asked.ask(1000);
        asked.ask(990);
        for (echo, expected) in [(990, Some(210)), (1000, Some(200))] {
            let answer = Pong {
                echo,
                arrived: 5,
                time: 5,
            };
            assert_eq!(asked.round_trip(1200, &answer), expected);
        }
    }
}
