//! As `ldc-acked`, with one message at a time: how long it takes from sending a message to knowing
//! that it was handled.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};

use super::ldc_acked::read_ack;
use super::tokio_tls::{Messages, Stream, TokioTls};
use super::{Contender, Failure, Measurement, check_counts, check_length};

pub(super) const NAME: &str = "ldc-pingpong";

pub(super) struct LdcPingPong {
    tls: TokioTls,
}

impl LdcPingPong {
    pub(super) fn new(tls: TokioTls) -> Self {
        Self { tls }
    }
}

impl Contender for LdcPingPong {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.tls.runtime.block_on(async {
            let (client, server) = self.tls.connect(size).await?;
            let receiving = tokio::spawn(receive(server, size));
            let until = Instant::now() + duration;
            let times = tokio::spawn(send(client, size, until)).await??;
            check_counts(times.len() as u64, receiving.await??)?;
            Measurement::round_trips(times)
        })
    }
}

pub(super) async fn send<T: Stream>(
    mut client: Messages<T>,
    size: usize,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let mut times = Vec::new();
    let mut sent = 0;
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        client.send(payload.clone()).await?;
        sent += 1;
        // The only count between `sent` and `sent`: any other ack is an error.
        read_ack(client.next().await, sent, sent)?;
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    SinkExt::<Bytes>::close(&mut client).await?;
    Ok(times)
}

pub(super) async fn receive<T: Stream>(
    mut server: Messages<T>,
    size: usize,
) -> Result<u64, Failure> {
    let mut handled = 0u64;
    while let Some(message) = server.next().await {
        check_length(size, message?.len())?;
        handled += 1;
        server
            .send(Bytes::copy_from_slice(&handled.to_be_bytes()))
            .await?;
    }
    Ok(handled)
}
