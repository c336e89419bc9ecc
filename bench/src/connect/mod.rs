//! How long a new connection takes until the first message is known to have been handled.
//!
//! Each way listens in this process and connects over loopback with mutual TLS 1.3 and the same
//! suites, without resuming sessions: TCP, the handshake, one message, its answer, and the end. The
//! time goes from before connecting to the answer; the processor time has the end in it too.

mod ways;

use std::fmt::Write;
use std::time::Duration;

use clap::Args;

use crate::peers::Failure;
use crate::processor_time;
use crate::table::{Ratio, Time, median};
use ways::Way;

/// Connections of each way before anything counts.
const WARM_UP: u32 = 5;

/// Measures how long connecting takes, until the verdict of the first message
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// How often each way takes its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How many connections one turn has, one after the other
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

/// What one way has shown in one round, in seconds.
#[derive(Clone, Debug)]
struct Round {
    times: Vec<f64>,
    /// For each connection, both ends.
    processor: f64,
}

#[derive(Debug)]
struct Series {
    name: &'static str,
    rounds: Vec<Round>,
}

impl Series {
    /// All times in order.
    fn times(&self) -> Vec<f64> {
        let times = self.rounds.iter().flat_map(|round| &round.times);
        let mut times: Vec<f64> = times.copied().collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn p99(&self) -> Option<f64> {
        let times = self.times();
        times.get(times.len() * 99 / 100).copied()
    }

    fn medians(&self) -> Vec<f64> {
        let medians = self.rounds.iter().map(|round| median(&round.times));
        medians.flatten().collect()
    }

    fn costs(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.processor).collect()
    }
}

pub(crate) fn connect(args: &ConnectArgs) -> Result<(), Failure> {
    let ways = ways::all()?;
    let mut series: Vec<_> = ways
        .iter()
        .map(|way| Series {
            name: way.name(),
            rounds: Vec::new(),
        })
        .collect();
    for way in &ways {
        turn(way.as_ref(), WARM_UP)?;
    }
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (way, series) in ways.iter().zip(&mut series) {
            series.rounds.push(turn(way.as_ref(), args.connections)?);
        }
    }
    print!("{}", markdown(&series));
    Ok(())
}

fn turn(way: &dyn Way, connections: u32) -> Result<Round, Failure> {
    let before = processor_time();
    let times: Result<Vec<Duration>, Failure> = (0..connections).map(|_| way.once()).collect();
    let times = times.map_err(|failure| format!("{}: {failure}", way.name()))?;
    let processor = processor_time().saturating_sub(before);
    Ok(Round {
        times: times.iter().map(Duration::as_secs_f64).collect(),
        processor: processor.as_secs_f64() / f64::from(connections),
    })
}

fn markdown(series: &[Series]) -> String {
    let mut table = "| connect to first verdict | median | p99 | time \
                     | processor time a connection | |\n\
                     |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let baseline = series.iter().find(|series| series.name == ways::BASELINE);
    for series in series {
        let ratio = |figures: fn(&Series) -> Vec<f64>| {
            Ratio::of(&figures(series), baseline.map(figures).as_deref())
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} × {} | {} | {} × |",
            series.name,
            Time(median(&series.times())),
            Time(series.p99()),
            ratio(Series::medians),
            ways::BASELINE,
            Time(median(&series.costs())),
            ratio(Series::costs),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &'static str, micros: f64) -> Series {
        let round = Round {
            times: (1..=100).map(|n| micros * f64::from(n) / 1e6).collect(),
            processor: micros / 1e6,
        };
        Series {
            name,
            rounds: vec![round.clone(), round],
        }
    }

    #[test]
    fn the_table_has_medians_over_all_rounds() {
        let table = markdown(&[series(ways::BASELINE, 10.0), series("other", 20.0)]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| ldc | 505.0µs | 1.0ms | 1.00 × ldc | 10.0µs | 1.00 × |",
                "| other | 1.0ms | 2.0ms | 2.00 × ldc | 20.0µs | 2.00 × |",
            ]
        );
    }

    #[test]
    fn every_way_connects_more_than_once() {
        for way in ways::all().expect("all ways listen") {
            for _ in 0..2 {
                let time = way.once().expect("a message is handled");
                assert!(!time.is_zero(), "{}", way.name());
            }
        }
    }
}
