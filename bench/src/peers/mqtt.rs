//! MQTT at QoS 1: a client of rumqttc publishes, the broker acks, and another client subscribes.
//!
//! The sender hears from the broker and not from the receiver, so the clock stops when both all acks
//! and all messages have come. The broker drops messages where a subscriber lags too far behind, so
//! the sender looks at what the receiver has counted, which it could not if that were elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS, TlsConfiguration,
    Transport,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Contender, Failure, Measurement, check_counts, check_length, window};

mod broker;

use broker::Broker;

const TOPIC: &str = "messages";

/// The longest message that is measured. MQTT allows 256 MiB, but the broker took 3 to 18 seconds for
/// each of 64 MiB.
const MOST: usize = 16 << 20;

/// How long the last messages may take from the broker to the receiver.
const PATIENCE: Duration = Duration::from_secs(60);

/// The broker of all runs, once there was one.
pub(super) type Shared = Arc<Mutex<Option<Broker>>>;

pub(super) struct Mqtt {
    pub(super) runtime: Arc<Runtime>,
    pub(super) broker: Shared,
    pub(super) one_at_a_time: bool,
}

impl Contender for Mqtt {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "mqtt-pingpong"
        } else {
            "mqtt"
        }
    }

    fn excuse(&self, size: usize) -> Option<String> {
        (size > MOST).then(|| "the broker takes seconds for each message".to_owned())
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        let broker = self.broker()?;
        self.runtime.block_on(async {
            let mut receiver = Receiver::subscribe(&broker, size).await?;
            let sender = Sender::connect(&broker, size).await?;
            let start = Instant::now();
            let until = start + duration;
            if self.one_at_a_time {
                let times = tokio::spawn(sender.send_each(size, until)).await??;
                check_counts(
                    times.len() as u64,
                    receiver.finish(times.len() as u64).await?,
                )?;
                return Measurement::round_trips(times);
            }
            let handled = receiver.handled.clone();
            let sent = tokio::spawn(sender.send_windowed(size, until, handled)).await??;
            let received = receiver.finish(sent).await?;
            Measurement::throughput(sent, received, start, Instant::now())
        })
    }
}

impl Mqtt {
    fn broker(&self) -> Result<Broker, Failure> {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = &*broker {
            return Ok(broker.clone());
        }
        Ok(broker.insert(Broker::start()?).clone())
    }
}

/// A client with a connection.
async fn connect(
    broker: &Broker,
    id: &str,
    size: usize,
) -> Result<(AsyncClient, EventLoop), Failure> {
    let (host, port) = (broker.address.ip().to_string(), broker.address.port());
    // The broker may still know those of the last run.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let id = format!("{id}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut options = MqttOptions::new(id, host, port);
    let tls = TlsConfiguration::Rustls(Arc::clone(&broker.tls));
    options.set_transport(Transport::tls_with_config(tls));
    options.set_max_packet_size(size + 1024, size + 1024);
    options.set_inflight(u16::try_from(window(size).min(100))?);
    let (client, mut events) = AsyncClient::new(options, 16);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(PATIENCE.as_secs());
    events.set_network_options(network);
    until(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await?;
    Ok((client, events))
}

/// Runs a client until such a packet comes.
async fn until(events: &mut EventLoop, is_it: impl Fn(&Packet) -> bool) -> Result<(), Failure> {
    loop {
        if let Event::Incoming(packet) = events.poll().await?
            && is_it(&packet)
        {
            return Ok(());
        }
    }
}

/// Runs a client and counts, until it fails or nobody looks at the count any more.
fn count(
    mut events: EventLoop,
    counts: impl Fn(&Packet) -> Result<bool, Failure> + Send + 'static,
) -> (watch::Receiver<u64>, JoinHandle<Result<(), Failure>>) {
    let (counter, count) = watch::channel(0);
    let counting = tokio::spawn(async move {
        while counter.receiver_count() > 0 {
            if let Event::Incoming(packet) = events.poll().await?
                && counts(&packet)?
            {
                counter.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    });
    (count, counting)
}

struct Sender {
    client: AsyncClient,
    acked: watch::Receiver<u64>,
    counting: JoinHandle<Result<(), Failure>>,
}

impl Sender {
    async fn connect(broker: &Broker, size: usize) -> Result<Self, Failure> {
        let (client, events) = connect(broker, "sender", size).await?;
        let (acked, counting) = count(events, |packet| Ok(matches!(packet, Packet::PubAck(_))));
        Ok(Self {
            client,
            acked,
            counting,
        })
    }

    async fn publish(&self, payload: &Bytes) -> Result<(), Failure> {
        let published = self
            .client
            .publish_bytes(TOPIC, QoS::AtLeastOnce, false, payload.clone());
        Ok(published.await?)
    }

    async fn send_windowed(
        mut self,
        size: usize,
        until: Instant,
        mut handled: watch::Receiver<u64>,
    ) -> Result<u64, Failure> {
        let payload = Bytes::from(vec![0x5a; size]);
        let window = window(size) as u64;
        let mut sent = 0;
        while sent == 0 || Instant::now() < until {
            handled.wait_for(|count| sent - count < window).await?;
            self.publish(&payload).await?;
            sent += 1;
        }
        self.acked.wait_for(|count| *count >= sent).await?;
        self.counting.abort();
        Ok(sent)
    }

    async fn send_each(mut self, size: usize, until: Instant) -> Result<Vec<Duration>, Failure> {
        let payload = Bytes::from(vec![0x5a; size]);
        let mut times = Vec::new();
        let mut before = Instant::now();
        while times.is_empty() || before < until {
            self.publish(&payload).await?;
            let sent = times.len() as u64 + 1;
            self.acked.wait_for(|count| *count >= sent).await?;
            let after = Instant::now();
            times.push(after - before);
            before = after;
        }
        self.counting.abort();
        Ok(times)
    }
}

struct Receiver {
    handled: watch::Receiver<u64>,
    counting: JoinHandle<Result<(), Failure>>,
    _client: AsyncClient,
}

impl Receiver {
    async fn subscribe(broker: &Broker, size: usize) -> Result<Self, Failure> {
        let (client, mut events) = connect(broker, "receiver", size).await?;
        client.subscribe(TOPIC, QoS::AtLeastOnce).await?;
        until(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await?;
        let (handled, counting) = count(events, move |packet| match packet {
            Packet::Publish(message) => check_length(size, message.payload.len()).map(|()| true),
            _ => Ok(false),
        });
        Ok(Self {
            handled,
            counting,
            _client: client,
        })
    }

    /// How many messages came, once as many did as were sent.
    async fn finish(&mut self, sent: u64) -> Result<u64, Failure> {
        let all = timeout(PATIENCE, self.handled.wait_for(|count| *count >= sent));
        let all = all.await.map(|all| all.map(|count| *count));
        match all {
            Ok(Ok(count)) => {
                self.counting.abort();
                Ok(count)
            }
            // The client knows better than whoever waits for its count.
            Ok(Err(gone)) => match (&mut self.counting).await? {
                Err(failure) => Err(failure),
                Ok(()) => Err(gone.into()),
            },
            Err(_) => Ok(*self.handled.borrow()),
        }
    }
}
