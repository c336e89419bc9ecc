//! A small runtime for one thread: its sockets, its timer and its waker, as the shared driver wants
//! them.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use countersign_driver::{Addresses, READ, Timer, Transport};
use countersign_endpoint::Buffer;
use mio::event::Source;
use mio::{Events, Interest, Poll as Poller, Registry, Token};

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// Wakes a thread out of its poller.
struct Alarm(mio::Waker);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "a link's thread could not be woken");
        }
    }
}

thread_local! {
    /// The earliest moment that something waits for in this thread.
    static EARLIEST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Wakes the thread that polls it. What it waits for has to be said with each poll.
pub(crate) struct Clock;

impl Timer for Clock {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let earliest = EARLIEST.get().map_or(deadline, |known| known.min(deadline));
        EARLIEST.set(Some(earliest));
        Poll::Pending
    }
}

/// What a thread waits with.
pub(crate) struct Waiting {
    poller: Poller,
    waker: Waker,
}

impl Waiting {
    /// With the way for sockets to be waited for.
    pub(crate) fn new() -> io::Result<(Self, Arc<Sockets>)> {
        let poller = Poller::new()?;
        let waker = mio::Waker::new(poller.registry(), WAKE)?;
        let waker = Waker::from(Arc::new(Alarm(waker)));
        let sockets = Arc::new(Sockets(poller.registry().try_clone()?));
        Ok((Self { poller, waker }, sockets))
    }

    /// Runs a future to its end in a thread of its own.
    pub(crate) fn spawn(
        self,
        name: &str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned());
        let run = move || {
            // Dropping a driver ends its link as lost.
            if let Err(error) = self.run(future) {
                tracing::error!(%error, "waiting for a socket failed");
            }
        };
        thread.spawn(run).map(drop)
    }

    /// Runs a future to its end in this thread.
    ///
    /// # Errors
    ///
    /// The system can't wait for sockets.
    pub(crate) fn run<R>(self, future: impl Future<Output = R>) -> io::Result<R> {
        // A link's thread may be running already, and call from a handler.
        let outer = EARLIEST.take();
        let result = self.run_alone(future);
        EARLIEST.set(outer);
        result
    }

    fn run_alone<R>(mut self, future: impl Future<Output = R>) -> io::Result<R> {
        let mut future = pin!(future);
        let mut events = Events::with_capacity(4);
        let mut context = Context::from_waker(&self.waker);
        loop {
            EARLIEST.set(None);
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return Ok(result);
            }
            let earliest = EARLIEST.get();
            let left = earliest.map(|at| at.saturating_duration_since(Instant::now()));
            // Every link has such a thread, and most of them wait.
            Buffer::share_spare();
            match self.poller.poll(&mut events, left) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Has a thread wait for sockets.
pub(crate) struct Sockets(Registry);

impl Sockets {
    /// From here on the thread is woken when the socket becomes ready after it was found not to be.
    /// That ends when the socket is closed.
    pub(crate) fn watch(&self, socket: &mut dyn Source) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        socket.register(&self.0, SOCKET, interest)
    }

    /// Ends that while the socket stays open.
    pub(crate) fn forget(&self, socket: &mut dyn Source) -> io::Result<()> {
        socket.deregister(&self.0)
    }
}

/// A stream socket that does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

/// The same for both kinds.
macro_rules! either {
    ($stream:expr, $socket:ident => $work:expr) => {
        match $stream {
            Stream::Tcp($socket) => $work,
            #[cfg(unix)]
            Stream::Unix($socket) => $work,
        }
    };
}

impl Stream {
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        either!(self, socket => socket)
    }
}

// The poller reports a socket whenever it becomes ready after it was found not to be, so `Pending`
// needs no arrangement of its own.
impl Transport for Stream {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            nonblocking(|| either!(self, socket => socket.read(space)))
        })
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| nonblocking(|| either!(self, socket => socket.write(bytes))))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(either!(self, socket => socket.shutdown(Shutdown::Write)))
    }

    fn addresses(&self) -> Addresses {
        either!(self, socket => Addresses::of(socket))
    }
}

/// Makes a call again that was interrupted; `Pending` where it would have to wait.
pub(crate) fn nonblocking<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}
