//! The clients of a crowd, all in one process on tokio.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_tokio::{Config, Link, SendChannel, Sender, Setup, connect};
use futures_util::stream::{StreamExt, iter};
use tokio::task::JoinSet;
use tokio::time::interval_at;

use super::CHANNEL;
use crate::peers::Failure;

/// How many connect at once.
const AT_ONCE: usize = 64;

/// What the clients declare.
pub(super) fn config() -> Config {
    Config::new().channel(SendChannel::new(CHANNEL))
}

/// The clients' ends.
pub(super) struct Clients {
    links: Vec<Link>,
    /// How long each took to connect, the shortest first.
    connecting: Vec<Duration>,
    total: Duration,
}

impl Clients {
    pub(super) async fn connect(
        server: SocketAddr,
        setup: &Setup,
        count: usize,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let opening = iter(0..count).map(|_| async {
            let start = Instant::now();
            let link = connect(server, setup).await?;
            Ok((link, start.elapsed()))
        });
        let opened: Vec<Result<_, Failure>> = opening.buffer_unordered(AT_ONCE).collect().await;
        let total = begun.elapsed();
        let opened: Result<Vec<_>, _> = opened.into_iter().collect();
        let (links, mut connecting): (Vec<_>, Vec<_>) = opened?.into_iter().unzip();
        connecting.sort_unstable();
        Ok(Self {
            links,
            connecting,
            total,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.links.len()
    }

    /// How long all took to connect; then the median and the 99th percentile of each.
    pub(super) fn times(&self) -> [Duration; 3] {
        let [median, p99] = percentiles(&self.connecting);
        [self.total, median, p99]
    }

    /// How many links have been lost, also if they came back.
    pub(super) fn lost(&self) -> usize {
        let reports = self.links.iter().map(Link::report);
        reports
            .filter(|report| report.end.is_some() || report.resumes > 0)
            .count()
    }

    fn senders(&self, count: usize) -> Result<Vec<Sender>, Failure> {
        let links = self.links.iter().take(count);
        links.map(|link| Ok(link.sender(CHANNEL)?)).collect()
    }

    /// Each of `busy` links sends at an even pace and waits for the verdict. Gives how many messages
    /// there were, and the median and the 99th percentile of the time to the verdict.
    pub(super) async fn paced(
        &self,
        busy: usize,
        rate: u32,
        size: usize,
        duration: Duration,
    ) -> Result<(u64, [Duration; 2]), Failure> {
        let period = Duration::from_secs(1) / rate;
        let count = duration.as_secs() * u64::from(rate);
        let begin = tokio::time::Instant::now();
        let mut tasks = JoinSet::new();
        for (at, sender) in self.senders(busy)?.into_iter().enumerate() {
            // Spread over the first period, as independent peers would be.
            let first = begin + period.mul_f64(at as f64 / busy as f64);
            tasks.spawn(async move {
                let payload = Bytes::from(vec![0x5a; size]);
                let mut times = Vec::new();
                let mut clock = interval_at(first, period);
                for _ in 0..count {
                    clock.tick().await;
                    let start = Instant::now();
                    let verdict = sender.send(payload.clone()).await?.await;
                    if !verdict.is_handled() {
                        return Err(format!("a message was {verdict}").into());
                    }
                    times.push(start.elapsed());
                }
                Ok::<_, Failure>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(task) = tasks.join_next().await {
            times.extend(task??);
        }
        times.sort_unstable();
        Ok((times.len() as u64, percentiles(&times)))
    }

    /// Each of `busy` links sends whenever there is room, until all is handled. Gives how many
    /// messages there were.
    pub(super) async fn flooding(
        &self,
        busy: usize,
        size: usize,
        duration: Duration,
    ) -> Result<u64, Failure> {
        let until = Instant::now() + duration;
        let mut tasks = JoinSet::new();
        for sender in self.senders(busy)? {
            tasks.spawn(async move {
                let payload = Bytes::from(vec![0x5a; size]);
                let mut sent = 0;
                let mut last = sender.send(payload.clone()).await?;
                while Instant::now() < until {
                    last = sender.send(payload.clone()).await?;
                    sent += 1;
                }
                // Messages are handled in order, so with this one all are.
                let verdict = last.await;
                if !verdict.is_handled() {
                    return Err(format!("the last message was {verdict}").into());
                }
                Ok::<u64, Failure>(sent + 1)
            });
        }
        let mut sent = 0;
        while let Some(task) = tasks.join_next().await {
            sent += task??;
        }
        Ok(sent)
    }
}

fn percentiles(sorted: &[Duration]) -> [Duration; 2] {
    let at = |percent: usize| sorted.get(sorted.len() * percent / 100);
    [50, 99].map(|percent| at(percent).copied().unwrap_or_default())
}
