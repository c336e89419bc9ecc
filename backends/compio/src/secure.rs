//! Secure streams: bytes between two pinned ends.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use compio::BufResult;
use compio::buf::{IoBuf, IoBufMut};
use compio::io::util::Splittable;
use compio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use compio::net::TcpStream;
use countersign_driver::{SleepTimer, secure};

use crate::runtime::Compio;
use crate::stream::{OwnThread, Stream};

countersign_driver::secure_functions! {
    runtime: &Compio,
    given: [] [],
    tcp: [] TcpStream,
    stream: [Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static]
        => Stream::in_thread,
    note: "A pair of halves is a stream too: any `(reader, writer)`, and compio's `BufReader` is a
reader.",
    secured: |_, inner| SecureStream { inner },
}

countersign_driver::secure_methods! {
    stream: [Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static],
    timer: |_| SleepTimer::new(&Compio),
}

/// A stream of bytes between two ends that have checked each other's pins, for compio's traits:
/// `AsyncReadExt` reads an exact length, or to the end, `AsyncWriteExt` writes all.
///
/// - Reading returns zero bytes when the peer has ended its direction in order. A connection that
///   just breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - `shutdown` ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer reports as an error.
/// - Each write becomes separate records, of up to 64 KiB at once: put a `BufWriter` around the
///   stream for many small writes. Only `flush`, `shutdown` or `close` guarantee that written data
///   is sent.
/// - For two tasks, use [`Splittable::split`].
/// - It stays in the thread of its runtime, and panics elsewhere.
///
/// Data is copied to and from the caller's buffers by encryption and decryption, so a future that
/// is dropped has either taken its bytes or not, and the operating system never holds the caller's
/// memory. `read`, `fill_buf`, `write`, `flush`, `shutdown` and [`SecureStream::close`] are
/// cancel-safe, though a buffer that was passed in is dropped with the future.
///
/// Holds at most 195 KiB while bytes are transferred, and 1 KiB while it waits for some.
#[derive(Debug)]
pub struct SecureStream<S: Splittable> {
    inner: secure::SecureStream<OwnThread<Stream<S>>>,
}

impl<S> AsyncRead for SecureStream<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
{
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
        if buffer.as_uninit().is_empty() {
            return BufResult(Ok(0), buffer);
        }
        if let Err(error) = poll_fn(|context| self.inner.poll_data(context)).await {
            return BufResult(Err(error), buffer);
        }
        take(&mut self.inner, buffer)
    }
}

impl<S> AsyncBufRead for SecureStream<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
{
    async fn fill_buf(&mut self) -> io::Result<&'_ [u8]> {
        poll_fn(|context| self.inner.poll_data(context)).await?;
        Ok(self.inner.data())
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}

impl<S> AsyncWrite for SecureStream<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
{
    async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        let bytes = buffer.as_init();
        let written = poll_fn(|context| self.inner.poll_write(context, bytes)).await;
        BufResult(written, buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.inner.poll_flush(context)).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.inner.poll_shutdown(context)).await
    }
}

/// Moves data that can be read to the buffer.
fn take<T, B: IoBufMut>(stream: &mut secure::SecureStream<T>, buffer: B) -> BufResult<usize, B> {
    let BufResult(count, buffer) = copy(stream.data(), buffer);
    stream.consume(*count.as_ref().unwrap_or(&0));
    BufResult(count, buffer)
}

/// Copies as much as there is room for.
fn copy<B: IoBufMut>(mut data: &[u8], buffer: B) -> BufResult<usize, B> {
    let copying = pin!(data.read(buffer));
    match copying.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(copied) => copied,
        Poll::Pending => unreachable!("memory is never waited for"),
    }
}

type Shared<S> = Rc<RefCell<secure::SecureStream<OwnThread<Stream<S>>>>>;

/// The receiving direction of a [`SecureStream`], for a task.
#[derive(Debug)]
pub struct ReadHalf<S: Splittable>(Shared<S>);

/// The sending direction of a [`SecureStream`], for a task. Dropping both halves without `shutdown`
/// cuts the connection.
#[derive(Debug)]
pub struct WriteHalf<S: Splittable>(Shared<S>);

impl<S: Splittable> Splittable for SecureStream<S> {
    type ReadHalf = ReadHalf<S>;
    type WriteHalf = WriteHalf<S>;

    fn split(self) -> (ReadHalf<S>, WriteHalf<S>) {
        let shared = Rc::new(RefCell::new(self.inner));
        (ReadHalf(shared.clone()), WriteHalf(shared))
    }
}

impl<S> AsyncRead for ReadHalf<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
{
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> BufResult<usize, B> {
        if buffer.as_uninit().is_empty() {
            return BufResult(Ok(0), buffer);
        }
        if let Err(error) = poll_fn(|context| self.0.borrow_mut().poll_data(context)).await {
            return BufResult(Err(error), buffer);
        }
        take(&mut self.0.borrow_mut(), buffer)
    }
}

impl<S> AsyncWrite for WriteHalf<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
{
    async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        let bytes = buffer.as_init();
        let written = poll_fn(|context| self.0.borrow_mut().poll_write(context, bytes)).await;
        BufResult(written, buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.0.borrow_mut().poll_flush(context)).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.0.borrow_mut().poll_shutdown(context)).await
    }
}
