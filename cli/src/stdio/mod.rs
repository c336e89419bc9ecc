//! Standard input, output and error: the only way from this program to any of them.
//!
//! The standard library's functions are not enough here. `println!` and `eprintln!` panic if nobody
//! reads or a disk is full. A descriptor that is closed counts as one that takes everything. A
//! descriptor that was made non-blocking, by another program that shares the terminal or the pipe,
//! is an error as soon as it is busy. And the buffers don't show which bytes the system took.
//!
//! - [`tell`] is for people: a line on standard error. If it can't be written, that is no failure
//!   of the program's task, so it is only remembered, and reported when lines can be written again.
//! - [`print()`] is for results on standard output. If they can't be written, that is a failure,
//!   unless their reader has gone and so has seen enough.
//! - [`Stdin`] and [`Stdout`] are the streams themselves, without a buffer. They wait if they are
//!   non-blocking and busy.
//! - [`input`] and [`output`] find a stream that was closed before the program began.
//!
//! `clippy.toml` forbids the standard library's functions everywhere else in this crate.

#[cfg(not(unix))]
mod elsewhere;
mod sink;
#[cfg(unix)]
mod unix;

use std::fmt::Display;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Mutex, PoisonError};

#[cfg(not(unix))]
use elsewhere as system;
#[cfg(unix)]
use unix as system;

use crate::exit::Failure;
pub(crate) use sink::Sink;

/// Standard input, without a buffer.
#[derive(Debug, Default)]
pub struct Stdin(());

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        system::read(buffer)
    }
}

/// Standard output, without a buffer: what `write` returns is what the system took.
#[derive(Debug, Default)]
pub struct Stdout {
    /// Where in its file it began to write, if it has and if it is a file.
    base: Option<u64>,
    taken: u64,
}

impl Stdout {
    /// Takes the last `count` bytes back, if it is a file that nothing else writes to; returns
    /// whether it did.
    pub fn take_back(&mut self, count: u64) -> bool {
        let end = self.base.map(|base| base + self.taken);
        let done = end.is_some_and(|end| count <= self.taken && system::cut(end, end - count));
        if done {
            self.taken -= count;
        }
        done
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = system::write(bytes)?;
        if self.taken == 0 {
            self.base = system::position().and_then(|at| at.checked_sub(count as u64));
        }
        self.taken += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What makes a standard stream unusable from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(unix), expect(dead_code, reason = "only Unix tells"))]
enum Unusable {
    /// It was closed.
    Closed,
    /// It is open for the other direction only.
    WrongWay,
}

/// Returns standard input, if it was open when the program began. A missing input is not the same
/// as an empty one.
///
/// # Errors
/// It was closed, or can't be read from.
pub fn input() -> Result<Stdin, Failure> {
    match system::check_input() {
        Ok(()) => Ok(Stdin(())),
        Err(why) => Err(unusable(
            "standard input",
            why,
            "an empty input is < /dev/null",
        )),
    }
}

/// Returns standard output, if it was open when the program began. Otherwise what is written would
/// be lost silently.
///
/// # Errors
/// It was closed, or can't be written to.
pub fn output() -> Result<Stdout, Failure> {
    match system::check_output() {
        Ok(()) => Ok(Stdout::default()),
        Err(why) => Err(unusable(
            "standard output",
            why,
            "to throw the output away, say > /dev/null",
        )),
    }
}

fn unusable(stream: &str, why: Unusable, instead: &str) -> Failure {
    Failure::files(match why {
        Unusable::Closed => format!("{stream} is closed; {instead}"),
        Unusable::WrongWay => format!("{stream} is open for the other direction alone; {instead}"),
    })
}

/// Makes a write beyond the system's limit for the size of files an ordinary error. Otherwise such
/// a write ends the program on the spot, without a message.
pub fn outlive_file_limits() {
    // The program works without it.
    let _ = system::outlive_file_limits();
}

/// What became of the lines for standard error.
static ERRORS: Mutex<Sink> = Mutex::new(Sink::new());

/// Writes a line for people to standard error, or remembers that it could not.
pub fn tell(line: impl Display) {
    tell_raw(format!("{line}\n").as_bytes());
}

/// Writes a line like [`tell`], but one that includes its newline.
fn tell_raw(line: &[u8]) {
    let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    // There is nowhere left to report it.
    let _ = errors.put(system::stderr(), line);
}

/// Standard error for a log: each write is a line, or several, and succeeds.
#[derive(Debug, Default)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        tell_raw(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes results to standard output. A reader that has gone has seen enough, so that is no error.
///
/// # Errors
/// The system can't write them.
pub fn print(out: &mut Stdout, text: impl Display) -> Result<(), Failure> {
    finish(out.write_all(text.to_string().as_bytes()))
}

/// Returns the failure for results that could not be written, if any.
///
/// # Errors
/// Those of [`print()`].
pub(crate) fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("standard output cannot be written: {error}");
            Err(Failure::failed(message).because(error))
        }
        _ => Ok(()),
    }
}

/// Returns whether standard output shows bold and coloured text.
#[must_use]
pub fn styles_output() -> bool {
    styles(&system::stdout())
}

/// Returns whether standard error shows bold and coloured text.
#[must_use]
pub fn styles_errors() -> bool {
    styles(&system::stderr())
}

fn styles(stream: &impl IsTerminal) -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
