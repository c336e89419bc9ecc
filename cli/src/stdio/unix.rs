//! Descriptors 0, 1 and 2 on Unix.
//!
//! Before `main`, Rust's runtime opens `/dev/null`, for reading and writing, in place of each of
//! them that is closed. A shell's `> /dev/null` and `< /dev/null` are open for one direction, which
//! distinguishes them from closed ones. A parent that opens `/dev/null` for both directions itself
//! (Python's `subprocess.DEVNULL`, `daemon(3)`) looks the same, and gets the same error.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, ftruncate, seek, stat, tell};
use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;
use rustix::process::Signal;
use rustix::stdio;

use super::Unusable;

/// The time between two tries if the system can't tell when a descriptor is ready, as some can't
/// for terminals.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn read(buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(stdio::stdin(), &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(wait(stdio::stdin(), PollFlags::IN, None)),
            result => return Ok(result?),
        }
    }
}

pub(super) fn write(bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(stdio::stdout(), bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(wait(stdio::stdout(), PollFlags::OUT, None)),
            result => return Ok(result?),
        }
    }
}

/// Returns the position of standard output in its file, if it is one.
pub(super) fn position() -> Option<u64> {
    tell(stdio::stdout()).ok()
}

/// Cuts the file that is standard output back to `to`, if both the file and the position are at
/// `end`; returns whether it did.
pub(super) fn cut(end: u64, to: u64) -> bool {
    let out = stdio::stdout();
    let ends_here = fstat(out).is_ok_and(|file| {
        FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
            && u64::try_from(file.st_size) == Ok(end)
    });
    ends_here
        && position() == Some(end)
        && ftruncate(out, to).is_ok()
        && seek(out, SeekFrom::Start(to)).is_ok()
}

pub(super) fn stdout() -> BorrowedFd<'static> {
    stdio::stdout()
}

pub(super) fn stderr() -> BorrowedFd<'static> {
    stdio::stderr()
}

/// Writes as much of a line as there is room for within `patience`; returns how many bytes the
/// system took, and why not all of them.
pub(super) fn offer(to: impl AsFd, line: &[u8], patience: Duration) -> (usize, io::Result<()>) {
    let deadline = Instant::now() + patience;
    let mut taken = 0;
    while taken < line.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if !wait(to.as_fd(), PollFlags::OUT, Some(left)) {
            return (taken, Err(io::ErrorKind::TimedOut.into()));
        }
        // A pipe that is ready takes that much without blocking.
        let piece = &line[taken..line.len().min(taken + PIPE_BUF)];
        match rustix::io::write(to.as_fd(), piece) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => taken += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return (taken, Err(error.into())),
        }
    }
    (taken, Ok(()))
}

/// Waits until a descriptor is ready or can no longer become so; returns false if the time runs
/// out.
fn wait(fd: BorrowedFd<'_>, flags: PollFlags, time: Option<Duration>) -> bool {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    match poll(&mut fds, time.as_ref()) {
        Ok(0) => false,
        Ok(_) if !fds[0].revents().contains(PollFlags::NVAL) => true,
        Err(Errno::INTR) => true,
        _ => {
            std::thread::sleep(PAUSE);
            true
        }
    }
}

/// Makes a write beyond the largest file that the program may make (`ulimit -f`) an error, as on a
/// full disk, instead of the program's end.
pub(super) fn outlive_file_limits() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    // Nothing waits for it. The handler stays installed when this is dropped.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

pub(super) fn check_input() -> Result<(), Unusable> {
    check(stdio::stdin(), OFlags::WRONLY)
}

pub(super) fn check_output() -> Result<(), Unusable> {
    check(stdio::stdout(), OFlags::RDONLY)
}

fn check(fd: BorrowedFd<'_>, wrong: OFlags) -> Result<(), Unusable> {
    let flags = fcntl_getfl(fd).map_err(|_| Unusable::Closed)?;
    match flags & OFlags::RWMODE {
        mode if mode == wrong => Err(Unusable::WrongWay),
        OFlags::RDWR if is_null(fd) => Err(Unusable::Closed),
        _ => Ok(()),
    }
}

/// Returns whether the descriptor is `/dev/null`.
fn is_null(fd: BorrowedFd<'_>) -> bool {
    let (Ok(this), Ok(null)) = (fstat(fd), stat("/dev/null")) else {
        return false;
    };
    FileType::from_raw_mode(this.st_mode) == FileType::CharacterDevice
        && this.st_rdev == null.st_rdev
}
