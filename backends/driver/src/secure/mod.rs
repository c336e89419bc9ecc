//! The secure stream: bytes between two pinned ends, for any runtime.

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

use crate::driver::{Timer, Transport};
use setup::io_error;

pub use reading::Reading;
pub use setup::{DEFAULT_HANDSHAKE_LIMIT, DEFAULT_SHUTDOWN_LIMIT, StreamSetup};
pub use writing::Writing;

/// Gives access to the security of a stream, for as long as a closure runs.
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
/// to it, so each direction may be polled with a waker of its own. (The one exception is an alert
/// that goes out after a failed read, and only while no writer waits.)
///
/// Memory: at most 65 KiB each for what has arrived, what is decrypted, and what is encrypted, lent
/// by the thread while there is something in it. An idle stream holds none of the three.
///
/// Where identity and trust are [replaced](countersign_endpoint::Security::replace), and the peer is
/// not trusted any more, the stream fails with
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and the peer finds it cut off: at once
/// where somebody reads, else with the next read or write. (A read of the std backend's, which blocks
/// in the system, only notices when something comes, of which it hands out nothing.)
///
/// Dropping it ends the transport without a goodbye, which the peer finds to be an error.
#[derive(Debug)]
pub struct SecureStream<T> {
    parts: Parts<T>,
}

/// What a [`SecureStream`] consists of, for backends whose halves go separate ways.
#[derive(Debug)]
pub struct Parts<T> {
    /// The security.
    pub connection: Connection,
    /// The peer's direction.
    pub reading: Reading,
    /// This end's direction.
    pub writing: Writing,
    /// What carries both.
    pub transport: T,
    /// How long closing may take.
    pub shutdown: Duration,
}

impl<T> SecureStream<T> {
    /// Goes on with what [`SecureStream::into_parts`] gave.
    pub fn from_parts(parts: Parts<T>) -> Self {
        Self { parts }
    }

    /// Takes the stream apart.
    pub fn into_parts(self) -> Parts<T> {
        self.parts
    }

    /// The transport. Whoever reads from it or writes to it breaks the stream.
    pub fn transport(&self) -> &T {
        &self.parts.transport
    }

    /// The transport, as [`SecureStream::transport`].
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.parts.transport
    }

    /// Which key the peer has; `None` on a plain stream, where nobody knows.
    pub fn peer(&self) -> Option<Fingerprint> {
        self.parts.reading.peer().map(Peer::fingerprint)
    }

    /// What the application calls the peer, as [`Link::peer_name`](crate::Link::peer_name); the name of
    /// when it was let in.
    pub fn peer_name(&self) -> Option<&str> {
        self.parts.reading.peer()?.name()
    }

    /// The peer's certificate in DER; `None` on a plain stream.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.parts.connection.peer_certificate()
    }

    /// The cipher suite in use, for people to read; `None` on a plain stream.
    pub fn cipher(&self) -> Option<&'static str> {
        self.parts.connection.cipher()
    }

    /// The protocol agreed on through ALPN, where [`StreamSetup`]'s security names any.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.parts.connection.protocol()
    }

    /// What is there to read now.
    pub fn data(&self) -> &[u8] {
        self.parts.reading.data()
    }

    /// Forgets the first `count` bytes of what [`SecureStream::poll_fill_buf`] gave.
    pub fn consume(&mut self, count: usize) {
        self.parts.reading.consume(count);
    }
}

impl<T: Transport> SecureStream<T> {
    /// Secures a transport that is open. Of the two ends one must be the opener and one the
    /// acceptor. `already_read` is what the caller has read from the transport beyond the point
    /// where TLS begins, if anything.
    ///
    /// Done when this end has accepted the peer. An opener may still be refused after that, since
    /// in TLS 1.3 the acceptor judges last: then the first read fails, and tells why.
    ///
    /// Where this end refuses the peer, it says so before it gives the error back, and gives the
    /// peer as long as closing takes to hear it. Dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// A [`SecurityError`] inside of an [`io::Error`]: of the kind
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) where one end has refused the other's
    /// certificate, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the transport ended, or
    /// [`InvalidData`](io::ErrorKind::InvalidData) where what came is not what TLS 1.3 asks for.
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::handshake_limit`]. Else what the
    /// transport says.
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
        // Nothing can be closed in order any more. But the peer must hear why we refuse it; or it
        // has said why it refuses us, and hung up while we were writing.
        match stream.close(timer).await {
            Err(told) if security_error(&error).is_none() && is_refusal(&told) => Err(told),
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
        // Also while output waits: the peer may take no more of it before this end has taken what
        // the peer says meanwhile. Data that comes right behind the handshake is kept.
        ready!(reading.poll_receive(context, transport, connection, &mut |_| 0))?;
        let flushed = writing.poll_flush(context, transport, connection)?;
        if connection.may_write() && flushed.is_ready() {
            return Poll::Ready(Ok(()));
        }
        // After every piece, so that a peer that never lets a read wait has no longer than others.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads what there is to the front of `buffer`, and waits while there is nothing; zero bytes
    /// mean that the peer has ended its direction in order.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the transport ended and the peer has
    /// not said that it would: more may have been meant to come. Other errors of the security
    /// layer as for [`SecureStream::establish`]; all of these come again with every read. Else
    /// what the transport says.
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

    /// As [`SecureStream::poll_read`], into memory of any kind: `take` is given what there is,
    /// perhaps in several pieces, and says how much it has taken of each, all of it as long as it
    /// has room. It must have room for a byte, and is not called at the end.
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

    /// What there is to read, without taking it, and waits while there is nothing; empty when the
    /// peer has ended its direction in order. [`SecureStream::consume`] takes it.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_read`].
    pub fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        ready!(self.poll_data(context))?;
        Poll::Ready(Ok(self.data()))
    }

    /// Waits until [`SecureStream::data`] gives what [`SecureStream::poll_fill_buf`] would.
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

    /// Tells the peer why reading has failed, as far as that is possible at once.
    fn flush_alert(&mut self, context: &mut Context<'_>) {
        let parts = &mut self.parts;
        // With something on its way a writer waits, whose waker must stay.
        if parts.writing.is_idle() {
            let transport = &mut parts.transport;
            let _ = parts
                .writing
                .poll_flush(context, transport, &mut parts.connection);
        }
    }

    /// Encrypts and sends from the front of `bytes`: at most 64 KiB, in records that are full
    /// except for the last. How much it took, which is sent or will be with the next call: after
    /// the last write, flush. `Pending` has taken nothing.
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`SecureStream::poll_shutdown`]. The error
    /// that reading gave, if it came from the security layer. Else what the transport says; the
    /// next read may tell more, what the peer did not like about us, say.
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
    /// What the transport says.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        parts
            .writing
            .poll_flush(context, transport, &mut parts.connection)
    }

    /// Ends this end's direction: sends everything, then a close_notify, then ends the transport's.
    /// The peer's direction can still be read. Does nothing when it is done already.
    ///
    /// # Errors
    ///
    /// What the transport says.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        parts
            .writing
            .poll_shutdown(context, transport, &mut parts.connection)
    }

    /// Ends this end's direction, and waits until the peer has ended the other. What still comes
    /// is thrown away: to have it, shut down and read to the end first.
    ///
    /// Cancel-safe: called again, it goes on, with all of its time.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::shutdown_limit`]; otherwise as
    /// for [`SecureStream::poll_read`], and what the transport says if data could not be sent. A
    /// goodbye that a peer who has said his own does not wait for is no error.
    pub async fn close(&mut self, timer: &mut impl Timer) -> io::Result<()> {
        let limit = self.parts.shutdown;
        within(limit, "closing", timer, |context| self.poll_close(context)).await
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = self.poll_shutdown(context);
        let parts = &mut self.parts;
        let transport = &mut parts.transport;
        let heard = parts
            .reading
            .poll_discard(context, transport, &mut parts.connection);
        match (said, heard) {
            // What the peer has said tells more than that it does not listen.
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Err(error)), Poll::Ready(Ok(()))) if !parts.writing.is_leaving() => {
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

/// Whether the peer has said that, and why, there is no stream.
fn is_refusal(error: &io::Error) -> bool {
    security_error(error).is_some_and(|error| error.blame() == Blame::Refused)
}

/// Does `work`, but no longer than `limit`.
async fn within(
    limit: Duration,
    what: &str,
    timer: &mut impl Timer,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> io::Result<()> {
    // A limit beyond what the clock can name is none.
    let deadline = timer.now().checked_add(limit);
    poll_fn(|context| {
        // First, so that a transport that blocks learns how long it may.
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
