//! Standard input, output and error: the only way from this program to any of them.
//!
//! The standard library's own way does not do here. `println!` and `eprintln!` panic where nobody
//! reads or a disk is full. A descriptor that is closed counts as one that takes everything. A
//! descriptor that was made non-blocking, by whoever shares the terminal or the pipe, is an error as
//! soon as it is busy. And its buffers don't tell which bytes the system took.
//!
//! - [`tell`] is for people: a line on standard error. That it can't be written is no failure of what
//!   the program was asked for, so it is only remembered, and told when lines can be written again.
//! - [`print()`] is for results on standard output. That they can't be written is a failure, unless
//!   their reader has gone and so has seen enough.
//! - [`Stdin`] and [`Stdout`] are the streams themselves, without a buffer. They wait where they are
//!   non-blocking and busy.
//! - [`input`] and [`output`] find a stream that was closed before the program began.
//!
//! `clippy.toml` keeps everything else in this crate from the standard library's way.

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
    /// Where in its file it began to write, once it has, if it is a file at all.
    base: Option<u64>,
    taken: u64,
}

impl Stdout {
    /// Takes the last `count` bytes back, if it is a file and nobody else writes to it: returns
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

/// What keeps a standard stream from use from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(unix), expect(dead_code, reason = "only Unix tells"))]
enum Unusable {
    /// It was closed.
    Closed,
    /// It is open for the other direction alone.
    WrongWay,
}

/// Standard input, if it was open when the program began. That nobody gave an input is not the same
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

/// Standard output, if it was open when the program began. Otherwise what is written would go nowhere
/// without a word.
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

/// Makes a write that is beyond a limit of the system's an error like any other. Without it, such a
/// write ends the program where it stands, and nobody is told.
pub fn outlive_file_limits() {
    // The program works without.
    let _ = system::outlive_file_limits();
}

/// What became of lines for standard error.
static ERRORS: Mutex<Sink> = Mutex::new(Sink::new());

/// Writes a line for people to standard error, or remembers that it could not.
pub fn tell(line: impl Display) {
    tell_raw(format!("{line}\n").as_bytes());
}

/// The same, for a line that ends with its newline.
fn tell_raw(line: &[u8]) {
    let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    // Where should it be told?
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

/// Writes results to standard output. A reader that has gone has seen enough.
///
/// # Errors
/// The system can't write them.
pub fn print(out: &mut Stdout, text: impl Display) -> Result<(), Failure> {
    finish(out.write_all(text.to_string().as_bytes()))
}

/// What is to be said of results, from how writing them ended.
///
/// # Errors
/// As [`print()`].
pub(crate) fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("standard output cannot be written: {error}");
            Err(Failure::failed(message).because(error))
        }
        _ => Ok(()),
    }
}

/// Whether bold and coloured text is shown as such on standard output.
#[must_use]
pub fn styles_output() -> bool {
    styles(&system::stdout())
}

/// Whether bold and coloured text is shown as such on standard error.
#[must_use]
pub fn styles_errors() -> bool {
    styles(&system::stderr())
}

fn styles(stream: &impl IsTerminal) -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
