//! The results as markdown tables.
//!
//! Contenders are compared round by round, since what else runs on the machine disturbs those who
//! ran next to each other alike: a ratio is the median of the rounds' ratios, not the ratio of the
//! medians.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::peers::{Measurement, ROUND_TRIP_BASELINE, throughput_baseline};

/// What one contender did at one size, round by round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
}

/// What one contender did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) measurement: Measurement,
    /// How long the processors worked, for both ends.
    pub(crate) processor: Duration,
}

/// What all contenders did at one size.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) size: usize,
    pub(crate) series: Vec<Series>,
}

impl Series {
    /// One figure for each round; nothing for a round of the other kind.
    fn figures(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Vec<f64> {
        let measured = self.rounds.iter().map(|round| &round.measurement);
        measured.filter_map(figure).collect()
    }

    /// The processor time for each message, in seconds.
    fn costs(&self) -> Vec<f64> {
        let cost = |round: &Round| {
            round.processor.as_secs_f64() / round.measurement.messages().max(1) as f64
        };
        self.rounds.iter().map(cost).collect()
    }

    fn rates(&self) -> Vec<f64> {
        self.figures(|round| match round {
            Measurement::Throughput { messages, elapsed } => {
                Some(*messages as f64 / elapsed.as_secs_f64())
            }
            Measurement::RoundTrips { .. } => None,
        })
    }

    fn medians(&self) -> Vec<f64> {
        self.figures(|round| match round {
            Measurement::RoundTrips { median, .. } => Some(median.as_secs_f64()),
            Measurement::Throughput { .. } => None,
        })
    }

    fn p99s(&self) -> Vec<f64> {
        self.figures(|round| match round {
            Measurement::RoundTrips { p99, .. } => Some(p99.as_secs_f64()),
            Measurement::Throughput { .. } => None,
        })
    }
}

/// How many messages are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Throughput,
    RoundTrips,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Throughput => "many under way",
            Self::RoundTrips => "one at a time",
        }
    }

    /// The contender that others are compared with at this size.
    pub(crate) fn baseline(self, size: usize) -> &'static str {
        match self {
            Self::Throughput => throughput_baseline(size),
            Self::RoundTrips => ROUND_TRIP_BASELINE,
        }
    }

    /// What is compared: the rate, or the time.
    fn figures(self, series: &Series) -> Vec<f64> {
        match self {
            Self::Throughput => series.rates(),
            Self::RoundTrips => series.medians(),
        }
    }
}

/// The medians of one contender at one size.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// To the baseline: of the rate, or of the time.
    pub(crate) ratio: Option<f64>,
    /// The processor time for each message, in seconds.
    pub(crate) cost: Option<f64>,
}

impl Results {
    /// The medians of all contenders of one kind.
    pub(crate) fn summaries(&self, kind: Kind) -> Vec<Summary> {
        let baseline = kind.baseline(self.size);
        let of_kind = |series: &&Series| !kind.figures(series).is_empty();
        let series = self.series.iter().filter(of_kind);
        series
            .map(|series| {
                let [ratio, _] = self.ratios(series, baseline, |series| kind.figures(series));
                Summary {
                    name: series.name,
                    kind,
                    ratio: ratio.0,
                    cost: median(&series.costs()),
                }
            })
            .collect()
    }

    fn named(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// The medians of a figure's ratios to the baseline's, and of its processor time's.
    fn ratios(
        &self,
        series: &Series,
        baseline: &str,
        figures: impl Fn(&Series) -> Vec<f64>,
    ) -> [Ratio; 2] {
        let baseline = self.named(baseline);
        let ratio = |figures: &dyn Fn(&Series) -> Vec<f64>| {
            Ratio::of(&figures(series), baseline.map(figures).as_deref())
        };
        [ratio(&figures), ratio(&Series::costs)]
    }

    fn throughput_rows(&self, rows: &mut Vec<String>) {
        let baseline = throughput_baseline(self.size);
        for series in &self.series {
            let rates = series.rates();
            let Some(rate) = median(&rates) else { continue };
            let [by_rate, by_cost] = self.ratios(series, baseline, Series::rates);
            rows.push(format!(
                "| {} | {} | {}/s | {}B/s | {} | {by_rate} × {baseline} | {} | {by_cost} × |",
                Bytes(self.size),
                series.name,
                Scaled(rate),
                Scaled(rate * self.size as f64),
                Range(&rates),
                Time(median(&series.costs())),
            ));
        }
    }

    fn round_trip_rows(&self, rows: &mut Vec<String>) {
        for series in &self.series {
            let medians = series.medians();
            let (Some(middle), Some(p99)) = (median(&medians), median(&series.p99s())) else {
                continue;
            };
            let [by_time, by_cost] = self.ratios(series, ROUND_TRIP_BASELINE, Series::medians);
            rows.push(format!(
                "| {} | {} | {} | {} | {by_time} × {ROUND_TRIP_BASELINE} | {} | {by_cost} × |",
                Bytes(self.size),
                series.name,
                Time(Some(middle)),
                Time(Some(p99)),
                Time(median(&series.costs())),
            ));
        }
    }
}

/// Both tables; one that would be empty is left out.
pub(crate) fn markdown(results: &[Results]) -> String {
    let mut throughput = Vec::new();
    let mut round_trips = Vec::new();
    for result in results {
        result.throughput_rows(&mut throughput);
        result.round_trip_rows(&mut round_trips);
    }
    let tables = [
        (
            "| size | throughput of | messages | payload | lowest to highest | rate \
             | processor time a message | |\n\
             |---:|---|---:|---:|---:|---:|---:|---:|",
            throughput,
        ),
        (
            "| size | one at a time | median | p99 | time \
             | processor time a message | |\n\
             |---:|---|---:|---:|---:|---:|---:|",
            round_trips,
        ),
    ];
    tables
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(head, rows)| format!("{head}\n{}\n", rows.join("\n")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The middle one of some figures, or the mean of the two in the middle.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn median_ratio(figures: &[f64], baseline: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = figures
        .iter()
        .zip(baseline)
        .map(|(own, other)| own / other)
        .collect();
    median(&ratios)
}

/// A message size in the largest unit that divides it.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) usize);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size >= 1 << 20 && size.is_multiple_of(1 << 20) => {
                write!(f, "{} MiB", size >> 20)
            }
            size if size >= 1 << 10 && size.is_multiple_of(1 << 10) => {
                write!(f, "{} KiB", size >> 10)
            }
            size => write!(f, "{size} B"),
        }
    }
}

/// A figure with three digits and a decimal prefix.
struct Scaled(f64);

impl Display for Scaled {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (value, prefix) = match self.0 {
            value if value >= 1e9 => (value / 1e9, "G"),
            value if value >= 1e6 => (value / 1e6, "M"),
            value if value >= 1e3 => (value / 1e3, "k"),
            value => (value, ""),
        };
        let decimals = if value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{value:.decimals$} {prefix}")
    }
}

/// The lowest and the highest of some rates.
struct Range<'a>(&'a [f64]);

impl Display for Range<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lowest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.0.iter().copied().fold(0.0, f64::max);
        write!(f, "{} – {}", Scaled(lowest), Scaled(highest))
    }
}

/// A time in seconds with three digits or four, or a dash.
pub(crate) struct Time(pub(crate) Option<f64>);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seconds) => write!(f, "{:.1?}", Duration::from_secs_f64(seconds)),
            None => f.write_str("–"),
        }
    }
}

/// A ratio, or a dash where the baseline was not measured.
pub(crate) struct Ratio(pub(crate) Option<f64>);

impl Ratio {
    /// The median of the rounds' ratios.
    pub(crate) fn of(figures: &[f64], baseline: Option<&[f64]>) -> Self {
        Self(baseline.and_then(|baseline| median_ratio(figures, baseline)))
    }
}

impl Display for Ratio {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ratio) => write!(f, "{ratio:.2}"),
            None => f.write_str("–"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn throughput(name: &'static str, messages: [u64; 3]) -> Series {
        let elapsed = Duration::from_secs(2);
        let processor = Duration::from_secs(3);
        let rounds = messages.map(|messages| Round {
            measurement: Measurement::Throughput { messages, elapsed },
            processor,
        });
        Series {
            name,
            rounds: rounds.to_vec(),
        }
    }

    pub(crate) fn round_trips(name: &'static str) -> Series {
        let round = Round {
            measurement: Measurement::RoundTrips {
                messages: 10,
                median: Duration::from_micros(20),
                p99: Duration::from_micros(51),
            },
            processor: Duration::from_micros(90),
        };
        Series {
            name,
            rounds: vec![round],
        }
    }

    #[test]
    fn a_table_has_medians_and_ratios_by_round() {
        let series = vec![
            throughput("ldc", [2_000_000, 20_000, 4_000_000]),
            throughput("other", [3_000_000, 20_000, 2_000_000]),
        ];
        assert_eq!(
            markdown(&[Results { size: 1024, series }]),
            "| size | throughput of | messages | payload | lowest to highest | rate \
             | processor time a message | |\n\
             |---:|---|---:|---:|---:|---:|---:|---:|\n\
             | 1 KiB | ldc | 1.00 M/s | 1.02 GB/s | 10.0 k – 2.00 M | 1.00 × ldc | 1.5µs | 1.00 × |\n\
             | 1 KiB | other | 1.00 M/s | 1.02 GB/s | 10.0 k – 1.50 M | 1.00 × ldc | 1.5µs | 1.00 × |\n"
        );
    }

    #[test]
    fn round_trips_have_a_table_of_their_own() {
        let series = vec![round_trips("ldc-pingpong")];
        assert_eq!(
            markdown(&[Results { size: 64, series }]),
            "| size | one at a time | median | p99 | time | processor time a message | |\n\
             |---:|---|---:|---:|---:|---:|---:|\n\
             | 64 B | ldc-pingpong | 20.0µs | 51.0µs | 1.00 × ldc-pingpong | 9.0µs | 1.00 × |\n"
        );
    }

    #[test]
    fn a_baseline_that_was_not_measured_leaves_a_dash() {
        let series = vec![throughput("other", [2, 4, 6])];
        let table = markdown(&[Results {
            size: 1 << 20,
            series,
        }]);
        let row = "| 2.00 /s | 2.10 MB/s | 1.00  – 3.00  | – × raw-rustls | 750.0ms | – × |\n";
        assert!(table.ends_with(row), "{table}");
    }

    #[test]
    fn sizes_are_in_the_largest_unit_that_fits() {
        let texts = [0, 64, 1024, 1500, 65536, 1 << 20].map(|size| Bytes(size).to_string());
        assert_eq!(texts, ["0 B", "64 B", "1 KiB", "1500 B", "64 KiB", "1 MiB"]);
    }
}
