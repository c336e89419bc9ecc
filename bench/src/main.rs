//! countersign and its peers, measured side by side.
//!
//! All contenders run in this process, both ends over loopback with mutual TLS 1.3, one after the
//! other, round by round: so what disturbs the machine disturbs them all. Run it with
//! `cargo run --release -p countersign-bench`.
//!
//! `connect` compares how long a new connection takes. `crowd` and `idle` are something else: many
//! links at one server, which is a process of its own. So is `urgent`: one link over a slow network.
//!
//! The feature `peers` adds contenders with many dependencies.

mod connect;
mod crowd;
mod peers;
mod plot;
mod table;
mod tls;
mod urgent;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::time::{ClockId, clock_gettime};

use crate::connect::ConnectArgs;
use crate::crowd::{CrowdArgs, IdleArgs, ServerArgs};
use crate::peers::{Contender, Failure};
use crate::table::{Bytes, Results, Round, Series};
use crate::urgent::UrgentArgs;

/// The warm-up is this much shorter than a measurement.
const WARM_UP: u32 = 4;

/// Measures countersign and its peers side by side and prints the figures as markdown
#[derive(Debug, Parser)]
#[command(
    name = "countersign-bench",
    version,
    args_conflicts_with_subcommands = true
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// How often all contenders take their turn at each size
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long one measurement takes, in seconds
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    seconds: Duration,

    /// Only the contenders whose name contains one of these
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    filter: Vec<String>,

    /// The message sizes, in bytes or with KiB or MiB
    #[arg(long, default_value = "64,1KiB,64KiB,1MiB", value_parser = size, value_delimiter = ',')]
    sizes: Vec<usize>,

    /// Where to write a plot of the medians, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Connect(ConnectArgs),
    Crowd(CrowdArgs),
    Idle(IdleArgs),
    Urgent(UrgentArgs),
    #[command(hide = true)]
    CrowdServer(ServerArgs),
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a number above 0".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix("MiB") {
        (digits, 1 << 20)
    } else if let Some(digits) = text.strip_suffix("KiB") {
        (digits, 1 << 10)
    } else {
        (text, 1)
    };
    let count: Option<usize> = digits.trim().parse().ok();
    // The codec's length has four bytes, and the peers here never fragment.
    match count.and_then(|count| count.checked_mul(unit)) {
        Some(size @ 1..=0x4000_0000) => Ok(size),
        _ => Err("a size is from 1 to 1024MiB, such as 64 or 64KiB".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        None => run(&args),
        Some(Command::Connect(args)) => connect::connect(args),
        Some(Command::Crowd(args)) => crowd::crowd(args),
        Some(Command::Idle(args)) => crowd::idle(args),
        Some(Command::Urgent(args)) => urgent::urgent(args),
        Some(Command::CrowdServer(args)) => crowd::serve(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let mut contenders = peers::all()?;
    let all: Vec<_> = contenders
        .iter()
        .map(|contender| contender.name())
        .collect();
    if !args.filter.is_empty() {
        contenders.retain(|contender| {
            args.filter
                .iter()
                .any(|part| contender.name().contains(part.as_str()))
        });
    }
    if contenders.is_empty() {
        return Err(format!("no contender matches; there are {}", all.join(", ")).into());
    }
    let mut results = Vec::new();
    for &size in &args.sizes {
        results.push(measure(&contenders, size, args)?);
    }
    print!("{}", table::markdown(&results));
    if let Some(path) = &args.svg {
        let written = std::fs::write(path, plot::svg(&results)?);
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// All rounds at one size, after a round that only warms up.
fn measure(
    contenders: &[Box<dyn Contender>],
    size: usize,
    args: &Args,
) -> Result<Results, Failure> {
    let contenders: Vec<_> = contenders
        .iter()
        .filter(|contender| has_no_excuse(contender.as_ref(), size))
        .collect();
    let mut series: Vec<_> = contenders
        .iter()
        .map(|contender| Series {
            name: contender.name(),
            rounds: Vec::new(),
        })
        .collect();
    for contender in &contenders {
        turn(contender.as_ref(), size, args.seconds / WARM_UP)?;
    }
    for round in 1..=args.rounds {
        eprintln!("{}, round {round} of {}", Bytes(size), args.rounds);
        for (contender, series) in contenders.iter().zip(&mut series) {
            series
                .rounds
                .push(turn(contender.as_ref(), size, args.seconds)?);
        }
    }
    Ok(Results { size, series })
}

/// Whether the contender can be measured at this size; if not, it says why.
fn has_no_excuse(contender: &dyn Contender, size: usize) -> bool {
    let excuse = contender.excuse(size);
    if let Some(excuse) = &excuse {
        eprintln!(
            "{} is skipped at {}: {excuse}",
            contender.name(),
            Bytes(size)
        );
    }
    excuse.is_none()
}

/// One turn of a contender. Its processor time includes connecting and closing.
fn turn(contender: &dyn Contender, size: usize, duration: Duration) -> Result<Round, Failure> {
    let before = processor_time();
    let measurement = contender
        .run(size, duration)
        .map_err(|failure| format!("{} at {}: {failure}", contender.name(), Bytes(size)))?;
    let processor = processor_time().saturating_sub(before);
    Ok(Round {
        measurement,
        processor,
    })
}

/// How long the processors have worked for this process so far, the system's part included.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither part is negative.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_are_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn sizes_have_units_and_a_bound() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("16KiB"), Ok(16 * 1024));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for wrong in [
            "",
            "0",
            "1025MiB",
            "-1",
            "1.5KiB",
            "KiB",
            "99999999999999999999",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_measurement_takes_time() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "NaN", "inf", "a second"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let args =
            parse("bench --sizes 64,64MiB --filter ldc,floor --svg plot.svg").expect("valid");
        assert_eq!(args.sizes, [64, 64 << 20]);
        assert_eq!(args.filter, ["ldc", "floor"]);
        assert_eq!(args.svg, Some("plot.svg".into()));
    }

    #[test]
    fn a_subcommand_has_its_own_arguments() {
        let args = parse("bench connect --rounds 2 --connections 10").expect("valid");
        assert!(matches!(args.command, Some(Command::Connect(_))));
        assert!(parse("bench --svg plot.svg connect").is_err());
        assert!(parse("bench connect --connections 0").is_err());
    }
}
