//! Links over a blocking reader and a blocking writer, with a thread for each.

use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use countersign_core::Role;
use countersign_driver::{LinkError, READ, Setup, Transport, entry, shared_doc};
use countersign_endpoint::Buffer;

use crate::block;
use crate::link::Link;
use crate::runtime::Threads;

/// The most that is passed to the writer at once, in bytes: nothing more urgent can overtake it,
/// and serial lines are slow.
const WRITE: usize = 4 * 1024;

/// Makes a link over a blocking reader and a blocking writer, and waits until the peer has accepted
/// this end: for a serial port, a pair of pipes, or any other stream that is not a socket. One end
/// must be the opener and the other the acceptor. The link ends with the stream.
///
/// Each half has a thread, which waits in its `read` or `write` while the link's thread answers
/// pings and keeps its time limits. Reader and writer must block while there is nothing to do:
/// otherwise their threads spin.
///
/// # When the two threads end
///
/// The reader's thread ends when `read` returns zero bytes, which is the peer's end of the stream,
/// or an error; otherwise once the link no longer needs the stream, as soon as `read` returns. A
/// blocking call cannot be interrupted, so until then that thread remains, and the reader is not
/// dropped. Where that matters, set a time-out on the reader, which serial ports support:
/// [`TimedOut`](io::ErrorKind::TimedOut) and [`WouldBlock`](io::ErrorKind::WouldBlock) are no
/// errors, and `read` is called again as long as there is a link.
///
/// The writer's thread writes and flushes the link's output, and ends when that is complete, or at
/// an error, or once the link has ended and `write` returns. After a time-out it tries again, as
/// the reader's thread does.
///
/// # The end of the stream
///
/// Dropping the writer must end this end's direction, as it does with a pipe. A serial port has no
/// end, and dropping the clone of a socket ends nothing: there each end waits for the other's end
/// for [`Timeouts::linger`](crate::Timeouts::linger) after both have agreed to close, and then
/// drops the stream, which loses nothing. [`Link::close`] and [`Link::ended`] take that long.
///
/// A line that is cut without an error, such as a serial cable, is detected by the peer's silence
/// ([`Timeouts::give_up`](crate::Timeouts::give_up)).
///
#[doc = shared_doc!(as_connect_errors)]
///
/// # Example
///
/// ```
/// use countersign_std::{
///     ReceiveChannel, SendChannel, CloseMode, Config, Role, Security, Setup, link_over_halves,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Plain for the sake of a short example: see `Security::tls` for links that matter.
/// let robot = Config::new().channel(ReceiveChannel::new("commands"));
/// let robot = Setup::new(robot, Security::plaintext())?;
/// let operator = Config::new().channel(SendChannel::new("commands"));
/// let operator = Setup::new(operator, Security::plaintext())?;
///
/// // For a serial port, `try_clone` returns the other half.
/// let (from_operator, to_robot) = std::io::pipe()?;
/// let (from_robot, to_operator) = std::io::pipe()?;
/// let robot = std::thread::spawn(move || {
///     let link = link_over_halves(from_operator, to_operator, Role::Acceptor, &robot).unwrap();
///     let mut commands = link.receiver("commands").unwrap();
///     assert_eq!(commands.recv().unwrap().unwrap(), "forward");
///     assert!(commands.recv().unwrap().is_none());
/// });
/// let link = link_over_halves(from_robot, to_robot, Role::Opener, &operator)?;
/// let receipt = link.sender("commands")?.send("forward")?;
/// assert!(receipt.wait().is_handled());
/// assert!(link.close(CloseMode::Drain).is_orderly());
/// robot.join().unwrap();
/// # Ok(())
/// # }
/// ```
pub fn link_over_halves(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
    role: Role,
    setup: &Setup,
) -> Result<Link, LinkError> {
    let halves = Halves::start(reader, writer).map_err(LinkError::transport)?;
    let connecting = entry::start_over(&Threads::default(), halves, role, setup)?;
    block::on(connecting).map(Link::new)
}

/// A transport whose halves run in threads. Dropping it lets the threads end.
struct Halves {
    reading: Arc<Direction>,
    writing: Arc<Direction>,
}

/// One direction between the link's thread and that of a half.
#[derive(Default)]
struct Direction {
    state: Mutex<State>,
    /// Notifies the thread of the half.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes that were read and not taken yet, or that are to be written.
    bytes: Vec<u8>,
    /// The writer has bytes that it has not written and flushed yet.
    is_busy: bool,
    /// How the half has ended: without an error, or with one.
    ended: Option<io::Result<()>>,
    /// Nothing more is to be written.
    is_shut: bool,
    /// The link no longer needs the stream.
    is_over: bool,
    /// The task that waits in the link's thread.
    waker: Option<Waker>,
}

impl State {
    /// Stores the waker for the half's thread.
    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Returns the error with which the half has ended, if any.
    fn error(&self) -> Option<io::Error> {
        let error = self.ended.as_ref()?.as_ref().err()?;
        // An `io::Error` cannot be cloned; in most cases this is called once.
        Some(io::Error::new(error.kind(), error.to_string()))
    }
}

impl Direction {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in the half's thread while the condition holds.
    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state in the half's thread, and wakes the link's thread.
    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

/// Reports to the link's thread how a half has ended, even by a panic.
struct EndReporter<'l> {
    direction: &'l Direction,
    result: io::Result<()>,
}

impl<'l> EndReporter<'l> {
    fn of(direction: &'l Direction) -> Self {
        let result = Err(io::Error::other("half of the stream has panicked"));
        Self { direction, result }
    }
}

impl Drop for EndReporter<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        self.direction.update(|state| state.ended = Some(result));
    }
}

/// Whether a blocking call is to be repeated after this error.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Reads until the end, an error, or the link no longer needs the stream.
fn read_all(direction: &Direction, reader: &mut impl Read) -> io::Result<()> {
    let mut piece = vec![0; READ];
    while !direction.is_over() {
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if is_transient(&error) => continue,
            Err(error) => return Err(error),
        };
        // The next piece is read when this one was taken.
        drop(direction.wait_while(|state| !state.bytes.is_empty() && !state.is_over));
        direction.update(|state| state.bytes.extend_from_slice(&piece[..count]));
    }
    Ok(())
}

/// Writes until everything is written, an error, or the link no longer needs the stream.
fn write_all(direction: &Direction, writer: &mut impl Write) -> io::Result<()> {
    loop {
        let idle = |state: &State| state.bytes.is_empty() && !state.is_shut && !state.is_over;
        let mut state = direction.wait_while(idle);
        if state.is_over || state.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut state.bytes);
        drop(state);
        let mut left = &bytes[..];
        while !left.is_empty() && !direction.is_over() {
            match writer.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => left = &left[count..],
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while let Err(error) = writer.flush() {
            if !is_transient(&error) {
                return Err(error);
            }
            if direction.is_over() {
                return Ok(());
            }
        }
        direction.update(|state| state.is_busy = false);
    }
}

impl Halves {
    fn start(
        mut reader: impl Read + Send + 'static,
        mut writer: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        // If the second thread cannot be spawned, dropping this ends the first.
        let halves = Self {
            reading: Arc::default(),
            writing: Arc::default(),
        };
        let direction = halves.reading.clone();
        let read = move || {
            let mut reporter = EndReporter::of(&direction);
            reporter.result = read_all(&direction, &mut reader);
        };
        let direction = halves.writing.clone();
        let write = move || {
            let mut reporter = EndReporter::of(&direction);
            reporter.result = write_all(&direction, &mut writer);
            // Ends the direction before the link is notified.
            drop(writer);
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("countersign-reader").spawn(read)?;
        named("countersign-writer").spawn(write)?;
        Ok(halves)
    }
}

impl Transport for Halves {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.reading.lock();
        let count = state.bytes.len();
        if count > 0 {
            buffer.space(count)[..count].copy_from_slice(&state.bytes);
            buffer.commit(count);
            state.bytes.clear();
            self.reading.changed.notify_one();
            return Poll::Ready(Ok(count));
        }
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        match state.ended {
            Some(_) => Poll::Ready(Ok(0)),
            None => state.wait(context),
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.writing.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        if state.is_busy {
            return state.wait(context);
        }
        let count = buffer.filled().len().min(WRITE);
        state.bytes.extend_from_slice(&buffer.filled()[..count]);
        state.is_busy = true;
        self.writing.changed.notify_one();
        buffer.consume(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.writing.lock();
        match state.error() {
            Some(error) => Poll::Ready(Err(error)),
            None if state.is_busy => state.wait(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.writing.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        state.is_shut = true;
        self.writing.changed.notify_one();
        match state.ended {
            Some(_) => Poll::Ready(Ok(())),
            None => state.wait(context),
        }
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for direction in [&self.reading, &self.writing] {
            direction.lock().is_over = true;
            direction.changed.notify_one();
        }
    }
}
