//! As `ldc`, with acks written by hand: the receiver answers with how many messages it has handled
//! so far, the sender keeps a window of messages under way.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};

use super::tokio_tls::{Messages, Stream, TokioTls};
use super::{Contender, Failure, Measurement, batch, check_length};

pub(super) const NAME: &str = "ldc-acked";

/// How many messages may be without an ack.
pub(super) const WINDOW: u64 = 1024;

/// The most messages that are sent, or acked, together: a part of the window, so that both ends
/// have work at the same time.
pub(super) const BATCH: u64 = WINDOW / 4;

pub(super) struct LdcAcked {
    tls: TokioTls,
}

impl LdcAcked {
    pub(super) fn new(tls: TokioTls) -> Self {
        Self { tls }
    }
}

impl Contender for LdcAcked {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.tls.runtime.block_on(async {
            let (client, server) = self.tls.connect(size).await?;
            let start = Instant::now();
            let receiving = tokio::spawn(receive(server, size));
            let (sent, end) = tokio::spawn(send(client, size, start + duration)).await??;
            let received = receiving.await??;
            Measurement::throughput(sent, received, start, end)
        })
    }
}

pub(super) async fn send<T: Stream>(
    mut client: Messages<T>,
    size: usize,
    until: Instant,
) -> Result<(u64, Instant), Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let batch = BATCH.min(batch(size) as u64);
    let (mut sent, mut handled) = (0, 0);
    while sent == 0 || Instant::now() < until {
        for _ in 0..batch.min(WINDOW - (sent - handled)) {
            client.feed(payload.clone()).await?;
            sent += 1;
        }
        SinkExt::<Bytes>::flush(&mut client).await?;
        // Takes the acks that are there, and waits for one only if the window is full.
        while let Some(ack) = client.next().now_or_never() {
            handled = read_ack(ack, handled, sent)?;
        }
        if sent - handled == WINDOW {
            handled = read_ack(client.next().await, handled, sent)?;
        }
    }
    while handled < sent {
        handled = read_ack(client.next().await, handled, sent)?;
    }
    let end = Instant::now();
    SinkExt::<Bytes>::close(&mut client).await?;
    Ok((sent, end))
}

/// The count in an ack, which has to lie between the last one and what was sent.
pub(super) fn read_ack(
    ack: Option<Result<BytesMut, std::io::Error>>,
    handled: u64,
    sent: u64,
) -> Result<u64, Failure> {
    let ack = ack.ok_or("the receiver closed before it acked everything")??;
    let count = u64::from_be_bytes(ack[..].try_into()?);
    if (handled..=sent).contains(&count) {
        Ok(count)
    } else {
        Err(format!("an ack of {count} after {handled}, with {sent} sent").into())
    }
}

pub(super) async fn receive<T: Stream>(
    mut server: Messages<T>,
    size: usize,
) -> Result<u64, Failure> {
    let mut handled = 0u64;
    while let Some(message) = server.next().await {
        check_length(size, message?.len())?;
        handled += 1;
        let mut batched = 1;
        while batched < BATCH
            && let Some(Some(message)) = server.next().now_or_never()
        {
            check_length(size, message?.len())?;
            handled += 1;
            batched += 1;
        }
        server
            .send(Bytes::copy_from_slice(&handled.to_be_bytes()))
            .await?;
    }
    Ok(handled)
}
