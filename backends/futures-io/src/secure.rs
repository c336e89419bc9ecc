//! Secure streams: bytes between two pinned ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_driver::{Runtime, SleepTimer, TcpRuntime, Timer, secure};
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::stream::Stream;

countersign_driver::secure_functions! {
    runtime: runtime,
    given: [runtime: &impl Runtime,] [runtime: &impl TcpRuntime<TcpStream = Stream<S>>,],
    tcp: [S: AsyncRead + AsyncWrite + Unpin + Send + 'static] S,
    stream: [AsyncRead + AsyncWrite + Unpin] => Stream,
    note: "Closing the stream must end this end's direction, and leave the other to be read: put a
[`Socket`](crate::Socket) around one that only flushes.",
    secured: SecureStream::new,
}

/// A stream of bytes between two ends that have checked each other's pins, for the traits of
/// futures-io: the `AsyncReadExt` and `AsyncBufReadExt` of the runtime or of `futures-util` read an
/// exact length, up to a separator or by lines, without a `BufReader` around the stream.
///
/// - Reading returns zero bytes when the peer has ended its direction in order. A connection that
///   just breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - The `close` of `AsyncWriteExt` ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer reports as an error.
/// - Each write becomes separate records, of up to 64 KiB at once: put a `BufWriter` around the
///   stream for many small writes. As with every `AsyncWrite`, only `flush` or one of the two
///   `close` guarantee that written data is sent.
/// - For two tasks, use `split` of `AsyncReadExt` or a similar function.
///
/// `read`, `fill_buf`, `write`, `flush` and both `close` are cancel-safe; `read_exact` and
/// `write_all` are not, since they do not report their progress.
///
/// Holds at most 195 KiB while bytes are transferred, and no buffer while idle.
pub struct SecureStream<S> {
    inner: secure::SecureStream<Stream<S>>,
    /// Makes the timer of closing.
    timers: Arc<dyn Fn() -> Box<dyn Timer + Send> + Send + Sync>,
}

impl<S: fmt::Debug> fmt::Debug for SecureStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S> SecureStream<S> {
    /// Wraps a stream that a runtime has secured, for the crates of runtimes.
    #[doc(hidden)]
    pub fn new<R: Runtime>(runtime: &R, inner: secure::SecureStream<Stream<S>>) -> Self {
        let runtime = runtime.clone();
        let timers =
            Arc::new(move || -> Box<dyn Timer + Send> { Box::new(SleepTimer::new(&runtime)) });
        Self { inner, timers }
    }
}

countersign_driver::secure_methods! {
    stream: [AsyncRead + AsyncWrite + Unpin],
    get_ref: Stream::get_ref,
    timer: |stream: &Self| (stream.timers)(),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SecureStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.get_mut().inner.poll_read(context, buffer)
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

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.poll_shutdown(context)
    }
}
