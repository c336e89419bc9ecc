//! countersign on tokio, with its defaults: every message acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_tokio::{CloseMode, Link, VerdictKind, connect, listen};
use tokio::runtime::Runtime;

use super::countersign::{CHANNEL, Setups};
use super::{Contender, Failure, Measurement, batch, check_counts, check_length};

/// Many messages under way at once.
pub(super) struct Throughput {
    pub(super) setups: Setups,
    pub(super) runtime: Arc<Runtime>,
}

/// One message at a time.
pub(super) struct PingPong {
    pub(super) setups: Setups,
    pub(super) runtime: Arc<Runtime>,
}

impl Contender for Throughput {
    fn name(&self) -> &'static str {
        "countersign-tokio"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.runtime.block_on(async {
            let (sender, receiver) = connect_both(&self.setups.of_size(size)?).await?;
            let start = Instant::now();
            let receiving = tokio::spawn(receive_batches(receiver, size));
            let sending = tokio::spawn(send_batches(sender, size, start + duration));
            let (sent, end) = sending.await??;
            Measurement::throughput(sent, receiving.await??, start, end)
        })
    }
}

impl Contender for PingPong {
    fn name(&self) -> &'static str {
        "countersign-tokio-pingpong"
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.runtime.block_on(async {
            let (sender, receiver) = connect_both(&self.setups.of_size(size)?).await?;
            let receiving = tokio::spawn(receive_each(receiver, size));
            let until = Instant::now() + duration;
            let times = tokio::spawn(send_each(sender, size, until)).await??;
            check_counts(times.len() as u64, receiving.await??)?;
            Measurement::round_trips(times)
        })
    }
}

async fn connect_both(setups: &Setups) -> Result<(Link, Link), Failure> {
    let listener = listen("127.0.0.1:0", setups.receiver.clone()).await?;
    let (sender, receiver) = tokio::join!(
        connect(listener.local_addr(), &setups.sender),
        listener.accept()
    );
    Ok((sender?, receiver?))
}

pub(super) async fn send_batches(
    link: Link,
    size: usize,
    until: Instant,
) -> Result<(u64, Instant), Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let sender = link.sender(CHANNEL)?;
    let mut messages = VecDeque::new();
    let mut sent = 0;
    while sent == 0 || Instant::now() < until {
        messages.resize(batch(size), payload.clone());
        sent += messages.len() as u64;
        // The report at the end tells whether all were handled.
        drop(sender.send_batch(&mut messages).await?);
    }
    let report = link.close(CloseMode::Drain).await;
    let end = Instant::now();
    check_counts(sent, report.verdicts()[VerdictKind::Handled])?;
    Ok((sent, end))
}

pub(super) async fn receive_batches(link: Link, size: usize) -> Result<u64, Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    let mut messages = Vec::new();
    let mut received = 0;
    while receiver.recv_batch(&mut messages, 1024).await? > 0 {
        for message in messages.drain(..) {
            check_length(size, message.len())?;
            received += 1;
        }
    }
    Ok(received)
}

pub(super) async fn send_each(
    link: Link,
    size: usize,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let sender = link.sender(CHANNEL)?;
    let mut times = Vec::new();
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        let verdict = sender.send(payload.clone()).await?.await;
        if !verdict.is_handled() {
            return Err(format!("a message was {verdict}").into());
        }
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    link.close(CloseMode::Drain).await;
    Ok(times)
}

pub(super) async fn receive_each(link: Link, size: usize) -> Result<u64, Failure> {
    let mut receiver = link.receiver(CHANNEL)?;
    let mut handled = 0;
    while let Some(message) = receiver.recv().await? {
        check_length(size, message.len())?;
        handled += 1;
    }
    Ok(handled)
}
