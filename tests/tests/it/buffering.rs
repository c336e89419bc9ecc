//! Links over streams that keep what is written to them until they are flushed, and over streams
//! that take a byte at a time.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::time::Duration;

use countersign_core::{CloseMode, Config, ReceiveChannel, Role, SendChannel};
use countersign_tests::on_tokio::Tokio;
use countersign_tests::pair::payload;
use countersign_tests::{Pair, Transport};
use countersign_tokio::link_over;
use tokio::io::{AsyncRead, AsyncWrite, BufStream, duplex};
use tokio::join;
use tokio::time::timeout;

/// Far more than any test takes on any machine.
const HANG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_stays_behind_in_a_stream_that_buffers() {
    passes_over(|| {
        let (near, far) = duplex(1000);
        (BufStream::new(near), BufStream::new(far))
    })
    .await;
}

#[tokio::test]
async fn a_stream_may_take_a_byte_at_a_time() {
    passes_over(|| duplex(1)).await;
}

/// Messages short and long pass, secured and plain.
async fn passes_over<S>(streams: impl Fn() -> (S, S))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    for transport in [Transport::Tls, Transport::Plain] {
        let pair = Pair {
            client: &Tokio,
            server: &Tokio,
            transport,
        };
        let client = pair.client_setup(Config::new().channel(SendChannel::new("data")));
        let server = pair.server_setup(Config::new().channel(ReceiveChannel::new("data")));
        let (near, far) = streams();
        let both = async {
            join!(
                link_over(near, Role::Opener, &client),
                link_over(far, Role::Acceptor, &server)
            )
        };
        let (client, server) = timeout(HANG, both).await.unwrap();
        let (client, server) = (client.unwrap(), server.unwrap());
        let mut receiver = server.receiver("data").unwrap();
        let sender = client.sender("data").unwrap();
        for length in [7, 50_000] {
            let receipt = sender.send(payload(length, length)).await.unwrap();
            let message = receiver.recv().await.unwrap().unwrap();
            assert!(
                message == payload(length, length),
                "{} bytes",
                message.len()
            );
            assert!(receipt.await.is_handled());
        }
        assert!(client.close(CloseMode::Drain).await.is_orderly());
    }
}
