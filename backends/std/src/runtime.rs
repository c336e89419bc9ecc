//! A thread for each link: its socket, its timer and its waker, as the shared driver wants them.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use countersign_driver::endpoint::Buffer;
use countersign_driver::{Dial, Driver, READ, Transport};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll as Poller, Registry, Token};

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// A non-blocking socket whose readiness the thread's poller reports.
#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

/// Wakes the thread of a link out of its poller.
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

/// What the thread of a link waits with.
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
}

/// Has a link's thread wait for sockets, one after the other.
pub(crate) struct Sockets(Registry);

impl Sockets {
    /// Makes a socket ready to be driven. The one before it was closed, and is forgotten with that.
    pub(crate) fn register(&self, stream: std::net::TcpStream) -> io::Result<Stream> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.0.register(&mut stream, SOCKET, interest)?;
        Ok(Stream(stream))
    }
}

/// Starts the thread that drives a link, and `beside` it a future that the link makes ready. What
/// that gives is kept until the connection is gone.
pub(crate) fn spawn(
    driver: Driver<impl Dial<Transport = Stream> + Send + 'static>,
    waiting: Waiting,
    beside: impl Future<Output: Send> + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("countersign-link".to_owned());
    thread
        .spawn(move || drive(driver, waiting, beside))
        .map(drop)
}

fn drive(mut driver: Driver<impl Dial>, mut waiting: Waiting, beside: impl Future) {
    let mut beside = pin!(beside);
    let mut kept = Poll::Pending;
    let mut events = Events::with_capacity(4);
    let mut context = Context::from_waker(&waiting.waker);
    loop {
        let over = driver.poll(&mut context).is_ready();
        if kept.is_pending() {
            kept = beside.as_mut().poll(&mut context);
        }
        if over {
            break;
        }
        let left = driver
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        match waiting.poller.poll(&mut events, left) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Dropping the driver ends the link as lost.
                tracing::error!(%error, "waiting for a link's socket failed");
                break;
            }
        }
    }
    drop(driver);
    if kept.is_pending() {
        kept = beside.as_mut().poll(&mut context);
    }
    drop(kept);
}

// The poller reports a socket whenever it becomes ready after it was found not to be, so `Pending`
// needs no arrangement of its own.
impl Transport for Stream {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| nonblocking(|| self.0.read(space)))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| nonblocking(|| self.0.write(bytes)))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}

fn nonblocking<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}
