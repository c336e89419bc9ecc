//! Remote calls by tarpc with bincode, over tokio-rustls: a call for each message, many of them at
//! once. The answer is the ack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tarpc::client::{self, Channel};
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel as _, serve};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{RequestName, ServerError, serde_transport};

use super::tokio_tls::{ClientStream, Messages, ServerStream, TokioTls};
use super::{Contender, Failure, Measurement, check_counts, check_length, window};

/// What bincode and tarpc add to a message: the request's number, its deadline and its trace.
const OVERHEAD: usize = 1024;

pub(super) struct Tarpc {
    pub(super) tls: TokioTls,
    pub(super) one_at_a_time: bool,
}

/// The one request: a message, written as bytes and not as a list of numbers.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Message(ByteBuf);

impl RequestName for Message {
    fn name(&self) -> &str {
        "Messages.handle"
    }
}

type Calls = Channel<Message, u64>;

impl Contender for Tarpc {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "tarpc-pingpong"
        } else {
            "tarpc"
        }
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.tls.runtime.block_on(async {
            let (client, server) = self.tls.connect(size + OVERHEAD).await?;
            let calls = calls(client);
            let start = Instant::now();
            let until = start + duration;
            let receiving = tokio::spawn(receive(server, size));
            if self.one_at_a_time {
                let times = tokio::spawn(send_each(calls, size, until)).await??;
                check_counts(times.len() as u64, receiving.await?)?;
                return Measurement::round_trips(times);
            }
            let (sent, end) = tokio::spawn(send_windowed(calls, size, until)).await??;
            Measurement::throughput(sent, receiving.await?, start, end)
        })
    }
}

fn calls(stream: Messages<ClientStream>) -> Calls {
    let transport = serde_transport::new(stream, Bincode::default());
    let mut config = client::Config::default();
    config.max_in_flight_requests = 1024;
    config.pending_request_buffer = 1024;
    client::new(config, transport).spawn()
}

async fn send_windowed(
    calls: Calls,
    size: usize,
    until: Instant,
) -> Result<(u64, Instant), Failure> {
    let message = Message(ByteBuf::from(vec![0x5a; size]));
    let window = window(size);
    let mut under_way = FuturesUnordered::new();
    let mut sent = 0;
    while sent == 0 || Instant::now() < until {
        while under_way.len() < window {
            under_way.push(calls.call(context(), message.clone()));
            sent += 1;
        }
        if let Some(answer) = under_way.next().await {
            check_length(size, usize::try_from(answer?)?)?;
        }
    }
    while let Some(answer) = under_way.next().await {
        check_length(size, usize::try_from(answer?)?)?;
    }
    Ok((sent, Instant::now()))
}

async fn send_each(calls: Calls, size: usize, until: Instant) -> Result<Vec<Duration>, Failure> {
    let message = Message(ByteBuf::from(vec![0x5a; size]));
    let mut times = Vec::new();
    let mut before = Instant::now();
    while times.is_empty() || before < until {
        let length = calls.call(context(), message.clone()).await?;
        check_length(size, usize::try_from(length)?)?;
        let after = Instant::now();
        times.push(after - before);
        before = after;
    }
    Ok(times)
}

/// A deadline far away: what is late here is the machine, and that counts.
fn context() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(600);
    context
}

/// Answers each message with its length, until the other end is gone. How many there were.
async fn receive(stream: Messages<ServerStream>, size: usize) -> u64 {
    let handled = Arc::new(AtomicU64::new(0));
    let transport = serde_transport::new(stream, Bincode::default());
    let handler = {
        let handled = Arc::clone(&handled);
        move |_: Context, message: Message| {
            handled.fetch_add(1, Ordering::Relaxed);
            let length = message.0.len() as u64;
            async move { Ok::<_, ServerError>(length) }
        }
    };
    BaseChannel::with_defaults(transport)
        .execute(serve(handler))
        .for_each_concurrent(window(size), |call| call)
        .await;
    handled.load(Ordering::Relaxed)
}
