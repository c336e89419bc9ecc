//! What a driver does with a transport that is in no hurry to end.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countersign_core::{CloseMode, Config, ReceiveChannel, Role, SendChannel, Timeouts};
use countersign_driver::Setup;
use countersign_tests::on_tokio::Tokio;
use countersign_tests::{Pair, Transport, watch};
use countersign_tokio::link_over;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_secs(3600);

/// What a test does to a stream, and sees of it.
#[derive(Default)]
struct Stage {
    state: Mutex<StageState>,
    gone: Notify,
}

#[derive(Default)]
struct StageState {
    may_shut_down: bool,
    shutdowns: u64,
    waker: Option<Waker>,
}

impl Stage {
    /// Lets the stream shut down.
    fn open(&self) {
        let mut state = self.state.lock().unwrap();
        state.may_shut_down = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A stream that does not shut down before it may.
struct Staged(DuplexStream, Arc<Stage>);

impl AsyncRead for Staged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Staged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.1.state.lock().unwrap();
        state.shutdowns += 1;
        if !state.may_shut_down {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.1.gone.notify_one();
    }
}

/// Two setups that wait long for everything.
fn setups(transport: Transport) -> [Setup; 2] {
    let pair = Pair {
        client: &Tokio,
        server: &Tokio,
        transport,
    };
    let timeouts = Timeouts {
        handshake: HOUR,
        close: HOUR,
        linger: HOUR,
        ..Timeouts::default()
    };
    let config = Config::new().timeouts(timeouts);
    [
        pair.client_setup(config.clone().channel(SendChannel::new("data"))),
        pair.server_setup(config.channel(ReceiveChannel::new("data"))),
    ]
}

fn run<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    })
}

#[test]
fn a_driver_sleeps_while_its_stream_shuts_down() {
    for transport in [Transport::Tls, Transport::Plain] {
        run(async move {
            let [client, server] = setups(transport);
            let stage = Arc::<Stage>::default();
            let (near, far) = duplex(64 * 1024);
            let near = Staged(near, stage.clone());
            let (near, far) = tokio::join!(
                link_over(near, Role::Opener, &client),
                link_over(far, Role::Acceptor, &server)
            );
            let (near, far) = (near.unwrap(), far.unwrap());
            // A driver that does not sleep lets no other task run.
            let report = near.close(CloseMode::Drain).await;
            assert!(report.is_orderly(), "{report}");
            stage.open();
            stage.gone.notified().await;
            assert!(far.ended().await.is_orderly());
            let shutdowns = stage.state.lock().unwrap().shutdowns;
            assert!((2..10).contains(&shutdowns), "{shutdowns} times");
        });
    }
}
