//! Secure streams: bytes between two pinned ends.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::Role;
use countersign_driver::{StreamSetup, open, secure};
use countersign_endpoint::Fingerprint;
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
use socket2::SockRef;

use crate::runtime::{Runtime, Stream, alarm};

/// Opens a TCP connection and secures it, as its opener: see [`secure_over`]. For crates that bring
/// a runtime with TCP sockets of its own.
///
/// `lookup` gives the peer's addresses; `connect` makes a future of a connection to one of them. Of
/// several addresses the first that answers is taken, as by [`open`](countersign_driver::open)
/// (RFC 8305). Looking up, connecting and the handshake may each take
/// [`StreamSetup::handshake_limit`]. Records go out at once (`TCP_NODELAY`). There is one attempt.
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// What the operating system says of each address, and as for [`secure_over`].
pub async fn secure_connect<S, C>(
    runtime: &(impl Runtime + Clone),
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    connect: impl FnMut(SocketAddr) -> C,
    setup: &StreamSetup,
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = io::Result<S>>,
    for<'s> SockRef<'s>: From<&'s S>,
{
    let stream = open(lookup, setup.handshake(), alarm(runtime), connect).await?;
    SockRef::from(&stream).set_tcp_nodelay(true)?;
    secure_over(runtime, stream, Role::Opener, setup).await
}

/// Secures a stream that is open: of the two ends, one is the opener and one the acceptor.
///
/// An accepting program calls it with [`Role::Acceptor`] for what its listener has accepted, in a
/// task for each, so that a peer that stalls holds up nobody else.
///
/// The stream may have carried other bytes before, until the two agreed to go on in TLS. What a
/// buffered reader has read too far belongs to TLS already: hand in that reader itself, if it
/// passes writing on, or use [`secure_over_with`].
///
/// Closing the stream must end this end's direction, and leave the other to be read: put a
/// [`Socket`](crate::Socket) around one that only flushes.
///
/// Ready when this end has accepted the peer. An opener may still be refused after that, since in
/// TLS 1.3 the acceptor judges last: then the first read fails, and tells why. Where this end
/// refuses the peer, the peer is told, and is given [`StreamSetup::shutdown_limit`] to hear it.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// Inside of the [`io::Error`] is a [`SecurityError`](countersign_endpoint::SecurityError)
/// with one line that says what to change: of the kind
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) where one end has refused the other's
/// certificate, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the stream ended, and
/// [`InvalidData`](io::ErrorKind::InvalidData) where what came is not what TLS 1.3 asks for.
/// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::handshake_limit`]. Else what the
/// stream says.
pub async fn secure_over<S>(
    runtime: &(impl Runtime + Clone),
    stream: S,
    role: Role,
    setup: &StreamSetup,
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    secure_over_with(runtime, stream, role, setup, &[]).await
}

/// As [`secure_over`], where `already_read` is what the caller has read from the stream beyond the
/// point where TLS begins.
///
/// # Errors
///
/// As for [`secure_over`].
pub async fn secure_over_with<S>(
    runtime: &(impl Runtime + Clone),
    stream: S,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut alarm = alarm(runtime);
    let stream = Stream(stream);
    let established =
        secure::SecureStream::establish(stream, role, setup, already_read, &mut alarm);
    let inner = established.await?;
    let runtime = Arc::new(runtime.clone());
    Ok(SecureStream { inner, runtime })
}

/// A stream of bytes between two ends that have checked each other's pins, for the traits of
/// futures-io: reading exactly, until a separator or by lines comes from the `AsyncReadExt` and
/// `AsyncBufReadExt` of the runtime or of `futures-util`, and needs no `BufReader` around this.
///
/// - Reading gives no bytes when the peer has ended its direction in order. A connection that just
///   breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - The `close` of `AsyncWriteExt` ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer finds to be an error.
/// - Each write becomes records of its own, up to 64 KiB at once: put a `BufWriter` around it for
///   many small ones. As with every `AsyncWrite`, what was written is sure to go out only with
///   `flush` or one of the two `close`.
/// - For two tasks, `split` of `AsyncReadExt` or its like.
///
/// Cancel-safe are `read`, `fill_buf`, `write`, `flush` and both `close`; not `read_exact` and
/// `write_all`, which don't tell how far they got.
///
/// Holds at most 195 KiB while bytes move, and no buffer while none do.
pub struct SecureStream<S> {
    inner: secure::SecureStream<Stream<S>>,
    /// For the timer of closing.
    runtime: Arc<dyn Runtime>,
}

impl<S: fmt::Debug> fmt::Debug for SecureStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S> SecureStream<S> {
    /// Which key the peer has; `None` on a plain stream, where nobody knows.
    #[must_use]
    pub fn peer(&self) -> Option<Fingerprint> {
        self.inner.peer()
    }

    /// What the application calls the peer, if its pins have a name; that of when it was let in.
    #[must_use]
    pub fn peer_name(&self) -> Option<&str> {
        self.inner.peer_name()
    }

    /// The peer's certificate in DER; `None` on a plain stream.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.inner.peer_certificate()
    }

    /// The cipher suite in use, for people to read; `None` on a plain stream.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.inner.cipher()
    }

    /// The protocol agreed on through ALPN, if the setup's security names any.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.inner.protocol()
    }

    /// The stream below, for its addresses and settings.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner.transport().0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SecureStream<S> {
    /// Ends this end's direction, and waits until the peer has ended the other. What still comes
    /// is thrown away: to have it, end this end's direction
    /// with `AsyncWriteExt::close(&mut stream)` and read to the end first.
    ///
    /// Cancel-safe: called again, it goes on, with all of its time.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::shutdown_limit`]; otherwise as
    /// for reading, and what the stream below says if data could not be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        self.inner.close(&mut alarm(&self.runtime)).await
    }
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
