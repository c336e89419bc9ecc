//! gRPC, by tonic: one call that streams messages there and acks back, with the acks of `ldc-acked`.
//! The messages are bytes: a codec by hand, and no code from a `.proto` file.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::tokio_tls::TokioTls;
use super::{Contender, Failure, Measurement, check_counts, check_length, ldc_acked, window};

mod wire;

use wire::{Accepted, Raw};

/// How much may be under way, as in countersign: HTTP/2's own 64 KiB would be unfair.
const WINDOW: u32 = 16 << 20;

pub(super) struct Tonic {
    pub(super) tls: TokioTls,
    pub(super) one_at_a_time: bool,
}

impl Contender for Tonic {
    fn name(&self) -> &'static str {
        if self.one_at_a_time {
            "tonic-pingpong"
        } else {
            "tonic"
        }
    }

    fn run(&self, size: usize, duration: Duration) -> Result<Measurement, Failure> {
        self.tls.runtime.block_on(async {
            let handled = Arc::default();
            let (channel, serving) = self.connect(size, &handled).await?;
            let call = Call::new(channel).await?;
            let start = Instant::now();
            let until = start + duration;
            let measurement = if self.one_at_a_time {
                let times = tokio::spawn(call.send_each(size, until)).await??;
                check_counts(times.len() as u64, handled.load(Ordering::Relaxed))?;
                Measurement::round_trips(times)
            } else {
                let (sent, end) = tokio::spawn(call.send_windowed(size, until)).await??;
                Measurement::throughput(sent, handled.load(Ordering::Relaxed), start, end)
            };
            serving.abort();
            measurement
        })
    }
}

impl Tonic {
    /// A channel to a server that counts in `handled`, and the server's task.
    async fn connect(
        &self,
        size: usize,
        handled: &Arc<AtomicU64>,
    ) -> Result<(Channel, tokio::task::JoinHandle<()>), Failure> {
        let (client, server) = self.tls.streams().await?;
        let service = Receiver {
            size,
            handled: Arc::clone(handled),
        };
        let serving = tokio::spawn(async move {
            let incoming = stream::iter([Ok::<_, Infallible>(Accepted(server))]);
            // Until the other end is gone; what went wrong shows there.
            let _ = Server::builder()
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .serve_with_incoming(service, incoming.chain(stream::pending()))
                .await;
        });
        let mut client = Some(TokioIo::new(client));
        let connector = tower::service_fn(move |_| {
            let client = client.take().ok_or("there is one connection only");
            async move { client }
        });
        let channel = Endpoint::from_static("http://peer")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .connect_with_connector(connector)
            .await?;
        Ok((channel, serving))
    }
}

/// The call, from the client.
struct Call {
    messages: mpsc::Sender<Bytes>,
    acks: Streaming<Bytes>,
    _channel: Channel,
}

impl Call {
    async fn new(channel: Channel) -> Result<Self, Failure> {
        let (messages, mut outgoing) = mpsc::channel(ldc_acked::BATCH as usize);
        let outgoing = stream::poll_fn(move |context| outgoing.poll_recv(context));
        let path = PathAndQuery::from_static("/messages/exchange");
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await?;
        let response = client.streaming(Request::new(outgoing), path, Raw).await?;
        Ok(Self {
            messages,
            acks: response.into_inner(),
            _channel: channel,
        })
    }

    async fn send_windowed(
        mut self,
        size: usize,
        until: Instant,
    ) -> Result<(u64, Instant), Failure> {
        let payload = Bytes::from(vec![0x5a; size]);
        let window = window(size) as u64;
        let (mut sent, mut handled) = (0, 0);
        while sent == 0 || Instant::now() < until {
            for _ in 0..ldc_acked::BATCH.min(window - (sent - handled)) {
                self.messages.send(payload.clone()).await?;
                sent += 1;
            }
            while let Some(ack) = self.acks.next().now_or_never() {
                handled = read_ack(ack, handled, sent)?;
            }
            if sent - handled == window {
                handled = read_ack(self.acks.next().await, handled, sent)?;
            }
        }
        while handled < sent {
            handled = read_ack(self.acks.next().await, handled, sent)?;
        }
        Ok((sent, Instant::now()))
    }

    async fn send_each(mut self, size: usize, until: Instant) -> Result<Vec<Duration>, Failure> {
        let payload = Bytes::from(vec![0x5a; size]);
        let mut times = Vec::new();
        let mut before = Instant::now();
        while times.is_empty() || before < until {
            self.messages.send(payload.clone()).await?;
            let sent = times.len() as u64 + 1;
            read_ack(self.acks.next().await, sent, sent)?;
            let after = Instant::now();
            times.push(after - before);
            before = after;
        }
        Ok(times)
    }
}

fn read_ack(ack: Option<Result<Bytes, Status>>, handled: u64, sent: u64) -> Result<u64, Failure> {
    let ack = ack.map(|ack| ack.map(Into::into).map_err(std::io::Error::other));
    ldc_acked::read_ack(ack, handled, sent)
}

/// The server's part: counts messages and answers with how many there were.
#[derive(Clone)]
struct Receiver {
    size: usize,
    handled: Arc<AtomicU64>,
}

impl Service<http::Request<tonic::body::Body>> for Receiver {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let receiver = self.clone();
        let mut server =
            tonic::server::Grpc::new(Raw).max_decoding_message_size(self.size.max(1 << 20));
        async move { Ok(server.streaming(receiver, request).await) }.boxed()
    }
}

impl tonic::server::StreamingService<Bytes> for Receiver {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let start = (self.clone(), request.into_inner());
        let acks = stream::try_unfold(start, |(receiver, mut messages)| async move {
            let count = receiver.handle_some(&mut messages).await?;
            Ok(count.map(|count| {
                (
                    Bytes::copy_from_slice(&count.to_be_bytes()),
                    (receiver, messages),
                )
            }))
        });
        std::future::ready(Ok(Response::new(acks.boxed()))).boxed()
    }
}

impl Receiver {
    /// Handles a message and those that are there already. How many there were so far, or nothing
    /// after the last one.
    async fn handle_some(&self, messages: &mut Streaming<Bytes>) -> Result<Option<u64>, Status> {
        let Some(message) = messages.message().await? else {
            return Ok(None);
        };
        let mut count = self.handle(&message)?;
        for _ in 1..ldc_acked::BATCH {
            let Some(Some(message)) = messages.next().now_or_never() else {
                break;
            };
            count = self.handle(&message?)?;
        }
        Ok(Some(count))
    }

    fn handle(&self, message: &Bytes) -> Result<u64, Status> {
        let right = check_length(self.size, message.len());
        right.map_err(|failure| Status::invalid_argument(failure.to_string()))?;
        Ok(self.handled.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
