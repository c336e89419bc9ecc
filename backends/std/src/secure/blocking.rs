//! A blocking socket with time limits as a transport of the driver.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use countersign_driver::{READ, Timer, Transport};
use countersign_endpoint::Buffer;

/// The system refuses a time-out of zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// A blocking socket. Its methods block, so they return `Pending` only when a time limit has
/// passed: that of a [`Deadline`], or one that the application has set.
#[derive(Debug)]
pub(super) struct Blocking {
    socket: Arc<TcpStream>,
    deadline: Deadline,
    /// The socket's error when its time limit has passed.
    late: Option<io::Error>,
}

/// Until when the calls of a socket may block.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Deadline {
    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

impl Timer for Deadline {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.set(Some(deadline));
        if deadline <= Instant::now() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Blocking {
    pub(super) fn new(socket: TcpStream, deadline: Deadline) -> Self {
        Self {
            socket: Arc::new(socket),
            deadline,
            late: None,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Returns another handle of the socket, for another thread.
    pub(super) fn share(&self) -> Self {
        Self {
            socket: self.socket.clone(),
            deadline: Deadline::default(),
            late: None,
        }
    }

    /// Returns the deadline of this socket.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline.clone()
    }

    /// Converts the result of a blocking call: `Pending` is the socket's time-out.
    pub(super) fn done<R>(&mut self, result: Poll<io::Result<R>>) -> io::Result<R> {
        match result {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let late = self.late.take();
                Err(late.unwrap_or_else(|| io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn call<R>(
        &mut self,
        limit: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut(&TcpStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            if let Some(deadline) = self.deadline.get() {
                let left = deadline.saturating_duration_since(Instant::now());
                limit(&self.socket, Some(left.max(SHORTEST)))?;
            }
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Which of the two depends on the system.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    self.late = Some(error);
                    return Poll::Pending;
                }
                result => return Poll::Ready(result),
            }
        }
    }
}

impl Transport for Blocking {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            self.call(TcpStream::set_read_timeout, |mut socket| socket.read(space))
        })
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| {
            self.call(TcpStream::set_write_timeout, |mut socket| {
                socket.write(bytes)
            })
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

/// The context of calls that block instead of being woken.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Runs a future that blocks when polled, and restores the socket's time-outs.
pub(super) fn run<R>(
    socket: &TcpStream,
    deadline: &Deadline,
    work: impl Future<Output = R>,
) -> io::Result<R> {
    let before = (socket.read_timeout()?, socket.write_timeout()?);
    let mut work = pin!(work);
    let result = loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut context()) {
            break result;
        }
    };
    deadline.set(None);
    socket.set_read_timeout(before.0)?;
    socket.set_write_timeout(before.1)?;
    Ok(result)
}
