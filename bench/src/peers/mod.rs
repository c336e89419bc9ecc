//! The contenders, one file each.
//!
//! To add one, implement [`Contender`] in a file of its own and name it in [`all`].

use std::time::{Duration, Instant};

use crate::tls::Configs;
pub(crate) use countersign::{CHANNEL, Setups, security};

mod blocking;
mod blocking_pingpong;
mod countersign;
mod countersign_compio;
mod countersign_std;
mod countersign_tokio;
mod floor;
mod ldc;
mod ldc_acked;
mod ldc_pingpong;
#[cfg(feature = "peers")]
mod mqtt;
#[cfg(feature = "peers")]
mod quinn;
mod raw_rustls;
mod raw_tcp;
#[cfg(feature = "peers")]
mod tarpc;
mod tokio_tls;
#[cfg(feature = "peers")]
mod tonic;

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

/// How the names of contenders end that have one message under way at a time.
const PING_PONG: &str = "-pingpong";

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

    /// Why there is no measurement with messages of `size` bytes, if there is none.
    fn excuse(&self, size: usize) -> Option<String> {
        let _ = size;
        None
    }
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

/// How many messages of `size` bytes a peer without a window of its own may have under way: no more
/// than fit into the window of countersign, and at least one.
#[cfg(feature = "peers")]
fn window(size: usize) -> usize {
    (16 * 1024 * 1024 / size).clamp(1, 1024)
}

/// All contenders, in the order in which they take turns.
pub(crate) fn all() -> Result<Vec<Box<dyn Contender>>, Failure> {
    let configs = Configs::new()?;
    let tls = tokio_tls::TokioTls::new(configs.clone())?;
    let setups = Setups::new()?;
    let runtime = tls.runtime.clone();
    let on_std = |one_at_a_time| floor::OnStd {
        configs: configs.clone(),
        one_at_a_time,
    };
    let on_tokio = |one_at_a_time| floor::OnTokio {
        configs: configs.clone(),
        runtime: runtime.clone(),
        one_at_a_time,
    };
    let mut all: Vec<Box<dyn Contender>> = vec![
        Box::new(raw_tcp::RawTcp),
        Box::new(raw_rustls::RawRustls(configs.clone())),
        Box::new(ldc::Ldc::new(tls.clone())),
        Box::new(ldc_acked::LdcAcked::new(tls.clone())),
        Box::new(on_tokio(false)),
        Box::new(on_std(false)),
        Box::new(countersign_tokio::Throughput {
            setups: setups.clone(),
            runtime: runtime.clone(),
        }),
        Box::new(countersign_std::Throughput(setups.clone())),
        Box::new(countersign_compio::Throughput(setups.clone())),
        Box::new(ldc_pingpong::LdcPingPong::new(tls.clone())),
        Box::new(blocking_pingpong::BlockingPingPong(configs.clone())),
        Box::new(on_tokio(true)),
        Box::new(on_std(true)),
        Box::new(countersign_tokio::PingPong {
            setups: setups.clone(),
            runtime: runtime.clone(),
        }),
        Box::new(countersign_std::PingPong(setups.clone())),
        Box::new(countersign_compio::PingPong(setups)),
    ];
    #[cfg(feature = "peers")]
    all.extend(heavy(&configs, &tls));
    // Those whose tables have one kind of row stay together.
    all.sort_by_key(|contender| contender.name().ends_with(PING_PONG));
    Ok(all)
}

/// The contenders with many dependencies.
#[cfg(feature = "peers")]
fn heavy(configs: &Configs, tls: &tokio_tls::TokioTls) -> Vec<Box<dyn Contender>> {
    let broker = mqtt::Shared::default();
    let both = [false, true].into_iter();
    both.flat_map(|one_at_a_time| {
        let each: [Box<dyn Contender>; 4] = [
            Box::new(quinn::Quinn {
                configs: configs.clone(),
                runtime: tls.runtime.clone(),
                one_at_a_time,
            }),
            Box::new(tonic::Tonic {
                tls: tls.clone(),
                one_at_a_time,
            }),
            Box::new(tarpc::Tarpc {
                tls: tls.clone(),
                one_at_a_time,
            }),
            Box::new(mqtt::Mqtt {
                runtime: tls.runtime.clone(),
                broker: broker.clone(),
                one_at_a_time,
            }),
        ];
        each
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_delivers_every_message() {
        // A size that is one record, and one that is several and no multiple of anything.
        for size in [64, 100_001] {
            for contender in all().expect("contenders") {
                let measurement = contender.run(size, Duration::from_millis(20));
                let measurement = measurement.unwrap_or_else(|failure| {
                    panic!("{} at {size}: {failure}", contender.name());
                });
                let one_at_a_time = matches!(measurement, Measurement::RoundTrips { .. });
                assert_eq!(one_at_a_time, contender.name().ends_with(PING_PONG));
                assert!(measurement.messages() > 0, "{}", contender.name());
            }
        }
    }

    #[test]
    fn names_are_unique_and_the_baselines_are_among_them() {
        let all = all().expect("contenders");
        let names: Vec<_> = all.iter().map(|contender| contender.name()).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for baseline in [64, 64 * 1024].map(throughput_baseline) {
            assert!(names.contains(&baseline));
        }
        assert!(names.contains(&ROUND_TRIP_BASELINE));
    }

    #[test]
    fn a_count_or_a_length_that_is_wrong_is_an_error() {
        assert!(check_counts(2, 2).is_ok());
        assert!(check_counts(2, 1).is_err());
        assert!(check_length(64, 64).is_ok());
        assert!(check_length(64, 63).is_err());
        assert!(Measurement::round_trips(Vec::new()).is_err());
    }

    #[test]
    #[cfg(feature = "peers")]
    fn a_window_has_room_for_one_message_of_any_size() {
        assert_eq!([64, 1 << 20, 64 << 20].map(window), [1024, 16, 1]);
    }
}
