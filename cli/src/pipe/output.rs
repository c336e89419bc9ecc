//! The output stream: messages are handled only once they are written.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use bytes::Bytes;
use countersign::Delivery;

use crate::split::{JoinError, Joiner, Way};
use crate::stdio::Stdout;
use crate::words::count;

/// The code of the rejection of messages that could not be written.
const NOT_WRITTEN: u32 = 1;

/// How many bytes of short messages are gathered before they are written.
const GATHERED: usize = 64 * 1024;

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// The messages don't go into one stream in the way that `--split` says.
    #[error("{0}; choose another --split")]
    Join(#[from] JoinError),
    /// The reader of the output has gone.
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
    /// It is not handled yet.
    Manual(Delivery),
    /// It was handled when it was taken.
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

/// What has left this program, for a caller that waits for a write that does not end.
#[derive(Debug, Default)]
pub(super) struct Written {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Written {
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = count(self.messages(), "message");
        let bytes = count(self.bytes.load(Ordering::Relaxed), "byte");
        write!(f, "received {messages}, {bytes}")
    }
}

/// Writes messages one after another, and settles each by how much of it the system took.
#[derive(Debug)]
pub(super) struct Output<W> {
    joiner: Joiner,
    out: W,
    /// Short messages that were not given to the system yet.
    gathered: Vec<u8>,
    /// How many bytes were to be written, and how many the system took.
    added: u64,
    taken: u64,
    /// Where the last message that was handled ends.
    settled: u64,
    written: Arc<Written>,
}

/// A destination for messages.
pub(super) trait Target: Write {
    /// Takes the last `count` bytes back if possible; returns whether it did.
    fn take_back(&mut self, count: u64) -> bool;
}

impl Target for Stdout {
    fn take_back(&mut self, count: u64) -> bool {
        Stdout::take_back(self, count)
    }
}

impl<W: Target> Output<W> {
    pub(super) fn new(way: Way, out: W, written: Arc<Written>) -> Self {
        Self {
            joiner: Joiner::new(way),
            out,
            gathered: Vec::with_capacity(GATHERED),
            added: 0,
            taken: 0,
            settled: 0,
            written,
        }
    }

    /// Writes all items. Each message is handled as soon as the system took all of it; after an
    /// error the others are rejected. Blocks.
    pub(super) fn put(&mut self, items: Vec<Item>) -> Result<(), OutputError> {
        // Each item with its end, in bytes of the stream.
        let mut waiting: VecDeque<(u64, Item)> = VecDeque::new();
        let mut items = items.into_iter();
        let result = self.write(&mut items, &mut waiting);
        self.settle(&mut waiting);
        if let Err(error) = &result {
            self.mend(error);
            let reason = error.to_string();
            let others = waiting.into_iter().map(|(_, item)| item).chain(items);
            others.for_each(|item| item.reject(&reason));
        }
        result
    }

    fn write(
        &mut self,
        items: &mut vec::IntoIter<Item>,
        waiting: &mut VecDeque<(u64, Item)>,
    ) -> Result<(), OutputError> {
        for item in items {
            let message = item.bytes();
            let head = match self.joiner.head(message.len() as u64) {
                Ok(head) => head,
                Err(error) => {
                    // It is not part of the stream, but the messages before it are.
                    waiting.push_back((u64::MAX, item));
                    self.flush()?;
                    return Err(error.into());
                }
            };
            self.added += (head.len() + message.len()) as u64;
            let added = self.add(&head).and_then(|()| self.add(message));
            waiting.push_back((self.added, item));
            added?;
            self.settle(waiting);
        }
        self.flush()?;
        Ok(())
    }

    /// Makes the output end with a message that was handled. If the beginning of another can't be
    /// taken back, logs that.
    fn mend(&mut self, error: &OutputError) {
        let torn = self.taken - self.settled;
        if torn == 0 {
            return;
        }
        if self.out.take_back(torn) {
            self.taken = self.settled;
        } else if !matches!(error, OutputError::Closed(_)) {
            let torn = count(torn, "byte");
            tracing::warn!("the output ends with {torn} of a message that was not handled");
        }
    }

    /// Gathers short pieces, and writes a long one directly.
    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.gathered.len() + piece.len() > GATHERED {
            self.flush()?;
        }
        if piece.len() > GATHERED {
            return hand_over(&mut self.out, piece, &mut self.taken);
        }
        self.gathered.extend_from_slice(piece);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = hand_over(&mut self.out, &self.gathered, &mut self.taken);
        self.gathered.clear();
        result
    }

    /// Handles the messages that the system took completely.
    fn settle(&mut self, waiting: &mut VecDeque<(u64, Item)>) {
        while waiting.front().is_some_and(|(end, _)| *end <= self.taken) {
            if let Some((end, item)) = waiting.pop_front() {
                self.settled = end;
                self.written.count(item.bytes().len());
                item.handled();
            }
        }
    }
}

/// Writes all bytes, and counts those that the system takes, also if it does not take all.
fn hand_over(out: &mut impl Write, mut bytes: &[u8], taken: &mut u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                *taken += count as u64;
                bytes = &bytes[count..];
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for a limited number of bytes, which takes a few at a time.
    struct Disk {
        holds: Vec<u8>,
        room: usize,
        at_once: usize,
        takes_back: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes
                .len()
                .min(self.room - self.holds.len())
                .min(self.at_once);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.holds.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Disk {
        fn take_back(&mut self, count: u64) -> bool {
            if self.takes_back {
                let count = usize::try_from(count).unwrap();
                self.holds.truncate(self.holds.len() - count);
            }
            self.takes_back
        }
    }

    /// Returns how many messages count as written, and what was written.
    fn put(
        way: Way,
        messages: &[Vec<u8>],
        (room, at_once, takes_back): (usize, usize, bool),
    ) -> (u64, Vec<u8>, bool) {
        let written = Arc::new(Written::default());
        let disk = Disk {
            holds: Vec::new(),
            room,
            at_once,
            takes_back,
        };
        let mut output = Output::new(way, disk, written.clone());
        let items = messages.iter().cloned().map(Bytes::from).map(Item::Auto);
        let result = output.put(items.collect());
        let count = written.messages.load(Ordering::Relaxed);
        (count, output.out.holds, result.is_ok())
    }

    #[test]
    fn as_many_are_handled_as_were_written_whole() {
        let short = vec![b'x'; 10];
        let long = vec![b'y'; GATHERED + 1];
        let messages = [short.clone(), long.clone(), Vec::new(), short.clone(), long];
        for (way, head) in [(Way::Lines, 0), (Way::Length, 4)] {
            // The end of each message in the stream.
            let ends: Vec<usize> = messages
                .iter()
                .scan(0, |end, message| {
                    *end += head + message.len();
                    Some(*end)
                })
                .collect();
            let all = ends[ends.len() - 1];
            for end in ends.iter().copied() {
                for room in [end.saturating_sub(1), end, end + 1] {
                    for disk in [
                        (room, 7, true),
                        (room, GATHERED, false),
                        (room, usize::MAX, true),
                    ] {
                        let (count, holds, good) = put(way, &messages, disk);
                        let whole = ends.iter().filter(|end| **end <= room);
                        assert_eq!(count, whole.clone().count() as u64, "{way:?}, {disk:?}");
                        let whole = whole.max().copied().unwrap_or(0);
                        let expected = if disk.2 { whole } else { room.min(all) };
                        assert_eq!(holds.len(), expected, "{way:?}, {disk:?}");
                        assert_eq!(good, room >= all);
                    }
                }
            }
        }
    }

    #[test]
    fn what_comes_before_a_message_that_does_not_fit_is_written() {
        let messages = [b"one".to_vec(), b"two".to_vec()];
        let (count, holds, good) = put(Way::Whole, &messages, (100, 100, true));
        assert_eq!((count, &holds[..], good), (1, &b"one"[..], false));
    }
}
