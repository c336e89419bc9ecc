//! The bytes on their way between a connection and a stream of its owner's.

use std::io::{self, ErrorKind};

use countersign_core::{Instant, Protocol};

use super::{Endpoint, ToSend};
use crate::stream::Stream;

/// How much is read before the link gets it, in bytes.
const READ_AT_ONCE: usize = 3 * READ;
/// How much room there is for one read, in bytes.
const READ: usize = 16 * 1024;
/// How often is written before others have their turn: about a megabyte.
const WRITES: u32 = 16;

impl Endpoint {
    /// Moves bytes between a stream that does not block and the link: reads, does an
    /// [`exchange`](Self::exchange), and writes, for as long as the stream takes and the link has
    /// something to say. Returns whether there may be more to do at once: about 48 KiB are read and
    /// a megabyte is written, and then others have their turn.
    ///
    /// When it returns `false`, there is nothing to do before the stream is ready for what it was
    /// not ready for, the link has something to do, or a deadline comes. That holds for readiness
    /// that is told only when it changes (edge-triggered), too. Memory that is not needed meanwhile
    /// is let go of ([`release`](Self::release)).
    ///
    /// After each transfer the owner asks [`poll_event`](Self::poll_event), the link's events,
    /// for an [`Incoming`](countersign_core::Incoming) where it
    /// [goes](countersign_core::Acceptor::route), and whether this [is over](Self::is_over).
    ///
    /// ```no_run
    /// # fn turn(
    /// #     now: countersign_core::Instant,
    /// #     link: &mut countersign_core::Link,
    /// #     endpoint: &mut countersign_endpoint::Endpoint,
    /// #     error_context: &mut countersign_endpoint::ErrorContext,
    /// #     socket: &mut std::net::TcpStream,
    /// # ) {
    /// let again = endpoint.transfer(now, link, socket);
    /// while let Some(event) = endpoint.poll_event() {
    ///     error_context.on_event(event);
    /// }
    /// # let _ = again;
    /// # }
    /// ```
    #[must_use]
    pub fn transfer(
        &mut self,
        now: Instant,
        link: &mut impl Protocol,
        stream: &mut impl Stream,
    ) -> bool {
        if self.number.is_none() {
            // What this end has to say first goes out, whatever there is to read.
            self.pass(now, link);
            self.write_to(now, link, stream);
        }
        let reads_on = self.read_from(stream);
        if reads_on {
            self.exchange_while_reading(now, link);
        } else {
            self.exchange(now, link);
        }
        let writes_on = self.write_to(now, link, stream);
        self.release();
        reads_on || writes_on
    }

    /// Reads what there is; true where there may be more.
    fn read_from(&mut self, stream: &mut impl Stream) -> bool {
        let mut total = 0;
        while !self.is_read_ended() {
            if total >= READ_AT_ONCE {
                return true;
            }
            let input = self.input();
            match uninterrupted(|| stream.read(&mut input.space(READ)[..READ])) {
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

    /// Writes what there is, and what the link says then; true where there may be more.
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
                    // Where this fails the connection is gone, and reading tells.
                    let _ = stream.end();
                    self.shut();
                }
                ToSend::Bytes(output) => match uninterrupted(|| stream.write(output.filled())) {
                    // Not the peer's doing, from which there would be something to read.
                    Ok(0) => self.failed(takes_nothing()),
                    Ok(count) => {
                        output.consume(count);
                        self.sent();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) => self.cannot_send(error),
                },
            }
            self.pass(now, link);
        }
        self.has_output()
    }

    /// An exchange in which nothing comes due.
    fn pass(&mut self, now: Instant, link: &mut impl Protocol) {
        self.deliver(now, link);
        self.collect(now, link);
    }
}

fn takes_nothing() -> io::Error {
    io::Error::new(ErrorKind::WriteZero, "the transport takes no more bytes")
}

/// Does it again for as long as a signal is in the way.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
