//! The two directions of a secure stream, for one thread each.

use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_driver::secure::{self, Parts, Reading, Writing};
use countersign_endpoint::Connection;

use super::SecureStream;
use super::blocking::{Blocking, context};

/// The receiving direction of a [`SecureStream`].
///
/// The two halves share the TLS state, under a lock that is held only while something is encrypted
/// or decrypted, and never while a half waits for the network.
#[derive(Debug)]
pub struct ReadHalf {
    connection: Arc<Mutex<Connection>>,
    reading: Reading,
    transport: Blocking,
    shutdown: Duration,
}

/// The sending direction of a [`SecureStream`].
///
/// An alert that tells the peer why the other half could not read its data is sent with the next
/// `write`, `flush` or `shutdown`. Dropping both halves without [`WriteHalf::shutdown`] cuts
/// the connection.
#[derive(Debug)]
pub struct WriteHalf {
    connection: Arc<Mutex<Connection>>,
    writing: Writing,
    transport: Blocking,
}

pub(super) fn split(stream: secure::SecureStream<Blocking>) -> (ReadHalf, WriteHalf) {
    let parts = stream.into_parts();
    let connection = Arc::new(Mutex::new(parts.connection));
    let write = WriteHalf {
        connection: connection.clone(),
        writing: parts.writing,
        transport: parts.transport.share(),
    };
    let read = ReadHalf {
        connection,
        reading: parts.reading,
        transport: parts.transport,
        shutdown: parts.shutdown,
    };
    (read, write)
}

impl ReadHalf {
    /// Reunites the two halves of a stream.
    ///
    /// # Errors
    ///
    /// Returns the halves if they belong to different streams.
    pub fn reunite(self, other: WriteHalf) -> Result<SecureStream, Box<(Self, WriteHalf)>> {
        if !Arc::ptr_eq(&self.connection, &other.connection) {
            return Err(Box::new((self, other)));
        }
        let (write, writing) = (other.transport, other.writing);
        drop(other.connection);
        match Arc::try_unwrap(self.connection) {
            Ok(connection) => Ok(SecureStream {
                inner: secure::SecureStream::from_parts(Parts {
                    connection: connection
                        .into_inner()
                        .unwrap_or_else(PoisonError::into_inner),
                    reading: self.reading,
                    writing,
                    transport: self.transport,
                    shutdown: self.shutdown,
                }),
            }),
            // Unreachable, since only the two halves share it.
            Err(connection) => {
                let other = WriteHalf {
                    connection: connection.clone(),
                    writing,
                    transport: write,
                };
                Err(Box::new((Self { connection, ..self }, other)))
            }
        }
    }
}

impl WriteHalf {
    /// Ends this end's direction, as [`SecureStream::shutdown`] does.
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::shutdown`].
    pub fn shutdown(&mut self) -> io::Result<()> {
        let access = &mut &*self.connection;
        let result = self
            .writing
            .poll_shutdown(&mut context(), &mut self.transport, access);
        self.transport.done(result)
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut filled = 0;
        let mut take = |data: &[u8]| {
            let count = data.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&data[..count]);
            filled += count;
            count
        };
        let access = &mut &*self.connection;
        let result =
            self.reading
                .poll_read_with(&mut context(), &mut self.transport, access, &mut take);
        self.transport.done(result)?;
        Ok(filled)
    }
}

impl BufRead for ReadHalf {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let access = &mut &*self.connection;
        let result = self
            .reading
            .poll_data(&mut context(), &mut self.transport, access);
        self.transport.done(result)?;
        Ok(self.reading.data())
    }

    fn consume(&mut self, count: usize) {
        self.reading.consume(count);
    }
}

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let access = &mut &*self.connection;
        let result = self
            .writing
            .poll_write(&mut context(), &mut self.transport, access, bytes);
        self.transport.done(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let access = &mut &*self.connection;
        let result = self
            .writing
            .poll_flush(&mut context(), &mut self.transport, access);
        self.transport.done(result)
    }
}
