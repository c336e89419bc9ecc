//! How often a real runtime's driver looks at its connection, on a link that only pings.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_core::{Config, ReceiveChannel, Role, SendChannel, Timeouts};
use countersign_tests::on_tokio::Tokio;
use countersign_tests::{Pair, Transport, watch};
use countersign_tokio::link_over;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;

/// What a driver did with its stream.
#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    writes: AtomicU64,
    wrote: Notify,
}

struct Counting(DuplexStream, Arc<Counts>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.reads.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.writes.fetch_add(1, Ordering::SeqCst);
        self.1.wrote.notify_one();
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[test]
fn a_link_that_only_pings_looks_only_when_there_is_something_to_see() {
    const PINGS: u64 = 50;
    let pair = Pair {
        client: &Tokio,
        server: &Tokio,
        transport: Transport::Tls,
    };
    let timeouts = Timeouts {
        ping: Duration::from_millis(5),
        ..Timeouts::default()
    };
    let send = Config::new().channel(SendChannel::new("data"));
    let receive = Config::new().channel(ReceiveChannel::new("data"));
    let client = pair.client_setup(send.timeouts(timeouts));
    let server = pair.server_setup(receive);
    watch(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(64 * 1024);
            let counts = [Arc::<Counts>::default(), Arc::default()];
            let near = Counting(near, counts[0].clone());
            let far = Counting(far, counts[1].clone());
            let (near, far) = tokio::join!(
                link_over(near, Role::Opener, &client),
                link_over(far, Role::Acceptor, &server)
            );
            let (_near, _far) = (near.unwrap(), far.unwrap());
            while counts[1].writes.load(Ordering::SeqCst) < PINGS {
                counts[1].wrote.notified().await;
            }
            for counts in counts {
                let writes = counts.writes.load(Ordering::SeqCst);
                let reads = counts.reads.load(Ordering::SeqCst);
                // One that finds something, one that finds nothing more, and the timer's.
                assert!(reads < 8 * writes, "{reads} reads, {writes} writes");
            }
        });
    });
}
