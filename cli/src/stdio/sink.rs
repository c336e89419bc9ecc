//! Lines that may get lost, but not silently.

use std::io;
#[cfg(not(unix))]
use std::io::Write as Target;
#[cfg(unix)]
use std::os::fd::AsFd as Target;
use std::time::Duration;

use super::system;

/// How long a line waits for room. A terminal or a pipe whose reader has stopped must not stop a
/// link.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// What became of the lines so far.
#[derive(Debug)]
pub(crate) struct Sink {
    /// How many lines were lost since the last that was written.
    lost: u64,
    /// The last line was written in part.
    torn: bool,
}

impl Sink {
    pub(crate) const fn new() -> Self {
        Self {
            lost: 0,
            torn: false,
        }
    }

    /// Writes a line, which includes its newline, after a note about those that were lost before
    /// it.
    pub(crate) fn put(&mut self, to: impl Target, line: &[u8]) -> io::Result<()> {
        // One wait is enough for all lines that are lost together.
        let patience = match self.lost {
            0 => WRITE_LIMIT,
            _ => Duration::ZERO,
        };
        let mut text = self.before().into_bytes();
        let start = text.len();
        text.extend_from_slice(line);
        let (taken, result) = system::offer(to, &text, patience);
        if taken >= start {
            self.lost = 0;
        }
        if result.is_err() {
            self.lost += 1;
        }
        if let Some(last) = taken.checked_sub(1) {
            self.torn = text[last] != b'\n';
        }
        result
    }

    fn before(&self) -> String {
        let newline = if self.torn { "\n" } else { "" };
        match self.lost {
            0 => newline.to_owned(),
            1 => format!("{newline}warning: 1 line could not be written here\n"),
            lost => format!("{newline}warning: {lost} lines could not be written here\n"),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    /// Returns a line of `length` bytes.
    fn line(length: usize) -> Vec<u8> {
        let mut line = vec![b'x'; length - 1];
        line.push(b'\n');
        line
    }

    #[test]
    fn a_reader_that_has_stopped_costs_lines_and_is_told_how_many() {
        let (mut reader, writer) = pipe().unwrap();
        let mut sink = Sink::new();
        // More than any pipe holds by default.
        let error = sink.put(&writer, &line(4 << 20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        for _ in 0..3 {
            assert!(sink.put(&writer, b"lost\n").is_err());
        }
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        while sink.put(&writer, b"found\n").is_err() {
            std::thread::yield_now();
        }
        sink.put(&writer, b"as always\n").unwrap();
        drop(writer);
        let text = reading.join().unwrap();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("xxx"));
        let word = lines.next().unwrap();
        let count = word.strip_prefix("warning: ").unwrap();
        let (count, words) = count.split_once(' ').unwrap();
        assert!(count.parse::<u64>().unwrap() >= 4, "{word}");
        assert_eq!(words, "lines could not be written here");
        assert_eq!(lines.collect::<Vec<_>>(), ["found", "as always"]);
    }

    #[test]
    fn a_line_waits_for_room_where_nothing_else_would() {
        let (mut reader, writer) = pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            text.len()
        });
        // More at once than a pipe holds.
        let (taken, result) = system::offer(&writer, &line(4 << 20), Duration::from_secs(3600));
        assert!(taken == 4 << 20 && result.is_ok(), "{taken} {result:?}");
        drop(writer);
        assert_eq!(reading.join().unwrap(), 4 << 20);
    }

    #[test]
    fn a_full_disk_and_a_reader_that_has_gone_are_errors_and_no_panic() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut sink = Sink::new();
        let error = sink.put(&writer, b"one\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let full = std::fs::File::options().write(true).open("/dev/full");
        if let Ok(full) = full {
            let error = sink.put(&full, b"two\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
