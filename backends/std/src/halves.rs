//! Links over what only blocks: a reader and a writer, with a thread for each.

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

/// How much is with the writer at once, in bytes: what is there can't be overtaken by anything more
/// urgent, and a serial line takes its time.
const WRITE: usize = 4 * 1024;

/// Makes a link over a reader and a writer that block, and waits until the peer has accepted this
/// end: for a serial port, a pair of pipes, or anything else that is no socket. Of the two ends one
/// must be the opener and one the acceptor. The link ends with the stream.
///
/// Each half has a thread, which waits in its `read` or `write` while the link's own thread answers
/// pings and keeps its time limits. What both do when they have nothing to do is to block: of a
/// reader or writer that does not, a thread would turn in circles.
///
/// # What ends the two threads
///
/// The reader's thread ends when `read` gives zero bytes, which is the peer's end of the stream, or an
/// error; and otherwise once the link is done with the stream, as soon as `read` returns. A call that
/// blocks can't be broken off, so until then that thread is there, and the reader is not dropped.
/// Where that matters, give the reader a time-out, as serial ports have one:
/// [`TimedOut`](io::ErrorKind::TimedOut) and [`WouldBlock`](io::ErrorKind::WouldBlock) end nothing,
/// and are followed by the next `read` as long as there is a link.
///
/// The writer's thread writes and flushes what the link has said, and ends when that is all, or at an
/// error, or once the link is done and `write` returns. With a time-out it tries again, as the
/// reader's does.
///
/// # The end of the stream
///
/// Dropping the writer is what tells the peer that this end has said all. A pipe's does. A serial port
/// has no end, and what was cloned of a socket ends nothing when it is dropped: there each end waits
/// for the other's end for [`Timeouts::linger`](crate::Timeouts::linger) after both have agreed
/// to close, and then lets go, which loses nothing. [`Link::close`] and [`Link::ended`] take that
/// long.
///
/// A line that is cut without an error, a serial cable, say, is found by the peer's silence
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
/// // Of a serial port, `try_clone` gives the other half.
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

/// A transport whose halves are in threads. Dropping it lets them end.
struct Halves {
    reading: Arc<Lane>,
    writing: Arc<Lane>,
}

/// One direction between the link's thread and that of a half.
#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    /// For the thread of the half.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What was read and not taken, or is to be written.
    bytes: Vec<u8>,
    /// What the writer was given and has not written and flushed.
    is_busy: bool,
    /// How the half has ended: without an error, or with one.
    ended: Option<io::Result<()>>,
    /// Nothing more is to be written.
    is_shut: bool,
    /// The link is done with the stream.
    is_over: bool,
    /// Who waits in the link's thread.
    waker: Option<Waker>,
}

impl State {
    /// Leaves the waker for the half's thread.
    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Why the half has ended, if by an error.
    fn error(&self) -> Option<io::Error> {
        let error = self.ended.as_ref()?.as_ref().err()?;
        // An error can't be cloned, and its words are asked for once in most cases.
        Some(io::Error::new(error.kind(), error.to_string()))
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in the half's thread, until there is something to do.
    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.lock();
        let waited = self.changed.wait_while(state, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something in the half's thread, and wakes that of the link.
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

/// Tells the link's thread how a half has ended, also by a panic.
struct Ending<'l> {
    lane: &'l Lane,
    result: io::Result<()>,
}

impl<'l> Ending<'l> {
    fn of(lane: &'l Lane) -> Self {
        let result = Err(io::Error::other("half of the stream has panicked"));
        Self { lane, result }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        self.lane.update(|state| state.ended = Some(result));
    }
}

/// Whether a call that blocks is to be made again.
fn is_to_be_repeated(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Reads until the end, an error, or nobody wants more.
fn read_all(lane: &Lane, reader: &mut impl Read) -> io::Result<()> {
    let mut piece = vec![0; READ];
    while !lane.is_over() {
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if is_to_be_repeated(&error) => continue,
            Err(error) => return Err(error),
        };
        // The next piece is read when this one was taken.
        drop(lane.wait_while(|state| !state.bytes.is_empty() && !state.is_over));
        lane.update(|state| state.bytes.extend_from_slice(&piece[..count]));
    }
    Ok(())
}

/// Writes until that was all, an error, or nobody wants more.
fn write_all(lane: &Lane, writer: &mut impl Write) -> io::Result<()> {
    loop {
        let idle = |state: &State| state.bytes.is_empty() && !state.is_shut && !state.is_over;
        let mut state = lane.wait_while(idle);
        if state.is_over || state.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut state.bytes);
        drop(state);
        let mut left = &bytes[..];
        while !left.is_empty() && !lane.is_over() {
            match writer.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => left = &left[count..],
                Err(error) if is_to_be_repeated(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while let Err(error) = writer.flush() {
            if !is_to_be_repeated(&error) {
                return Err(error);
            }
            if lane.is_over() {
                return Ok(());
            }
        }
        lane.update(|state| state.is_busy = false);
    }
}

impl Halves {
    fn start(
        mut reader: impl Read + Send + 'static,
        mut writer: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        // If the second thread is not to be had, dropping this ends the first.
        let halves = Self {
            reading: Arc::default(),
            writing: Arc::default(),
        };
        let lane = halves.reading.clone();
        let read = move || {
            let mut ending = Ending::of(&lane);
            ending.result = read_all(&lane, &mut reader);
        };
        let lane = halves.writing.clone();
        let write = move || {
            let mut ending = Ending::of(&lane);
            ending.result = write_all(&lane, &mut writer);
            // The peer is told before the link is.
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
        for lane in [&self.reading, &self.writing] {
            lane.lock().is_over = true;
            lane.changed.notify_one();
        }
    }
}
