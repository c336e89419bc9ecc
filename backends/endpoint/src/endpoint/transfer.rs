//! The transfer of bytes between a connection and its owner's stream.

use std::io::{self, ErrorKind};

use countersign_core::{Instant, Protocol};

use super::{Endpoint, ToSend};
use crate::stream::Stream;

/// How much is read before it is passed to the link, in bytes.
const READ_AT_ONCE: usize = 3 * READ;
/// How much room there is for one read, in bytes.
const READ: usize = 16 * 1024;
/// How many writes are done before yielding: about a megabyte.
const WRITES: u32 = 16;

impl Endpoint {
    /// Moves bytes between a non-blocking stream and the link: reads, does an
    /// [`exchange`](Self::exchange), and writes, for as long as the stream takes data and the link
    /// has output. Returns whether there may be more to do at once: it reads about 48 KiB and
    /// writes about a megabyte, and then returns so that other links get their turn.
    ///
    /// When it returns `false`, there is nothing to do before the stream is ready for what it was
    /// not ready for, the link has something to do, or a deadline passes. That also holds for
    /// readiness that is reported only when it changes (edge-triggered). Memory that is not needed
    /// meanwhile is released ([`release`](Self::release)).
    ///
    /// `clock` reads the time; the core judges by it how old messages are. It is read again after
    /// reading from the stream: what arrives has been written since any earlier moment, perhaps.
    ///
    /// After each transfer the owner polls [`poll_event`](Self::poll_event) and the link's events,
    /// [routes](countersign_core::Acceptor::route) an
    /// [`Incoming`](countersign_core::Incoming), and checks whether this [is over](Self::is_over).
    ///
    /// ```no_run
    /// # fn turn(
    /// #     clock: impl Fn() -> countersign_core::Instant,
    /// #     link: &mut countersign_core::Link,
    /// #     endpoint: &mut countersign_endpoint::Endpoint,
    /// #     error_context: &mut countersign_endpoint::ErrorContext,
    /// #     socket: &mut std::net::TcpStream,
    /// # ) {
    /// let again = endpoint.transfer(clock, link, socket);
    /// while let Some(event) = endpoint.poll_event() {
    ///     error_context.on_event(event);
    /// }
    /// # let _ = again;
    /// # }
    /// ```
    #[must_use]
    pub fn transfer(
        &mut self,
        clock: impl Fn() -> Instant,
        link: &mut impl Protocol,
        stream: &mut impl Stream,
    ) -> bool {
        if self.number.is_none() {
            let now = clock();
            // This end's first output is sent before anything is read.
            self.exchange_without_timeouts(now, link);
            self.write_to(now, link, stream);
        }
        let more_to_read = self.read_from(stream);
        let now = clock();
        if more_to_read {
            self.exchange_while_reading(now, link);
        } else {
            self.exchange(now, link);
        }
        let more_to_write = self.write_to(now, link, stream);
        self.release();
        more_to_read || more_to_write
    }

    /// Reads what has arrived; returns true if there may be more.
    fn read_from(&mut self, stream: &mut impl Stream) -> bool {
        let mut total = 0;
        while !self.is_read_ended() {
            if total >= READ_AT_ONCE {
                return true;
            }
            let input = self.input();
            match retry(|| stream.read(&mut input.space(READ)[..READ])) {
                Ok(count) => {
                    input.commit(count);
                    total += count;
                    self.received(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => self.failed(error),
            }
        }
        false
    }

    /// Writes pending output, and the link's output that follows; returns true if there may be
    /// more.
    fn write_to(
        &mut self,
        now: Instant,
        link: &mut impl Protocol,
        stream: &mut impl Stream,
    ) -> bool {
        for _ in 0..WRITES {
            match self.to_send() {
                ToSend::Nothing => return false,
                ToSend::End => {
                    // If this fails the connection is gone, which reading reports.
                    let _ = stream.end();
                    self.shut();
                }
                ToSend::Bytes(output) => {
                    match retry(|| stream.write(output.filled())) {
                        // Not caused by the peer, so there is no alert to read.
                        Ok(0) => self.failed(write_zero()),
                        Ok(count) => {
                            output.consume(count);
                            self.sent();
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                        Err(error) => self.cannot_send(error),
                    }
                }
            }
            self.exchange_without_timeouts(now, link);
        }
        self.has_output()
    }

    /// Does an exchange without timeouts.
    fn exchange_without_timeouts(&mut self, now: Instant, link: &mut impl Protocol) {
        self.deliver(now, link);
        self.collect(now, link);
    }
}

fn write_zero() -> io::Error {
    io::Error::new(ErrorKind::WriteZero, "the transport takes no more bytes")
}

/// Repeats the call while a signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
