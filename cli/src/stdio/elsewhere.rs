//! The standard streams on systems other than Unix.
//!
//! They block there, except in very unusual programs, and nothing shows whether they were closed
//! when the program began.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::Unusable;

/// The most that is written at once: either all of it is taken, or none of it counts.
const PIECE: usize = 64 * 1024;

#[expect(clippy::disallowed_methods, reason = "this is the module for it")]
pub(super) fn read(buffer: &mut [u8]) -> io::Result<usize> {
    io::stdin().read(buffer)
}

#[expect(clippy::disallowed_methods, reason = "this is the module for it")]
pub(super) fn write(bytes: &[u8]) -> io::Result<usize> {
    let piece = &bytes[..bytes.len().min(PIECE)];
    let mut out = io::stdout();
    // Its buffer must not hold bytes that count as written.
    out.write_all(piece).and_then(|()| out.flush())?;
    Ok(piece.len())
}

pub(super) fn position() -> Option<u64> {
    None
}

pub(super) fn cut(_: u64, _: u64) -> bool {
    false
}

#[expect(clippy::disallowed_methods, reason = "this is the module for it")]
pub(super) fn stdout() -> io::Stdout {
    io::stdout()
}

#[expect(clippy::disallowed_methods, reason = "this is the module for it")]
pub(super) fn stderr() -> io::Stderr {
    io::stderr()
}

pub(super) fn offer(mut to: impl Write, line: &[u8], _: Duration) -> (usize, io::Result<()>) {
    match to.write_all(line).and_then(|()| to.flush()) {
        Ok(()) => (line.len(), Ok(())),
        Err(error) => (0, Err(error)),
    }
}

pub(super) fn outlive_file_limits() -> io::Result<()> {
    Ok(())
}

pub(super) fn check_input() -> Result<(), Unusable> {
    Ok(())
}

pub(super) fn check_output() -> Result<(), Unusable> {
    Ok(())
}
