//! Secure streams: bytes between two pinned ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_core::Role;
use countersign_driver::{Address, AddressError, StreamSetup, open, secure};
use countersign_endpoint::Fingerprint;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connect::look_up;
use crate::runtime::{Stream, alarm};

/// Opens a TCP connection and secures it, as its opener: see [`secure_over`].
///
/// Of several addresses the first that answers is taken, as by [`open`](countersign_driver::open) (RFC 8305). Looking the
/// name up, the TCP connection and the handshake may each take [`StreamSetup::handshake_limit`].
/// Records go out at once (`TCP_NODELAY`). Nothing is tried again.
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// What the operating system says, and as for [`secure_over`].
pub async fn secure_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &StreamSetup,
) -> io::Result<SecureStream<TcpStream>> {
    let lookup = look_up(Address::of_peer(address)?);
    let (limit, alarm) = (setup.handshake(), alarm());
    let stream = open(lookup, limit, alarm, TcpStream::connect).await?;
    stream.set_nodelay(true)?;
    secure_over(stream, Role::Opener, setup).await
}

/// Secures a stream that is open: of the two ends, one is the opener and one the acceptor.
///
/// An accepting program calls it with [`Role::Acceptor`] for what its `TcpListener` has accepted,
/// in a task for each, so that a peer that stalls holds up nobody else.
///
/// The stream may have carried other bytes before, until the two agreed to go on in TLS. What a
/// buffered reader has read too far belongs to TLS already: hand in tokio's
/// `BufReader` itself, or use [`secure_over_with`].
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
    stream: S,
    role: Role,
    setup: &StreamSetup,
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    secure_over_with(stream, role, setup, &[]).await
}

/// As [`secure_over`], where `already_read` is what the caller has read from the stream beyond the
/// point where TLS begins.
///
/// # Errors
///
/// As for [`secure_over`].
pub async fn secure_over_with<S>(
    stream: S,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut alarm = alarm();
    let stream = Stream(stream);
    let established =
        secure::SecureStream::establish(stream, role, setup, already_read, &mut alarm);
    established.await.map(|inner| SecureStream { inner })
}

/// A stream of bytes between two ends that have checked each other's pins, for tokio's traits:
/// reading exactly, until a separator or by lines comes from `AsyncReadExt` and `AsyncBufReadExt`,
/// which needs no `BufReader` around this.
///
/// - Reading gives no bytes when the peer has ended its direction in order. A connection that just
///   breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - `shutdown` ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer finds to be an error.
/// - Each write becomes records of its own, up to 64 KiB at once: put a
///   `BufWriter` around it for many small ones. As with every `AsyncWrite`,
///   what was written is sure to go out only with `flush`, `shutdown` or `close`.
/// - For two tasks, `tokio::io::split`.
///
/// Cancel-safe are `read`, `fill_buf`, `write`, `flush`, `shutdown`, [`SecureStream::close`], and
/// `read_until` and `read_line` as far as tokio says so of them; not `read_exact` and `write_all`,
/// which don't tell how far they got.
///
/// Holds at most 195 KiB while bytes move, and no buffer while none do.
#[derive(Debug)]
pub struct SecureStream<S> {
    inner: secure::SecureStream<Stream<S>>,
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
    /// is thrown away: to have it, `shutdown` and read to the end first.
    ///
    /// Cancel-safe: called again, it goes on, with all of its time.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::shutdown_limit`]; otherwise as
    /// for reading, and what the stream below says if data could not be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        self.inner.close(&mut alarm()).await
    }
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
