//! Secure streams over a transport as completion-based I/O has it: it takes a buffer's content,
//! answers `Pending`, and gives the rest back when the transfer is done.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_core::Role;
use countersign_driver::secure::SecureStream;
use countersign_driver::{StreamSetup, Timer, Transport};
use countersign_endpoint::Buffer;
use countersign_tests::adversary::CAST;
use countersign_tests::on_std::Std;
use countersign_tests::pair::{payload, tls};
use countersign_tests::secure::Pair;
use countersign_tests::watch;
use tokio::join;

/// How many bytes a direction carries at once.
const CAPACITY: usize = 1000;

/// One direction of a connection.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// One end of a connection. A pending operation is polled again at once.
struct End {
    from: Arc<Mutex<Lane>>,
    to: Arc<Mutex<Lane>>,
    reading: Option<Buffer>,
    writing: Option<Buffer>,
}

fn ends() -> (End, End) {
    let (up, down) = <(Arc<Mutex<Lane>>, Arc<Mutex<Lane>>)>::default();
    let end = |from: &Arc<Mutex<Lane>>, to: &Arc<Mutex<Lane>>| End {
        from: from.clone(),
        to: to.clone(),
        reading: None,
        writing: None,
    };
    (end(&down, &up), end(&up, &down))
}

fn again<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

impl Transport for End {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let Some(mut ours) = self.reading.take() else {
            self.reading = Some(mem::take(buffer));
            return again(context);
        };
        assert!(buffer.is_empty(), "touched while a transfer is under way");
        let mut lane = self.from.lock().unwrap();
        if lane.bytes.is_empty() && !lane.ended {
            self.reading = Some(ours);
            return again(context);
        }
        let count = lane.bytes.len();
        let bytes: Vec<_> = lane.bytes.drain(..).collect();
        ours.space(count)[..count].copy_from_slice(&bytes);
        ours.commit(count);
        *buffer = ours;
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let Some(mut ours) = self.writing.take() else {
            assert!(!buffer.is_empty(), "nothing to write");
            self.writing = Some(mem::take(buffer));
            return again(context);
        };
        assert!(buffer.is_empty(), "touched while a transfer is under way");
        let mut lane = self.to.lock().unwrap();
        let count = ours.filled().len().min(CAPACITY - lane.bytes.len());
        if count == 0 {
            self.writing = Some(ours);
            return again(context);
        }
        lane.bytes.extend(&ours.filled()[..count]);
        ours.consume(count);
        *buffer = ours;
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.writing.is_none(), "not everything is written");
        self.to.lock().unwrap().ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Time stands still.
struct Never;

impl Timer for Never {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

async fn exchange(mut stream: SecureStream<End>, own: &[u8], other: &[u8]) {
    let (mut written, mut got) = (0, Vec::new());
    // Both directions from one task, so that transfers of both are always under way.
    poll_fn(|context| {
        while written < own.len() {
            match stream.poll_write(context, &own[written..]) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => break,
            }
        }
        let shut = written == own.len() && stream.poll_shutdown(context).is_ready();
        loop {
            let mut buffer = [0; 777];
            match stream.poll_read(context, &mut buffer) {
                Poll::Ready(Ok(0)) if shut => return Poll::Ready(()),
                Poll::Ready(Ok(0)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(count) => got.extend_from_slice(&buffer[..count.unwrap()]),
            }
        }
    })
    .await;
    assert!(got == other, "{} bytes of {}", got.len(), other.len());
    stream.close(&mut Never).await.unwrap();
}

async fn both_directions(transport: countersign_tests::Transport) {
    let pair = Pair {
        client: &Std,
        server: &Std,
        transport,
    };
    let [client, server] = pair.setups();
    let (near, far) = ends();
    let (mut one, mut two) = (Never, Never);
    let (near, far) = join!(
        SecureStream::establish(near, Role::Opener, &client, &[], &mut one),
        SecureStream::establish(far, Role::Acceptor, &server, &[], &mut two)
    );
    let (up, down) = (payload(100_000, 1), payload(150_000, 2));
    join!(
        exchange(near.unwrap(), &up, &down),
        exchange(far.unwrap(), &down, &up)
    );
}

#[test]
fn nothing_is_lost_or_touched() {
    for transport in [
        countersign_tests::Transport::Tls,
        countersign_tests::Transport::Plain,
    ] {
        watch(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.build().unwrap();
            runtime.block_on(both_directions(transport));
        });
    }
}

/// A transport on which there is always one more byte, of the longest possible record.
struct Drip(Arc<AtomicUsize>);

impl Transport for Drip {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        const BEGINS: [u8; 9] = [22, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC];
        let at = self.0.fetch_add(1, Ordering::SeqCst);
        buffer.space(1)[0] = BEGINS.get(at).copied().unwrap_or(0);
        buffer.commit(1);
        Poll::Ready(Ok(1))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let length = buffer.filled().len();
        buffer.consume(length);
        Poll::Ready(Ok(length))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The time is always over.
struct Over;

impl Timer for Over {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A peer that never lets a read wait can't stretch the time limit of a handshake: the limit is
/// checked after each piece, and not only when nothing arrives.
#[test]
fn a_drip_does_not_stretch_the_limit() {
    watch(|| {
        let setup = StreamSetup::new(tls(&CAST.victim, CAST.peer.fingerprint()));
        let reads = Arc::new(AtomicUsize::new(0));
        let drip = Drip(reads.clone());
        let mut over = Over;
        let made = SecureStream::establish(drip, Role::Acceptor, &setup, &[], &mut over);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let error = runtime.unwrap().block_on(made).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert_eq!(error.to_string(), "the handshake took longer than 10s");
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    });
}
