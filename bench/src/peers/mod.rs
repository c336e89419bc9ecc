//! The contenders, one file each.
//!
//! To add one, implement [`Contender`] in a file of its own and name it in [`all`].

use std::time::{Duration, Instant};

use crate::tls::Configs;
pub(crate) use countersign::security;

mod countersign;
mod countersign_compio;
mod countersign_std;
mod countersign_tokio;
mod ldc;
mod ldc_acked;
mod ldc_pingpong;
mod raw_rustls;
mod tokio_tls;

/// Why a measurement is not worth anything.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The name of the round-trip contender that others are compared with.
pub(crate) const ROUND_TRIP_BASELINE: &str = ldc_pingpong::NAME;

/// The name of the throughput contender that others are compared with at this message size.
pub(crate) fn throughput_baseline(size: usize) -> &'static str {
    // Framing costs most where messages are small, encryption where they are large.
    if size < 64 * 1024 {
        ldc::NAME
    } else {
        raw_rustls::NAME
    }
}

/// One way of handing messages to another machine.
pub(crate) trait Contender {
    /// What the table calls it.
    fn name(&self) -> &'static str;

    /// Sends messages of `size` bytes from one end to the other, over a new connection, for about
    /// `duration`.
    ///
    /// The clock starts when both ends are connected. It stops when the last message is known to
    /// have arrived: at the sender, for a contender that acknowledges; at the receiver, for one
    /// that does not.
    ///
    /// # Errors
    /// Anything that went wrong, a receiver that counted wrong included.
    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure>;
}

/// What a run has measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measurement {
    /// Many messages under way at once.
    Throughput {
        /// How many there were.
        messages: u64,
        /// How long it took until the last one had arrived.
        elapsed: Duration,
    },
    /// One message at a time, from sending it to knowing that it was handled.
    RoundTrips {
        /// How many there were.
        messages: u64,
        /// Half of the round trips were no longer than this.
        median: Duration,
        /// 99 of 100 were no longer than this.
        p99: Duration,
    },
}

impl Measurement {
    /// The measurement of a sender that counted `sent` from `start` on, and of a receiver that
    /// counted `received`.
    ///
    /// # Errors
    /// The counts differ.
    pub(crate) fn throughput(
        sent: u64,
        received: u64,
        start: Instant,
        end: Instant,
    ) -> Result<Self, Failure> {
        check_counts(sent, received)?;
        Ok(Self::Throughput {
            messages: sent,
            elapsed: end - start,
        })
    }

    /// The measurement of single round trips.
    ///
    /// # Errors
    /// There were none.
    pub(crate) fn round_trips(mut times: Vec<Duration>) -> Result<Self, Failure> {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied();
        match (at(50), at(99)) {
            (Some(median), Some(p99)) => Ok(Self::RoundTrips {
                messages: times.len() as u64,
                median,
                p99,
            }),
            _ => Err("no round trip was completed".into()),
        }
    }

    /// How many messages there were.
    pub(crate) fn messages(&self) -> u64 {
        match self {
            Self::Throughput { messages, .. } | Self::RoundTrips { messages, .. } => *messages,
        }
    }
}

/// # Errors
/// The counts differ.
pub(crate) fn check_counts(sent: u64, received: u64) -> Result<(), Failure> {
    if sent == received {
        Ok(())
    } else {
        Err(format!("{sent} messages were sent and {received} received").into())
    }
}

/// # Errors
/// A message did not arrive with the length it was sent with.
pub(crate) fn check_length(size: usize, received: usize) -> Result<(), Failure> {
    if size == received {
        Ok(())
    } else {
        Err(format!("a message of {size} bytes arrived with {received}").into())
    }
}

/// How many messages of `size` bytes make a batch of about 64 KiB: at least one.
pub(crate) fn batch(size: usize) -> usize {
    (64 * 1024 / size.max(1)).max(1)
}

/// All contenders, in the order in which they take turns.
pub(crate) fn all() -> Result<Vec<Box<dyn Contender>>, Failure> {
    let configs = Configs::new()?;
    let tls = tokio_tls::TokioTls::new(configs.clone())?;
    let setups = countersign::Setups::new()?;
    let runtime = tls.runtime.clone();
    Ok(vec![
        Box::new(raw_rustls::RawRustls::new(configs)),
        Box::new(ldc::Ldc::new(tls.clone())),
        Box::new(ldc_acked::LdcAcked::new(tls.clone())),
        Box::new(countersign_tokio::Throughput {
            setups: setups.clone(),
            runtime: runtime.clone(),
        }),
        Box::new(countersign_std::Throughput(setups.clone())),
        Box::new(countersign_compio::Throughput(setups.clone())),
        Box::new(ldc_pingpong::LdcPingPong::new(tls)),
        Box::new(countersign_tokio::PingPong {
            setups: setups.clone(),
            runtime,
        }),
        Box::new(countersign_std::PingPong(setups.clone())),
        Box::new(countersign_compio::PingPong(setups)),
    ])
}
