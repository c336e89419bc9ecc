//! The event loop of a thread, which waits for its sockets, for timers and for wake-ups.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use countersign_endpoint::Buffer;
use mio::event::Source;
use mio::{Events, Interest, Poll as Poller, Token};

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// Wakes a thread out of its poller.
struct Interrupt(mio::Waker);

impl Wake for Interrupt {
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
    /// The poller of the future that runs in this thread.
    static POLLER: RefCell<Option<Poller>> = const { RefCell::new(None) };
    /// The earliest deadline that it waits for.
    static EARLIEST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A sleep until a deadline, in a thread with an event loop. Each poll sets the deadline for the
/// next wait.
pub(crate) struct Sleep(pub(crate) Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 <= Instant::now() {
            return Poll::Ready(());
        }
        let earliest = EARLIEST.get().map_or(self.0, |known| known.min(self.0));
        EARLIEST.set(Some(earliest));
        Poll::Pending
    }
}

/// Registers the socket with this thread's poller: from now on the thread is woken when the socket
/// becomes ready after it was found not to be, until the socket is closed.
pub(crate) fn watch(socket: &mut dyn Source) -> io::Result<()> {
    with_poller(|poller| {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poller.registry().register(socket, SOCKET, interest)
    })
}

/// Deregisters the socket, which stays open.
pub(crate) fn unwatch(socket: &mut dyn Source) -> io::Result<()> {
    with_poller(|poller| poller.registry().deregister(socket))
}

fn with_poller<R>(work: impl FnOnce(&mut Poller) -> io::Result<R>) -> io::Result<R> {
    POLLER.with_borrow_mut(|poller| match poller {
        Some(poller) => work(poller),
        None => Err(io::Error::other("this thread does not wait for sockets")),
    })
}

/// A poller and its waker, for one thread.
pub(crate) struct EventLoop {
    poller: Poller,
    waker: Waker,
}

impl EventLoop {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = mio::Waker::new(poller.registry(), WAKE)?;
        let waker = Waker::from(Arc::new(Interrupt(waker)));
        Ok(Self { poller, waker })
    }

    /// Runs a future to completion in a new thread.
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

    /// Runs a future to completion in this thread.
    ///
    /// # Errors
    ///
    /// The system cannot wait for sockets.
    pub(crate) fn run<R>(self, future: impl Future<Output = R>) -> io::Result<R> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(&self.waker);
        let mut events = Events::with_capacity(4);
        let _outer = Outer::suspend(self.poller);
        loop {
            EARLIEST.set(None);
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return Ok(result);
            }
            let earliest = EARLIEST.get();
            let left = earliest.map(|at| at.saturating_duration_since(Instant::now()));
            // Every link has such a thread, and most of them are waiting.
            Buffer::share_spare();
            match with_poller(|poller| poller.poll(&mut events, left)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The state of an outer call in this thread, if this one is made from a handler. Restored when it
/// is dropped.
struct Outer {
    poller: Option<Poller>,
    earliest: Option<Instant>,
}

impl Outer {
    fn suspend(inner: Poller) -> Self {
        Self {
            poller: POLLER.replace(Some(inner)),
            earliest: EARLIEST.take(),
        }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        let inner = POLLER.replace(self.poller.take());
        EARLIEST.set(self.earliest);
        drop(inner);
    }
}
