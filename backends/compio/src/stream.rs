//! compio's streams as transports, which pass buffers to the operating system as a whole.

use std::fmt;
use std::io;
use std::mem::take;
use std::ops::{Deref, DerefMut, Range};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::io::util::Splittable;
use compio::io::{AsyncRead, AsyncWrite};
use compio_send_wrapper::SendWrapper;
use countersign_driver::{READ, StreamSocket, Transport};
use countersign_endpoint::Buffer;
use socket2::SockRef;

/// How much memory the operating system holds for a pending read with little or no traffic, in
/// bytes.
const SMALL_READ: usize = 1024;

/// What an operation returns: its direction of the stream, the result, and the memory.
type Completed<H> = (H, io::Result<usize>, Vec<u8>);

/// One direction of a stream, and the operation that owns it while it is in progress.
struct Side<H> {
    half: Option<H>,
    operation: Option<Pin<Box<dyn Future<Output = Completed<H>>>>>,
}

impl<H> Side<H> {
    fn new(half: H) -> Self {
        Self {
            half: Some(half),
            operation: None,
        }
    }

    /// Polls the operation; begins it if none is in progress.
    fn poll<F: Future<Output = Completed<H>> + 'static>(
        &mut self,
        context: &mut Context<'_>,
        begin: impl FnOnce(H) -> F,
    ) -> Poll<(io::Result<usize>, Vec<u8>)> {
        if let Some(half) = self.half.take() {
            self.operation = Some(Box::pin(begin(half)));
        }
        let Some(operation) = &mut self.operation else {
            let error = io::Error::other("an operation has panicked");
            return Poll::Ready((Err(error), Vec::new()));
        };
        let (half, result, memory) = ready!(operation.as_mut().poll(context));
        *self = Self::new(half);
        Poll::Ready((result, memory))
    }
}

/// Any compio stream. Dropping it cancels its operations; compio keeps their memory until the
/// operating system has released it.
pub(crate) struct Stream<S: Splittable> {
    reading: Side<S::ReadHalf>,
    /// The range of the content in the caller's memory, if a read uses that.
    content: Option<Range<usize>>,
    /// Memory for reads with little traffic.
    small: Vec<u8>,
    /// The number of bytes of the last read.
    latest: usize,
    writing: Side<S::WriteHalf>,
    /// The range in the memory that is being written.
    output: Range<usize>,
    /// The operation in progress is a flush.
    flushing: bool,
}

impl<S: Splittable> Stream<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (reading, writing) = stream.split();
        Self {
            reading: Side::new(reading),
            content: None,
            small: Vec::new(),
            latest: 0,
            writing: Side::new(writing),
            output: 0..0,
            flushing: false,
        }
    }
}

impl<S: Splittable> Stream<S> {
    /// Makes a stream that is `Send`, as links require.
    pub(crate) fn in_thread(stream: S) -> OwnThread<Self> {
        OwnThread::new(Self::new(stream))
    }
}

impl<S: Splittable> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}

/// A value that must stay in the thread of its runtime, and panics when it is used elsewhere.
#[derive(Debug)]
pub(crate) struct OwnThread<T>(SendWrapper<T>);

/// The message of that panic.
const ELSEWHERE: &str = "used outside of the thread of its compio runtime";

impl<T> OwnThread<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(SendWrapper::new(value))
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.take()
    }
}

impl<T> Deref for OwnThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get().expect(ELSEWHERE)
    }
}

impl<T> DerefMut for OwnThread<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_mut().expect(ELSEWHERE)
    }
}

impl<S> StreamSocket for OwnThread<Stream<S>>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static,
    for<'s> SockRef<'s>: From<&'s S::ReadHalf>,
{
    fn socket(&self) -> SockRef<'_> {
        let socket = self.reading.half.as_ref();
        SockRef::from(socket.expect("nothing was read yet"))
    }
}

impl<T: Transport> Transport for OwnThread<T> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read(context, buffer)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write(context, buffer)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(context)
    }
}

impl<S> Stream<S>
where
    S: Splittable<WriteHalf: AsyncWrite + 'static>,
{
    /// Waits for a flush in progress, which owns its direction.
    fn finish_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flushing {
            return Poll::Ready(Ok(()));
        }
        let (result, _) = ready!(self.writing.poll(context, flush));
        self.flushing = false;
        Poll::Ready(result.map(drop))
    }
}

impl<S> Transport for Stream<S>
where
    S: Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static>,
{
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let Self { content, .. } = self;
        let begin = |half| {
            // A wait for a message that may never arrive holds a small piece of memory, not one
            // for four records.
            let (memory, from) = if buffer.is_empty() && self.latest < SMALL_READ {
                let mut memory = take(&mut self.small);
                memory.resize(SMALL_READ, 0);
                (memory, 0)
            } else {
                buffer.space(READ);
                let (memory, filled) = take(buffer).into_parts();
                let from = filled.end;
                *content = Some(filled);
                (memory, from)
            };
            read(half, memory, from)
        };
        let (result, memory) = ready!(self.reading.poll(context, begin));
        self.latest = *result.as_ref().unwrap_or(&0);
        if let Some(Range { start, end }) = self.content.take() {
            *buffer = Buffer::from_parts(memory, start..end + self.latest);
        } else {
            buffer.space(self.latest)[..self.latest].copy_from_slice(&memory[..self.latest]);
            buffer.commit(self.latest);
            self.small = memory;
        }
        Poll::Ready(result)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        ready!(self.finish_flush(context))?;
        let begin = |half| {
            let (memory, filled) = take(buffer).into_parts();
            self.output = filled.clone();
            write(half, memory, filled)
        };
        let (result, memory) = ready!(self.writing.poll(context, begin));
        *buffer = Buffer::from_parts(memory, take(&mut self.output));
        buffer.consume(*result.as_ref().unwrap_or(&0));
        Poll::Ready(result)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushing = true;
        self.finish_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.finish_flush(context))?;
        let (result, _) = ready!(self.writing.poll(context, shut_down));
        Poll::Ready(result.map(drop))
    }
}

async fn read<H: AsyncRead>(mut half: H, memory: Vec<u8>, from: usize) -> Completed<H> {
    let length = memory.len();
    let BufResult(result, slice) = half.read(memory.slice(from..length)).await;
    let mut memory = slice.into_inner();
    // Other streams than compio's may have set the length to what they have read.
    memory.resize(length, 0);
    (half, result, memory)
}

async fn write<H: AsyncWrite>(mut half: H, memory: Vec<u8>, filled: Range<usize>) -> Completed<H> {
    let BufResult(result, slice) = half.write(memory.slice(filled)).await;
    (half, result, slice.into_inner())
}

async fn flush<H: AsyncWrite>(mut half: H) -> Completed<H> {
    let result = half.flush().await;
    (half, result.map(|()| 0), Vec::new())
}

async fn shut_down<H: AsyncWrite>(mut half: H) -> Completed<H> {
    let result = half.shutdown().await;
    (half, result.map(|()| 0), Vec::new())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{ErrorKind, Write};
    use std::net::{TcpListener, TcpStream};

    use compio::driver::{DriverType, ProactorBuilder};
    use compio::io::{AsyncReadExt, AsyncWriteExt};
    use compio::net::TcpStream as Socket;
    use compio::runtime::Runtime;

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// Runs a test with the system's preferred driver, and with polling.
    fn on_every_driver<F: Future<Output = ()>>(test: impl Fn() -> F) {
        let mut polling = ProactorBuilder::new();
        if cfg!(unix) {
            polling.driver_type(DriverType::Poll);
        }
        for builder in [ProactorBuilder::new(), polling] {
            let runtime = Runtime::builder().with_proactor(builder).build();
            runtime.unwrap().block_on(test());
        }
    }

    fn holding(bytes: &[u8]) -> Buffer {
        Buffer::from_parts(bytes.to_vec(), 0..bytes.len())
    }

    /// Polls once, and asserts that the operation is pending.
    async fn begin(mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<usize>>) {
        poll_fn(|context| {
            assert!(poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn what_comes_goes_behind_what_is_there() {
        on_every_driver(async || {
            let (near, far) = connection();
            let mut near = Stream::new(Socket::from_std(near).unwrap());
            let mut far = Socket::from_std(far).unwrap();
            let mut buffer = holding(b"ab");
            begin(|context| near.poll_read(context, &mut buffer)).await;
            assert!(buffer.is_empty(), "the memory is on its way");
            far.write_all("cd").await.0.unwrap();
            let count = poll_fn(|context| near.poll_read(context, &mut buffer)).await;
            assert_eq!((count.unwrap(), buffer.filled()), (2, &b"abcd"[..]));
        });
    }

    #[test]
    fn waiting_takes_little_memory_and_much_data_takes_much() {
        let sent: Vec<_> = (0..200_000_u32).map(|number| number as u8).collect();
        on_every_driver(async || {
            let (near, mut far) = connection();
            let mut near = Stream::new(Socket::from_std(near).unwrap());
            let mut buffer = Buffer::default();
            begin(|context| near.poll_read(context, &mut buffer)).await;
            assert!(near.content.is_none(), "the caller's memory is not needed");
            let bytes = sent.clone();
            let sending = std::thread::spawn(move || far.write_all(&bytes).unwrap());
            let (mut received, mut with_much) = (Vec::new(), false);
            while received.len() < sent.len() {
                let count = poll_fn(|context| near.poll_read(context, &mut buffer)).await;
                with_much |= count.unwrap() > SMALL_READ;
                received.extend_from_slice(buffer.filled());
                buffer.consume(buffer.filled().len());
            }
            assert!(received == sent, "all of it, in order");
            assert!(with_much);
            sending.join().unwrap();
        });
    }

    #[test]
    fn a_read_that_nobody_waits_for_is_given_up() {
        on_every_driver(async || {
            let (near, far) = connection();
            let mut near = Stream::new(Socket::from_std(near).unwrap());
            let mut far = Socket::from_std(far).unwrap();
            let mut buffer = holding(b"ab");
            begin(|context| near.poll_read(context, &mut buffer)).await;
            // The system would write into this memory as soon as something arrives.
            drop(near);
            let BufResult(count, _) = far.read(Vec::with_capacity(1)).await;
            assert_eq!(count.unwrap(), 0, "the socket was closed");
        });
    }

    #[test]
    fn memory_of_a_write_that_is_given_up_is_not_reused_too_soon() {
        on_every_driver(async || {
            let (mut near, far) = connection();
            near.set_nonblocking(true).unwrap();
            let mut sent = 0;
            let error = loop {
                match near.write(&[1; 4096]) {
                    Ok(count) => sent += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            near.set_nonblocking(false).unwrap();
            let mut near = Stream::new(Socket::from_std(near).unwrap());
            let mut far = Socket::from_std(far).unwrap();
            let mut buffer = holding(&[2; 100_000]);
            begin(|context| near.poll_write(context, &mut buffer)).await;
            drop((near, buffer));
            let others: Vec<_> = (0..100).map(|_| vec![3_u8; 100_000]).collect();
            let BufResult(result, received) = far.read_to_end(Vec::new()).await;
            result.unwrap();
            assert!(received.len() >= sent);
            assert!(received[..sent].iter().all(|&byte| byte == 1));
            assert!(received[sent..].iter().all(|&byte| byte == 2));
            drop(others);
        });
    }
}
