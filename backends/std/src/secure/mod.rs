//! Secure streams: bytes between two pinned ends.

mod blocking;
mod halves;

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use countersign_core::Role;
use countersign_driver::{Address, AddressError, StreamSetup, open, secure};
use countersign_endpoint::Fingerprint;

use crate::connect::{look_up, reach_tcp};
use crate::lookup::Lookup;
use crate::runtime::{Clock, Waiting};
use blocking::{Blocking, Deadline, context, run};

pub use halves::{ReadHalf, WriteHalf};

/// Opens a TCP connection and secures it, as its opener: see [`secure_over`].
///
/// Of several addresses the first that answers is taken, as by [`open`](countersign_driver::open)
/// (RFC 8305). Looking the name up, the TCP connection and the handshake may each take
/// [`StreamSetup::handshake_limit`]. Records go out at once (`TCP_NODELAY`). Nothing is tried again.
/// The name is looked up in a thread of its own, which goes on when the look-up took too long.
///
/// # Errors
///
/// What the operating system says of each address, and as for [`secure_over`].
pub fn secure_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &StreamSetup,
) -> io::Result<SecureStream> {
    let (waiting, sockets) = Waiting::new()?;
    let connect = |address| reach_tcp(address, sockets.clone());
    let lookup = look_up(Lookup::default(), Address::of_peer(address)?);
    let opening = open(lookup, setup.handshake(), Clock, connect);
    let mut socket = waiting.run(opening)??;
    sockets.forget(&mut socket)?;
    socket.set_nodelay(true)?;
    secure_over(socket.into(), Role::Opener, setup)
}

/// Secures a TCP connection that is open: of the two ends, one is the opener and one the acceptor.
///
/// An accepting program calls it with [`Role::Acceptor`] for what its `TcpListener` has accepted,
/// in a thread for each, so that a peer that stalls holds up nobody else.
///
/// The connection may have carried other bytes before, until the two agreed to go on in TLS. What
/// a buffered reader has read too far belongs to TLS already: see [`secure_over_with`].
///
/// Returns when this end has accepted the peer. An opener may still be refused after that, since
/// in TLS 1.3 the acceptor judges last: then the first read fails, and tells why. Where this end
/// refuses the peer, the peer is told, and is given [`StreamSetup::shutdown_limit`] to hear it.
///
/// The socket is made blocking. Its time-outs are used for the handshake, and then put back to what
/// they were.
///
/// # Errors
///
/// Inside of the [`io::Error`] is a [`SecurityError`](countersign_endpoint::SecurityError)
/// with one line that says what to change: of the kind
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) where one end has refused the other's
/// certificate, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the connection ended, and
/// [`InvalidData`](io::ErrorKind::InvalidData) where what came is not what TLS 1.3 asks for.
/// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::handshake_limit`]. Else what the
/// operating system says.
pub fn secure_over(socket: TcpStream, role: Role, setup: &StreamSetup) -> io::Result<SecureStream> {
    secure_over_with(socket, role, setup, &[])
}

/// As [`secure_over`], where `already_read` is what the caller has read from the connection beyond
/// the point where TLS begins: what [`BufReader::buffer`](io::BufReader::buffer) shows, before
/// [`into_inner`](io::BufReader::into_inner) gives the socket.
///
/// # Errors
///
/// As for [`secure_over`].
pub fn secure_over_with(
    socket: TcpStream,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream> {
    socket.set_nonblocking(false)?;
    let deadline = Deadline::default();
    let transport = Blocking::new(socket, deadline.clone());
    let kept = transport.another();
    let mut timer = deadline.clone();
    let established =
        secure::SecureStream::establish(transport, role, setup, already_read, &mut timer);
    let inner = run(kept.socket(), &deadline, established)??;
    Ok(SecureStream { inner })
}

/// A stream of bytes between two ends that have checked each other's pins, for the standard
/// library's traits: reading exactly, until a separator or by lines comes from `Read` and
/// `BufRead`, which needs no `BufReader` around this.
///
/// - Reading gives no bytes when the peer has ended its direction in order. A connection that just
///   breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - [`SecureStream::shutdown`] ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer finds to be an error.
/// - Each write becomes records of its own, up to 64 KiB at once: put a
///   [`BufWriter`](io::BufWriter) around it for many small ones.
/// - For two threads, [`SecureStream::split`].
/// - Time-outs of the socket ([`SecureStream::get_ref`]) work as they do there, and lose nothing:
///   a `read` that failed for it can be called again, and so can a `write`.
///
/// Holds at most 195 KiB while bytes move, and no buffer while none do.
#[derive(Debug)]
pub struct SecureStream {
    inner: secure::SecureStream<Blocking>,
}

impl SecureStream {
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

    /// The socket below, for its addresses and settings.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.inner.transport().socket()
    }

    /// Ends this end's direction: sends everything, then says so to the peer. The peer's direction
    /// can still be read. Does nothing when it is done already.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn shutdown(&mut self) -> io::Result<()> {
        let result = self.inner.poll_shutdown(&mut context());
        self.inner.transport_mut().done(result)
    }

    /// Ends this end's direction, and waits until the peer has ended the other. What still comes
    /// is thrown away: to have it, [`SecureStream::shutdown`] and read to the end first.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) after [`StreamSetup::shutdown_limit`]; otherwise as
    /// for reading, and what the operating system says if data could not be sent.
    pub fn close(&mut self) -> io::Result<()> {
        let kept = self.inner.transport().another();
        let deadline = self.inner.transport().deadline();
        let mut timer = deadline.clone();
        run(kept.socket(), &deadline, self.inner.close(&mut timer))?
    }

    /// Takes the two directions apart, for a thread each. [`ReadHalf::reunite`] puts them together
    /// again, to close the stream.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        halves::split(self.inner)
    }
}

impl Read for SecureStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let result = self.inner.poll_read(&mut context(), buffer);
        self.inner.transport_mut().done(result)
    }
}

impl BufRead for SecureStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let result = self.inner.poll_data(&mut context());
        self.inner.transport_mut().done(result)?;
        Ok(self.inner.data())
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}

impl Write for SecureStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.poll_write(&mut context(), bytes);
        self.inner.transport_mut().done(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.poll_flush(&mut context());
        self.inner.transport_mut().done(result)
    }
}
