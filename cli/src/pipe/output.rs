//! The output stream: what was received, written, flushed, and only then handled.

use std::io::{self, BufWriter, Stdout, Write, stdout};

use bytes::Bytes;
use countersign_tokio::Delivery;

use crate::split::{JoinError, Joiner, Way};

/// The code of the rejection of messages that could not be written.
const NOT_WRITTEN: u32 = 1;

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// The messages don't go into one stream in the way that `--split` says.
    #[error("{0}; choose another --split")]
    Join(#[from] JoinError),
    /// Whoever reads the output has gone.
    #[error("standard output was closed by whoever reads it, so the rest was not handled")]
    Closed(#[source] io::Error),
    /// The system can't write it.
    #[error("standard output cannot be written: {0}")]
    Write(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed(error),
            _ => Self::Write(error),
        }
    }
}

/// A message to be written.
pub(super) enum Item {
    /// It waits to be handled.
    Manual(Delivery),
    /// It was handled as it was taken.
    Auto(Bytes),
}

impl Item {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Manual(delivery) => delivery,
            Self::Auto(bytes) => bytes,
        }
    }

    fn handled(self) {
        if let Self::Manual(delivery) = self {
            delivery.handled();
        }
    }

    fn reject(self, reason: &str) {
        if let Self::Manual(delivery) = self {
            delivery.reject(NOT_WRITTEN, reason);
        }
    }
}

/// Standard output, and what was written to it.
#[derive(Debug)]
pub(super) struct Output {
    joiner: Joiner,
    out: BufWriter<Stdout>,
    /// Messages that were written and flushed.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl Output {
    pub(super) fn new(way: Way) -> Self {
        Self {
            joiner: Joiner::new(way),
            // Gathers short messages; a long one goes straight through.
            out: BufWriter::with_capacity(64 * 1024, stdout()),
            messages: 0,
            bytes: 0,
        }
    }

    /// Writes, flushes, and then handles all of it; or rejects all of it. Blocks.
    pub(super) fn put(&mut self, items: Vec<Item>) -> Result<(), OutputError> {
        if let Err(error) = self.write(&items) {
            let reason = error.to_string();
            items.into_iter().for_each(|item| item.reject(&reason));
            return Err(error);
        }
        for item in items {
            self.messages += 1;
            self.bytes += item.bytes().len() as u64;
            item.handled();
        }
        Ok(())
    }

    fn write(&mut self, items: &[Item]) -> Result<(), OutputError> {
        for item in items {
            let message = item.bytes();
            let head = self.joiner.head(message.len() as u64)?;
            self.out.write_all(&head)?;
            self.out.write_all(message)?;
            self.out.write_all(self.joiner.tail())?;
        }
        self.out.flush()?;
        Ok(())
    }
}
