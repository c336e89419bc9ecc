//! Secure streams: bytes between two pinned ends.

mod blocking;
mod halves;

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use countersign_core::Role;
use countersign_driver::{
    Address, AddressError, StreamSetup, entry, secure, secure_getters, shared_doc,
};

use crate::event_loop::EventLoop;
use crate::runtime::Threads;
use blocking::{Blocking, Deadline, context, run};

pub use halves::{ReadHalf, WriteHalf};

#[doc = shared_doc!(secure_connect)]
/// The name is looked up in a separate thread, which goes on if the look-up takes too long.
///
#[doc = shared_doc!(secure_connect_errors)]
pub fn secure_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &StreamSetup,
) -> io::Result<SecureStream> {
    let runtime = Threads::default();
    let opening = entry::open_tcp(&runtime, address, setup.handshake());
    let socket = EventLoop::new()?.run(async { opening.await?.into_socket() })??;
    secure_over(socket.into(), Role::Opener, setup)
}

#[doc = shared_doc!(secure_over)]
/// The socket is set to blocking. Its time-outs are used for the handshake, and then restored.
///
#[doc = shared_doc!(secure_over_errors)]
pub fn secure_over(socket: TcpStream, role: Role, setup: &StreamSetup) -> io::Result<SecureStream> {
    secure_over_with(socket, role, setup, &[])
}

#[doc = shared_doc!(secure_over_with)]
///
/// [`BufReader::buffer`](io::BufReader::buffer) returns these bytes, before
/// [`into_inner`](io::BufReader::into_inner) returns the socket.
pub fn secure_over_with(
    socket: TcpStream,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream> {
    socket.set_nonblocking(false)?;
    let deadline = Deadline::default();
    let transport = Blocking::new(socket, deadline.clone());
    let socket = transport.share();
    let mut timer = deadline.clone();
    let established =
        secure::SecureStream::establish(transport, role, setup, already_read, &mut timer);
    let inner = run(socket.socket(), &deadline, established)??;
    Ok(SecureStream { inner })
}

/// A stream of bytes between two ends that have checked each other's pins, for the standard
/// library's traits: `Read` and `BufRead` read an exact length, up to a separator or by lines,
/// without a `BufReader` around the stream.
///
/// - Reading returns zero bytes when the peer has ended its direction in order. A connection that
///   just breaks off is an error, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
/// - [`SecureStream::shutdown`] ends this end's direction, and the other can still be read.
///   [`SecureStream::close`] also waits for the peer. Dropping the stream without either cuts the
///   connection, which the peer reports as an error.
/// - Each write becomes separate records, of up to 64 KiB at once: put a
///   [`BufWriter`](io::BufWriter) around the stream for many small writes.
/// - For two threads, use [`SecureStream::split`].
/// - Time-outs of the socket ([`SecureStream::get_ref`]) apply, and lose nothing: a `read` or a
///   `write` that has timed out can be called again.
///
/// Holds at most 195 KiB while bytes are transferred, and no buffer while idle.
#[derive(Debug)]
pub struct SecureStream {
    inner: secure::SecureStream<Blocking>,
}

impl SecureStream {
    secure_getters!();

    /// Returns the underlying socket, for its addresses and settings.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.inner.transport().socket()
    }

    /// Ends this end's direction: sends everything, then a close_notify. The peer's direction
    /// can still be read. Does nothing if it is done already.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    pub fn shutdown(&mut self) -> io::Result<()> {
        let result = self.inner.poll_shutdown(&mut context());
        self.inner.transport_mut().done(result)
    }

    #[doc = shared_doc!(secure_close)]
    #[doc = shared_doc!(secure_close_errors)]
    pub fn close(&mut self) -> io::Result<()> {
        let socket = self.inner.transport().share();
        let deadline = self.inner.transport().deadline();
        let mut timer = deadline.clone();
        run(socket.socket(), &deadline, self.inner.close(&mut timer))?
    }

    /// Splits the stream into its two directions, for one thread each. [`ReadHalf::reunite`]
    /// reunites them, to close the stream.
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
