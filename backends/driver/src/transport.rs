//! What a runtime provides: byte streams and timers.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use countersign_endpoint::Buffer;

use crate::addresses::Addresses;

/// The least room that a buffer should have for one read of a transport, in bytes.
pub const READ: usize = 16 * 1024;

/// A byte stream in both directions that never blocks.
///
/// A method that returns `Pending` has arranged for the context's waker to be woken when it is
/// worth trying again.
///
/// Some operating systems need the memory for as long as a transfer is in flight. For transports on
/// those, buffers are handed over whole: such a transport takes the buffer's content, leaves an
/// empty one and returns `Pending`. When it is ready it puts back what it took. Between a `Pending`
/// and the result, the caller calls the same method with the same buffer, which it has not touched.
pub trait Transport {
    /// Appends what has arrived to `buffer`, which should have room for [`READ`] bytes, and returns
    /// how many bytes that is; zero means that the peer has ended its direction.
    ///
    /// # Errors
    ///
    /// The operating system's error. Never `WouldBlock`.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>>;

    /// Sends as much from the front of `buffer` as the transport takes, removes it from there, and
    /// returns how many bytes that is. At the first call the buffer is not empty.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>>;

    /// Sends what the transport has buffered, if it buffers.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_flush(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Shuts down this end's direction.
    ///
    /// # Errors
    ///
    /// As for [`Transport::poll_read`].
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns the addresses of both ends, for the link's [`Status`](crate::Status); unknown by
    /// default.
    fn addresses(&self) -> Addresses {
        Addresses::default()
    }
}

/// A timer that can be reset.
pub trait Timer {
    /// Returns the current time of this timer: the machine's by default.
    fn now(&self) -> StdInstant {
        StdInstant::now()
    }

    /// Returns `Ready` once `deadline` has passed; until then, arranges for the context's waker to
    /// be woken at that time. The deadline may differ at every call; only the latest counts.
    fn poll_until(&mut self, context: &mut Context<'_>, deadline: StdInstant) -> Poll<()>;
}
