//! tokio-rustls and `LengthDelimitedCodec`: messages, but the sender never learns what became of
//! them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};

use super::tokio_tls::{Client, Server, TokioTls};
use super::{Contender, Failure, Measurement, batch, check_length};

pub(super) const NAME: &str = "ldc";

pub(super) struct Ldc {
    tls: TokioTls,
}

impl Ldc {
    pub(super) fn new(tls: TokioTls) -> Self {
        Self { tls }
    }
}

impl Contender for Ldc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.tls.runtime.block_on(async {
            let (client, server) = self.tls.connect(size).await?;
            let start = Instant::now();
            let receiving = tokio::spawn(receive(server, size));
            let sent = tokio::spawn(send(client, size, start + duration)).await??;
            let (received, end) = receiving.await??;
            Measurement::throughput(sent, received, start, end)
        })
    }
}

async fn send(mut client: Client, size: usize, until: Instant) -> Result<u64, Failure> {
    let payload = Bytes::from(vec![0x5a; size]);
    let mut sent = 0;
    while sent == 0 || Instant::now() < until {
        for _ in 0..batch(size) {
            client.feed(payload.clone()).await?;
            sent += 1;
        }
        SinkExt::<Bytes>::flush(&mut client).await?;
    }
    SinkExt::<Bytes>::close(&mut client).await?;
    Ok(sent)
}

async fn receive(mut server: Server, size: usize) -> Result<(u64, Instant), Failure> {
    let mut received = 0;
    while let Some(message) = server.next().await {
        check_length(size, message?.len())?;
        received += 1;
    }
    Ok((received, Instant::now()))
}
