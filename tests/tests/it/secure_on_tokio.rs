//! What only tokio's secure streams can show: any stream below them, tasks, dropped futures.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use countersign_core::Role;
use countersign_tests::on_std::Std;
use countersign_tests::pair::payload;
use countersign_tests::{Transport, secure};
use countersign_tokio::{SecureStream, StreamSetup, secure_over};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufStream,
    DuplexStream, ReadBuf, duplex, split,
};
use tokio::join;
use tokio::time::timeout;

/// Far more than any test takes on any machine.
const HANG: std::time::Duration = std::time::Duration::from_secs(60);

fn setups(transport: Transport) -> [StreamSetup; 2] {
    let pair = secure::Pair {
        client: &Std,
        server: &Std,
        transport,
    };
    pair.setups()
}

/// Both ends over any two streams.
async fn over<S: AsyncRead + AsyncWrite + Unpin>(
    ends: (S, S),
    transport: Transport,
) -> (SecureStream<S>, SecureStream<S>) {
    let [client, server] = setups(transport);
    let (client, server) = join!(
        secure_over(ends.0, Role::Opener, &client),
        secure_over(ends.1, Role::Acceptor, &server)
    );
    (client.unwrap(), server.unwrap())
}

/// Polls a future once and drops it; panics if it was ready.
fn give_up<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
}

/// Both ends have something to say at once in a handshake, and neither may wait until all of it is
/// taken: the other does too.
#[tokio::test]
async fn a_handshake_passes_however_little_the_stream_takes_at_a_time() {
    for capacity in 1..=7 {
        let ends = over(duplex(capacity), Transport::Tls);
        let (mut client, mut server) = timeout(HANG, ends).await.unwrap();
        let both = async {
            let (mut heard, mut answered) = (Vec::new(), Vec::new());
            join!(
                async {
                    client.write_all(b"question").await.unwrap();
                    client.shutdown().await.unwrap();
                    client.read_to_end(&mut answered).await.unwrap();
                },
                async {
                    server.read_to_end(&mut heard).await.unwrap();
                    server.write_all(b"answer").await.unwrap();
                    server.shutdown().await.unwrap();
                }
            );
            (heard, answered)
        };
        let (heard, answered) = timeout(HANG, both).await.unwrap();
        assert_eq!(
            (&heard[..], &answered[..]),
            (&b"question"[..], &b"answer"[..])
        );
    }
}

#[tokio::test]
async fn a_buffered_reader_can_be_handed_in_itself() {
    let (client, server) = duplex(64 * 1024);
    let [near, far] = setups(Transport::Tls);
    let opener = async {
        let mut client = client;
        // The handshake follows without waiting for an answer.
        client.write_all(b"secured?\n").await.unwrap();
        let mut stream = secure_over(client, Role::Opener, &near).await.unwrap();
        stream.write_all(b"bytes").await.unwrap();
        stream.close().await.unwrap();
    };
    let acceptor = async {
        let mut server = BufReader::new(server);
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        assert_eq!(line, "secured?\n");
        assert!(!server.buffer().is_empty(), "nothing was read too far");
        let mut stream = secure_over(server, Role::Acceptor, &far).await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"bytes");
        stream.close().await.unwrap();
    };
    timeout(HANG, async { join!(opener, acceptor) })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dropped_read_has_taken_nothing() {
    for transport in [Transport::Tls, Transport::Plain] {
        let (mut client, mut server) = over(duplex(1 << 20), transport).await;
        give_up(server.read(&mut [0; 100]));
        give_up(server.fill_buf());
        give_up(server.read_until(0, &mut Vec::new()));
        client.write_all(b"whole").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"whole");
    }
}

#[tokio::test]
async fn a_dropped_write_has_written_nothing() {
    for transport in [Transport::Tls, Transport::Plain] {
        // So small that the first write leaves something to send.
        let (mut client, mut server) = over(duplex(100), transport).await;
        let first = client.write(&payload(1000, 1)).await.unwrap();
        assert_eq!(first, 1000);
        give_up(client.write(b"dropped"));
        give_up(client.flush());
        give_up(client.shutdown());
        let writing = async {
            client.write_all(b"then").await.unwrap();
            client.close().await.unwrap();
        };
        let reading = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            server.close().await.unwrap();
            got
        };
        let ((), got) = timeout(HANG, async { join!(writing, reading) })
            .await
            .unwrap();
        assert_eq!(got.len(), 1004);
        assert!(got.ends_with(b"then"));
    }
}

#[tokio::test]
async fn a_dropped_close_goes_on() {
    for transport in [Transport::Tls, Transport::Plain] {
        let (mut client, mut server) = over(duplex(1 << 20), transport).await;
        give_up(client.close());
        assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
        give_up(client.close());
        server.close().await.unwrap();
        client.close().await.unwrap();
    }
}

/// What each half waits for wakes that half: the transport is so small that both always wait.
#[tokio::test]
async fn two_tasks_wait_without_losing_each_others_wakers() {
    for transport in [Transport::Tls, Transport::Plain] {
        let (client, server) = over(duplex(50), transport).await;
        let both = async { join!(exchange(client, 1, 2), exchange(server, 2, 1)) };
        timeout(HANG, both).await.unwrap();
    }
}

async fn exchange(stream: SecureStream<DuplexStream>, own: usize, other: usize) {
    const LENGTH: usize = 100_000;
    let (mut read, mut write) = split(stream);
    let writing = tokio::spawn(async move {
        for piece in payload(LENGTH, own).chunks(777) {
            write.write_all(piece).await.unwrap();
        }
        write.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    read.read_to_end(&mut got).await.unwrap();
    assert!(got == payload(LENGTH, other), "{} bytes", got.len());
    writing.await.unwrap();
}

/// A stream that remembers what was written to it.
struct Recording {
    stream: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl fmt::Debug for Recording {
    /// Without what is on its way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recording")
    }
}

impl AsyncRead for Recording {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Recording {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.written
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

fn recording(capacity: usize) -> (Recording, Recording) {
    let end = |stream| Recording {
        stream,
        written: Arc::default(),
    };
    let (near, far) = duplex(capacity);
    (end(near), end(far))
}

/// How long the bodies of the records in `wire` are.
fn records(mut wire: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = wire {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        wire = &rest[length..];
    }
    lengths
}

#[tokio::test]
async fn large_writes_become_full_records() {
    /// What a record of TLS 1.3 adds to what is in it: the inner type and the tag.
    const ADDED: usize = 1 + 16;
    let ends = recording(4 << 20);
    let written = ends.0.written.clone();
    let (mut client, _server) = over(ends, Transport::Tls).await;
    written.lock().unwrap().clear();
    client.write_all(&payload((1 << 20) + 10, 1)).await.unwrap();
    let lengths = records(&written.lock().unwrap());
    let mut expected = vec![16_384 + ADDED; 64];
    expected.push(10 + ADDED);
    assert_eq!(lengths, expected);
}

/// How much memory the buffers of a stream hold, as its debug output says.
fn memory(stream: &impl fmt::Debug) -> Vec<usize> {
    let text = format!("{stream:?}");
    let sizes = text.split("memory: ").skip(1);
    sizes
        .map(|size| size.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn an_idle_stream_holds_no_buffer() {
    const NONE: [usize; 3] = [0; 3];
    for transport in [Transport::Tls, Transport::Plain] {
        let (mut client, mut server) = over(duplex(1 << 20), transport).await;
        assert_eq!(memory(&client), NONE, "after the handshake");
        client.write_all(&payload(100_000, 1)).await.unwrap();
        server.read_exact(&mut vec![0; 99_999]).await.unwrap();
        let held: usize = memory(&server).iter().sum();
        assert!((1..=2 * 66_560).contains(&held), "a byte waits: {held}");
        server.read_exact(&mut [0]).await.unwrap();
        assert_eq!(memory(&client), NONE);
        assert_eq!(memory(&server), NONE);
        give_up(server.read(&mut [0]));
        assert_eq!(memory(&server), NONE, "while it waits");
    }
}

/// A peer that has said why it refuses us, and hung up before we sent anything.
struct HungUp(&'static [u8]);

impl AsyncRead for HungUp {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for HungUp {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn why_the_peer_hung_up_tells_more_than_that_it_did() {
    // A fatal alert: no certificate was presented.
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 116];
    let [client, _] = setups(Transport::Tls);
    for (said, kind) in [
        (ALERT, io::ErrorKind::PermissionDenied),
        (&[], io::ErrorKind::BrokenPipe),
    ] {
        let made = secure_over(HungUp(said), Role::Opener, &client);
        let error = timeout(HANG, made).await.unwrap().err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

/// One secure stream over another, whose writes reach the network only when it is flushed.
#[tokio::test]
async fn over_a_stream_that_buffers() {
    let (near, far) = duplex(1000);
    let ends = (BufStream::new(near), BufStream::new(far));
    let ends = timeout(HANG, over(ends, Transport::Tls)).await.unwrap();
    let (mut client, mut server) = timeout(HANG, over(ends, Transport::Tls)).await.unwrap();
    let writing = async {
        client.write_all(&payload(5000, 4)).await.unwrap();
        client.close().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        server.close().await.unwrap();
        got
    };
    let ((), got) = timeout(HANG, async { join!(writing, reading) })
        .await
        .unwrap();
    assert!(got == payload(5000, 4), "{} bytes", got.len());
}
