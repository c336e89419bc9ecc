//! Secure streams: bytes between two pinned ends, for any runtime.

mod reading;
mod setup;
mod writing;

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use countersign_core::Role;
use countersign_endpoint::{Blame, Connection, Fingerprint, Peer, SecurityError};

use crate::transport::{Timer, Transport};
use setup::io_error;

pub use reading::Reading;
pub use setup::{DEFAULT_HANDSHAKE_LIMIT, DEFAULT_SHUTDOWN_LIMIT, StreamSetup};
pub use writing::Writing;

/// Gives access to the TLS state of a stream, for as long as a closure runs.
///
/// A [`Connection`] gives access to itself. The two halves of a stream in two threads share it
/// under a lock, held only while something is encrypted or decrypted.
pub trait ConnectionAccess {
    /// Runs `work` on the connection.
    fn with<R>(&mut self, work: impl FnOnce(&mut Connection) -> R) -> R;
}

impl ConnectionAccess for Connection {
    fn with<R>(&mut self, work: impl FnOnce(&mut Connection) -> R) -> R {
        work(self)
    }
}

impl ConnectionAccess for &Mutex<Connection> {
    fn with<R>(&mut self, work: impl FnOnce(&mut Connection) -> R) -> R {
        work(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A secure stream over a transport, as backends wrap it: bytes in both directions, between two
/// ends that have checked each other's pins.
///
/// The methods that read only ever read from the transport, and those that write only ever write
/// to it, so each direction may be polled with a different waker. (The one exception is an alert
/// that is sent after a failed read, and only while no writer waits.)
///
/// Memory: at most 65 KiB each for received ciphertext, plaintext, and ciphertext to send, borrowed
/// from the thread while there is data in it. An idle stream holds none of the three.
///
/// When identity or trust is [replaced](countersign_endpoint::Security::replace) and the peer is no
/// longer trusted, the stream fails with
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and the peer finds it cut off: at once if
/// a read is pending, otherwise with the next read or write. (A read of the std backend, which
/// blocks in the system, only notices when data arrives, and discards that data.)
///
/// Dropping it closes the transport without a close_notify, which the peer reports as an error.
#[derive(Debug)]
pub struct SecureStream<T> {
    parts: Parts<T>,
}

/// The parts of a [`SecureStream`], for backends that split it into halves.
#[derive(Debug)]
pub struct Parts<T> {
    /// The TLS state.
    pub connection: Connection,
    /// The receiving direction.
    pub reading: Reading,
    /// The sending direction.
    pub writing: Writing,
    /// The transport of both directions.
    pub transport: T,
    /// How long closing may take.
    pub shutdown: Duration,
}

impl<T> SecureStream<T> {
    /// Makes a stream of the parts that [`SecureStream::into_parts`] has returned.
    pub fn from_parts(parts: Parts<T>) -> Self {
        Self { parts }
    }

    /// Takes the stream apart into its parts.
    pub fn into_parts(self) -> Parts<T> {
        self.parts
    }

    /// Returns the transport. Reading from it or writing to it breaks the stream.
    pub fn transport(&self) -> &T {
        &self.parts.transport
    }

    /// Returns the transport, as [`SecureStream::transport`].
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.parts.transport
    }

    /// Returns the fingerprint of the peer's key; `None` on a plain stream, where it is unknown.
    pub fn peer(&self) -> Option<Fingerprint> {
        self.parts.reading.peer().map(Peer::fingerprint)
    }

    /// Returns the peer's name, as [`Link::peer_name`](crate::Link::peer_name), as it was when the
    /// peer was accepted.
    pub fn peer_name(&self) -> Option<&str> {
        self.parts.reading.peer()?.name()
    }

    /// Returns the peer's certificate in DER; `None` on a plain stream.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.parts.connection.peer_certificate()
    }

    /// Returns the name of the cipher suite in use, for display; `None` on a plain stream.
    pub fn cipher(&self) -> Option<&'static str> {
        self.parts.connection.cipher()
    }

    /// Returns the protocol agreed on through ALPN, if [`StreamSetup`]'s security names any.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.parts.connection.protocol()
    }

    /// Returns the data that can be read now.
    pub fn data(&self) -> &[u8] {
        self.parts.reading.data()
    }

    /// Discards the first `count` bytes of what [`SecureStream::poll_fill_buf`] has returned.
    pub fn consume(&mut self, count: usize) {
        self.parts.reading.consume(count);
    }
}

impl<T: Transport> SecureStream<T> {
    /// Secures an open transport. One end must be the opener and the other the acceptor.
    /// `already_read` holds the bytes that the caller has read from the transport beyond the point
    /// where TLS begins, if any.
    ///
    /// Returns once this end has accepted the peer. An opener may still be refused afterwards,
    /// since in TLS 1.3 the acceptor verifies last: the first read then fails with the reason.
    ///
    /// If this end refuses the peer, it sends an alert before it returns the error, and gives the
    /// peer as long as closing may take to receive it. Dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// A [`SecurityError`] inside an [`io::Error`], whose kind is
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if one end has refused the other's
    /// certificate, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the transport ended, or
    /// [`InvalidData`](io::ErrorKind::InvalidData) if the peer's data does not conform to TLS 1.3.
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::handshake_limit`]. Otherwise the
    /// transport's error.
    pub async fn establish(
        transport: T,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
        timer: &mut impl Timer,
    ) -> io::Result<Self> {
        let connection = match role {
            Role::Opener => Connection::connect(setup.security()),
            Role::Acceptor => Connection::accept(setup.security()),
        };
        let mut stream = Self {
            parts: Parts {
                connection: connection.map_err(io_error)?,
                reading: Reading::new(setup.security()),
                writing: Writing::default(),
                transport,
                shutdown: setup.shutdown(),
            },
        };
        stream.parts.reading.preload(already_read);
        let limit = setup.handshake();
        let secured = within(limit, "the handshake", timer, |context| {
            stream.poll_handshake(context)
        });
        let Err(error) = secured.await else {
            return Ok(stream);
        };
        if error.kind() == io::ErrorKind::TimedOut {
            return Err(error);
        }
        // The stream cannot be closed in order any more. But the peer must receive the alert if
        // this end refuses it; or the peer has sent an alert, and closed while this end was
        // writing.
        match stream.close(timer).await {
            Err(close_error) if security_error(&error).is_none() && is_refusal(&close_error) => {
                Err(close_error)
            }
            _ => Err(error),
        }
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Parts {
            connection,
            reading,
            writing,
            transport,
            ..
        } = &mut self.parts;
        let flushed = writing.poll_flush(context, transport, connection)?;
        if connection.may_write() {
            return flushed.map(Ok);
        }
        // Even while output is pending: the peer may take no more of it before this end reads what
        // the peer sends meanwhile. Data that follows the handshake directly is kept.
        ready!(reading.poll_receive(context, transport, connection, &mut |_| 0))?;
        let flushed = writing.poll_flush(context, transport, connection)?;
        if connection.may_write() && flushed.is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Yield after each read, so that the time limit applies to a peer that never lets a read
        // wait.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads data to the front of `buffer`, waiting while there is none; zero bytes mean that the
    /// peer has ended its direction in order.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the transport ended without the peer's
    /// close_notify: data may be missing. Other errors of the security layer are as for
    /// [`SecureStream::establish`]; all of these are returned again by every read. Otherwise the
    /// transport's error.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        let mut take = |data: &[u8]| {
            let count = data.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&data[..count]);
            filled += count;
            count
        };
        ready!(self.poll_read_with(context, &mut take))?;
        Poll::Ready(Ok(filled))
    }

    /// As [`SecureStream::poll_read`], into memory of any kind: `take` receives the data, perhaps
    /// in several pieces, and returns how many bytes of each it has taken, all of them as long as
    /// it has room. It must have room for one byte, and is not called at the end.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`].
    pub fn poll_read_with(
        &mut self,
        context: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        let read = ready!(parts.reading.poll_read_with(
            context,
            transport,
            &mut parts.connection,
            take
        ));
        Poll::Ready(read.inspect_err(|_| self.flush_alert(context)))
    }

    /// Returns the data that can be read, without taking it, waiting while there is none; empty
    /// when the peer has ended its direction in order. [`SecureStream::consume`] takes it.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`].
    pub fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        ready!(self.poll_data(context))?;
        Poll::Ready(Ok(self.data()))
    }

    /// Waits until [`SecureStream::data`] returns what [`SecureStream::poll_fill_buf`] would.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`].
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        let waited = parts
            .reading
            .poll_data(context, transport, &mut parts.connection);
        Poll::Ready(ready!(waited).inspect_err(|_| self.flush_alert(context)))
    }

    /// Sends the alert that tells the peer why reading has failed, as far as the transport takes it
    /// at once.
    fn flush_alert(&mut self, context: &mut Context<'_>) {
        let parts = &mut self.parts;
        // While output is pending a writer waits, whose waker must not be replaced.
        if parts.writing.is_idle() {
            let transport = &mut parts.transport;
            let _ = parts
                .writing
                .poll_flush(context, transport, &mut parts.connection);
        }
    }

    /// Encrypts and sends from the front of `bytes`: at most 64 KiB, in records that are full
    /// except for the last. Returns how many bytes it took, which are sent now or with the next
    /// call: flush after the last write. `Pending` has taken nothing.
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`SecureStream::poll_shutdown`]. The error
    /// that reading has returned, if it is one of the security layer. Otherwise the transport's
    /// error; the next read may say more, for example why the peer has refused this end.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        parts
            .writing
            .poll_write(context, transport, &mut parts.connection, bytes)
    }

    /// Sends everything that was written.
    ///
    /// # Errors
    ///
    /// The transport's error.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        parts
            .writing
            .poll_flush(context, transport, &mut parts.connection)
    }

    /// Ends this end's direction: sends everything, then a close_notify, then shuts the transport
    /// down. The peer's direction can still be read. Does nothing if it is done already.
    ///
    /// # Errors
    ///
    /// The transport's error.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        parts
            .writing
            .poll_shutdown(context, transport, &mut parts.connection)
    }

    /// Ends this end's direction, and waits until the peer has ended the other. Data that still
    /// arrives is discarded: to keep it, shut down and read to the end first.
    ///
    /// Cancel-safe: a further call continues, with the full time limit.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::shutdown_limit`]; otherwise as
    /// for [`SecureStream::poll_read`], and the transport's error if data could not be sent. A
    /// close_notify that cannot be sent, because the peer has sent its own and closed, is no error.
    pub async fn close(&mut self, timer: &mut impl Timer) -> io::Result<()> {
        let limit = self.parts.shutdown;
        within(limit, "closing", timer, |context| self.poll_close(context)).await
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_shutdown(context);
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        let received = parts
            .reading
            .poll_discard(context, transport, &mut parts.connection);
        match (sent, received) {
            // The peer's alert says more than a failure to send.
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Err(error)), Poll::Ready(Ok(()))) if !parts.writing.is_closing() => {
                Poll::Ready(Err(error))
            }
            (Poll::Ready(_), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

fn security_error(error: &io::Error) -> Option<&SecurityError> {
    let inner = error.get_ref();
    inner.and_then(<dyn Error + Send + Sync>::downcast_ref)
}

/// Whether the error is the peer's refusal.
fn is_refusal(error: &io::Error) -> bool {
    security_error(error).is_some_and(|error| error.blame() == Blame::Refused)
}

/// Polls `work`, for no longer than `limit`.
async fn within(
    limit: Duration,
    what: &str,
    timer: &mut impl Timer,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> io::Result<()> {
    // A limit beyond the range of the clock is no limit.
    let deadline = timer.now().checked_add(limit);
    poll_fn(|context| {
        // First, so that a blocking transport knows how long it may block.
        let late = deadline.is_some_and(|at| timer.poll_until(context, at).is_ready());
        match work(context) {
            Poll::Pending if late => {
                let text = format!("{what} took longer than {limit:?}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
            result => result,
        }
    })
    .await
}
