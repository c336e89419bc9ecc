//! Secure streams: bytes between two pinned ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_driver::{SleepTimer, secure};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::runtime::{Stream, Tokio};

countersign_driver::secure_functions! {
    runtime: &Tokio,
    given: [] [],
    tcp: [] TcpStream,
    stream: [AsyncRead + AsyncWrite + Unpin] => Stream,
    note: "tokio's `BufReader` is a stream too: handed in with its buffer, nothing is left behind.",
    secured: |_, inner| SecureStream { inner },
}

countersign_driver::secure_methods! {
    stream: [AsyncRead + AsyncWrite + Unpin],
    get_ref: Stream::get_ref,
    timer: |_| SleepTimer::new(&Tokio),
}

/// A stream of bytes between two ends that have checked each other's pins, for tokio's traits:
/// `AsyncReadExt` and `AsyncBufReadExt` read an exact length, up to a separator or by lines,
/// without a `BufReader` around the stream.
///
/// - Reading returns zero bytes when the peer has ended its direction in order. A connection that
///   just breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - `shutdown` ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer reports as an error.
/// - Each write becomes separate records, of up to 64 KiB at once: put a `BufWriter` around the
///   stream for many small writes. As with every `AsyncWrite`, only `flush`, `shutdown` or `close`
///   guarantee that written data is sent.
/// - For two tasks, use `tokio::io::split`.
///
/// `read`, `fill_buf`, `write`, `flush`, `shutdown` and [`SecureStream::close`] are cancel-safe,
/// and so are `read_until` and `read_line` as far as tokio documents them to be; `read_exact` and
/// `write_all` are not, since they do not report their progress.
///
/// Holds at most 195 KiB while bytes are transferred, and no buffer while idle.
#[derive(Debug)]
pub struct SecureStream<S> {
    inner: secure::SecureStream<Stream<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SecureStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut take = |data: &[u8]| {
            let count = data.len().min(buffer.remaining());
            buffer.put_slice(&data[..count]);
            count
        };
        self.get_mut().inner.poll_read_with(context, &mut take)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for SecureStream<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().inner.poll_fill_buf(context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().inner.consume(count);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SecureStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().inner.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.poll_shutdown(context)
    }
}
