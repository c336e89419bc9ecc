//! Secure streams: bytes between two pinned ends.

mod blocking;
mod halves;

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use countersign_core::Role;
use countersign_driver::{
    Address, AddressError, StreamSetup, entry, secure, secure_getters, shared_doc,
};

use crate::runtime::Threads;
use crate::waiting::Waiting;
use blocking::{Blocking, Deadline, context, run};

pub use halves::{ReadHalf, WriteHalf};

#[doc = shared_doc!(secure_connect)]
/// The name is looked up in a thread of its own, which goes on when the look-up took too long.
///
#[doc = shared_doc!(secure_connect_errors)]
pub fn secure_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &StreamSetup,
) -> io::Result<SecureStream> {
    let runtime = Threads::default();
    let opening = entry::open_tcp(&runtime, address, setup.handshake());
    let socket = Waiting::new()?.run(async { opening.await?.into_socket() })??;
    secure_over(socket.into(), Role::Opener, setup)
}

#[doc = shared_doc!(secure_over)]
/// The socket is made blocking. Its time-outs are used for the handshake, and then put back to what
/// they were.
///
#[doc = shared_doc!(secure_over_errors)]
pub fn secure_over(socket: TcpStream, role: Role, setup: &StreamSetup) -> io::Result<SecureStream> {
    secure_over_with(socket, role, setup, &[])
}

#[doc = shared_doc!(secure_over_with)]
///
/// That is what [`BufReader::buffer`](io::BufReader::buffer) shows, before
/// [`into_inner`](io::BufReader::into_inner) gives the socket.
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
    secure_getters!();

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

    #[doc = shared_doc!(secure_close)]
    #[doc = shared_doc!(secure_close_errors)]
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
