//! How long an urgent message waits behind others where the network is slow, and what a latency
//! budget costs those.
//!
//! Both ends run in this process on tokio, with mutual TLS, and a relay between them as slow as a
//! bad radio.

mod relay;

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use countersign_certs::NewIdentity;
use countersign_tokio::{
    Config, Link, Listener, ReceiveChannel, SendChannel, Setup, connect, listen,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::peers::{Failure, security};
use crate::table::median;
use relay::Relay;

const STOP: &str = "stop";
const BULK: &str = "bulk";
/// How long an urgent message is, and how often there is one: in step with nothing.
const STOP_SIZE: usize = 20;
const STOP_PERIOD: Duration = Duration::from_millis(73);
const BULK_SIZE: usize = 10_000;
/// For how long bulk alone goes before anything counts.
const WARM_UP: Duration = Duration::from_secs(3);

/// Measures how long urgent messages wait behind others on a slow network
#[derive(Debug, Args)]
pub(crate) struct UrgentArgs {
    /// How many bytes a second the network carries
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1000..))]
    rate: u64,

    /// How many bytes wait in the network, with KiB or MiB
    #[arg(long, default_value = "64KiB", value_parser = crate::size)]
    buffer: usize,

    /// The latency budget in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,

    /// How long one measurement takes, in seconds
    #[arg(long, default_value = "10", value_parser = crate::seconds, value_name = "SECONDS")]
    seconds: Duration,

    /// How often each way of sending takes its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// A way of sending short messages beside bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// On an urgent channel.
    Urgent { budget: bool },
    /// On a channel that is declared before the other one.
    First,
    /// Over a link for each of the two.
    SecondLink,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::Urgent { budget: false },
        Self::Urgent { budget: true },
        Self::First,
        Self::SecondLink,
    ];

    fn has_budget(self) -> bool {
        matches!(self, Self::Urgent { budget: true } | Self::First)
    }

    fn config(self, budget: u64) -> Config {
        let stop = SendChannel::new(STOP);
        let stop = match self {
            Self::Urgent { .. } => stop.urgent(),
            Self::First | Self::SecondLink => stop,
        };
        let config = Config::new().channel(stop).channel(SendChannel::new(BULK));
        if self.has_budget() {
            config.latency_budget(Duration::from_millis(budget))
        } else {
            config
        }
    }
}

impl Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Urgent { budget: false } => "urgent, no budget",
            Self::Urgent { budget: true } => "urgent, budget",
            Self::First => "declared first, budget",
            Self::SecondLink => "a second link, no budget",
        })
    }
}

/// What one way has shown, over all rounds.
#[derive(Debug, Default)]
struct Series {
    times: Vec<Duration>,
    /// Bytes of bulk a second, one figure for each round.
    rates: Vec<f64>,
}

/// Runs `urgent`.
pub(crate) fn urgent(args: &UrgentArgs) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut all = Way::ALL.map(|way| (way, Series::default()));
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (way, series) in &mut all {
            let (times, rate) = measure(&runtime, *way, args)?;
            series.times.extend(times);
            series.rates.push(rate);
        }
    }
    print!("{}", markdown(&mut all, args));
    Ok(())
}

fn markdown(all: &mut [(Way, Series)], args: &UrgentArgs) -> String {
    let mut text = format!(
        "{} kB/s, {} in the network, a budget of {} ms; {} × {:?}, each after {WARM_UP:?} of bulk \
         that do not count\n\n\
         | {STOP_SIZE} B each {STOP_PERIOD:?}, beside bulk | messages | median | p99 | longest \
         | bulk | bulk, of that of the first |\n|---|---:|---:|---:|---:|---:|---:|\n",
        args.rate as f64 / 1e3,
        crate::table::Bytes(args.buffer),
        args.budget,
        args.rounds,
        args.seconds,
    );
    let first = all[0].1.rates.clone();
    for (way, series) in all {
        let times = &mut series.times;
        times.sort_unstable();
        let at = |percent: usize| {
            let last = times.len().saturating_sub(1);
            let time = times.get((times.len() * percent / 100).min(last));
            time.map_or(0, Duration::as_millis)
        };
        let ratios: Vec<_> = series
            .rates
            .iter()
            .zip(&first)
            .map(|(a, b)| a / b)
            .collect();
        text += &format!(
            "| {way} | {} | {} ms | {} ms | {} ms | {:.0} kB/s | {:.2} |\n",
            times.len(),
            at(50),
            at(99),
            at(100),
            median(&series.rates).unwrap_or_default() / 1e3,
            median(&ratios).unwrap_or_default(),
        );
    }
    text
}

/// Measures one way once: the times to verdicts, and the bytes of bulk in a second.
fn measure(
    runtime: &Runtime,
    way: Way,
    args: &UrgentArgs,
) -> Result<(Vec<Duration>, f64), Failure> {
    let [near, far] = ["sender", "receiver"].map(|name| NewIdentity::new(name).generate());
    let (near, far) = (near?, far?);
    let receives = Config::new()
        .channel(ReceiveChannel::new(STOP))
        .channel(ReceiveChannel::new(BULK));
    let here = Setup::new(way.config(args.budget), security(&near, &far)?)?;
    let there = Setup::new(receives, security(&far, &near)?)?;
    runtime.block_on(async {
        let listener = listen("127.0.0.1:0", there).await?;
        let relay = Relay::start(listener.local_addr(), args.rate, args.buffer)?;
        let arrived = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let link = join(&relay, &here, &listener, &arrived, &mut tasks).await?;
        let other = match way {
            Way::SecondLink => Some(join(&relay, &here, &listener, &arrived, &mut tasks).await?),
            Way::Urgent { .. } | Way::First => None,
        };
        tasks.spawn(send_bulk(link.clone()));
        sleep(WARM_UP).await;
        let before = arrived.load(Ordering::Relaxed);
        let start = Instant::now();
        let times = send_stops(other.as_ref().unwrap_or(&link), args.seconds).await?;
        let bytes = arrived.load(Ordering::Relaxed) - before;
        let rate = bytes as f64 / start.elapsed().as_secs_f64();
        // Nothing of it may have failed so far.
        match tasks.try_join_next() {
            Some(task) => Err(task?.err().unwrap_or_else(|| "a link has ended".into())),
            None => Ok((times, rate)),
        }
    })
}

/// Makes a link through the relay, whose other end takes everything that arrives.
async fn join(
    relay: &Relay,
    here: &Setup,
    listener: &Listener,
    arrived: &Arc<AtomicU64>,
    tasks: &mut JoinSet<Result<(), Failure>>,
) -> Result<Link, Failure> {
    let (near, far) = tokio::join!(connect(relay.address(), here), listener.accept());
    let far = far?;
    for channel in [STOP, BULK] {
        let mut receiver = far.receiver(channel)?;
        let arrived = arrived.clone();
        tasks.spawn(async move {
            while let Some(message) = receiver.recv().await? {
                if channel == BULK {
                    arrived.fetch_add(message.len() as u64, Ordering::Relaxed);
                }
            }
            Ok(())
        });
    }
    Ok(near?)
}

async fn send_bulk(link: Link) -> Result<(), Failure> {
    let sender = link.sender(BULK)?;
    let payload = Bytes::from(vec![0x5a; BULK_SIZE]);
    loop {
        drop(sender.send(payload.clone()).await?);
    }
}

/// Sends short messages, whatever becomes of those before, and returns how long each took from
/// `send` to its verdict.
async fn send_stops(link: &Link, time: Duration) -> Result<Vec<Duration>, Failure> {
    let sender = Arc::new(link.sender(STOP)?);
    let mut clock = interval(STOP_PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    while Instant::now() < until {
        clock.tick().await;
        let sender = sender.clone();
        let start = Instant::now();
        tasks.spawn(async move {
            let verdict = sender.send(vec![0x5a; STOP_SIZE]).await?.await;
            if !verdict.is_handled() {
                return Err(format!("a message was {verdict}").into());
            }
            Ok::<_, Failure>(start.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tasks.join_next().await {
        times.push(task??);
    }
    Ok(times)
}
