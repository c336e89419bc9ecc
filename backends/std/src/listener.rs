//! Links that peers open.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use countersign_driver::core::Role;
use countersign_driver::{AcceptError, Connecting, Limits, LinkError, Setup};
use mio::{Events, Interest, Poll as Poller, Token};

use crate::connect::prepare;
use crate::link::Link;
use crate::runtime;

/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);
const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// Accepts links from any number of peers.
///
/// Handshakes run beside each other, each in its link's thread: a peer that stalls in its
/// handshake holds up nobody else. Dropping the listener closes the socket and gives up what is
/// not accepted; links that were accepted stay.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    hall: Arc<Hall>,
    waker: mio::Waker,
}

/// Where connections are until the application accepts them.
#[derive(Debug)]
struct Hall {
    state: Mutex<HallState>,
    changed: Condvar,
}

#[derive(Debug)]
struct HallState {
    /// Handshakes under way and results that wait.
    taken: usize,
    ready: VecDeque<Result<Link, AcceptError>>,
    /// Handshakes under way, to be woken when the listener goes.
    greeting: BTreeMap<SocketAddr, Waker>,
    closed: bool,
}

impl Listener {
    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// What the operating system says, that the address is in use, say.
    pub fn bind(address: impl ToSocketAddrs, setup: Setup) -> io::Result<Self> {
        Self::bind_with(address, setup, Limits::default())
    }

    /// Listens with other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As for [`Listener::bind`].
    pub fn bind_with(
        address: impl ToSocketAddrs,
        setup: Setup,
        limits: Limits,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        let poller = Poller::new()?;
        poller
            .registry()
            .register(&mut listener, SOCKET, Interest::READABLE)?;
        let waker = mio::Waker::new(poller.registry(), WAKE)?;
        let state = HallState {
            taken: 0,
            ready: VecDeque::new(),
            greeting: BTreeMap::new(),
            closed: false,
        };
        let hall = Arc::new(Hall {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let doorman = Doorman {
            listener,
            poller,
            setup,
            hall: hall.clone(),
        };
        let half_open = limits.half_open.max(1);
        let thread = thread::Builder::new().name("countersign-listener".to_owned());
        thread.spawn(move || doorman.run(half_open))?;
        Ok(Self {
            address,
            hall,
            waker,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next peer that was accepted, or refused.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] tells about one connection that did not become a link. The listener goes
    /// on.
    pub fn accept(&self) -> Result<Link, AcceptError> {
        let mut state = self.hall.lock();
        loop {
            if let Some(result) = self.hall.leave(&mut state) {
                return result;
            }
            state = self
                .hall
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next peer, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// As for [`Listener::accept`].
    pub fn accept_timeout(&self, limit: Duration) -> Option<Result<Link, AcceptError>> {
        let started = Instant::now();
        let mut state = self.hall.lock();
        loop {
            if let Some(result) = self.hall.leave(&mut state) {
                return Some(result);
            }
            let left = limit.checked_sub(started.elapsed())?;
            let waited = self.hall.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.hall.lock();
        state.closed = true;
        let unwanted = std::mem::take(&mut state.ready);
        let greeting = std::mem::take(&mut state.greeting);
        drop(state);
        // Closes the links that nobody accepted.
        drop(unwanted);
        greeting.into_values().for_each(Waker::wake);
        self.hall.changed.notify_all();
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a listener's thread could not be woken");
        }
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, HallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place for one more connection; false when the listener is gone.
    fn wait_for_place(&self, half_open: usize) -> bool {
        let full = |state: &mut HallState| state.taken >= half_open && !state.closed;
        let state = self.changed.wait_while(self.lock(), full);
        !state.unwrap_or_else(PoisonError::into_inner).closed
    }

    fn enter(&self) {
        self.lock().taken += 1;
    }

    /// Puts the result of a handshake where [`Listener::accept`] finds it.
    fn finish(&self, peer: SocketAddr, result: Result<Link, AcceptError>) {
        let mut state = self.lock();
        state.greeting.remove(&peer);
        if !state.closed {
            state.ready.push_back(result);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Whether the listener is gone; if not, the waker is woken when it goes.
    fn is_closed(&self, peer: SocketAddr, waker: &Waker) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.greeting.insert(peer, waker.clone());
        }
        state.closed
    }

    /// Waits for the end of a handshake; dropping it when the listener goes gives the connection
    /// up.
    async fn greet(&self, peer: SocketAddr, connecting: Connecting) {
        let mut connected = pin!(connecting.connected());
        let result = poll_fn(|context| match connected.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.is_closed(peer, context.waker()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(result) = result.await {
            let result = result.map(Link::new);
            self.finish(
                peer,
                result.map_err(|error| AcceptError::new(Some(peer), error)),
            );
        }
    }

    fn leave(&self, state: &mut HallState) -> Option<Result<Link, AcceptError>> {
        let result = state.ready.pop_front()?;
        state.taken -= 1;
        self.changed.notify_all();
        Some(result)
    }
}

/// The listener's thread.
struct Doorman {
    listener: mio::net::TcpListener,
    poller: Poller,
    setup: Setup,
    hall: Arc<Hall>,
}

impl Doorman {
    fn run(mut self, half_open: usize) {
        let mut events = Events::with_capacity(4);
        while self.hall.wait_for_place(half_open) {
            match self.listener.accept() {
                Ok((stream, peer)) => self.welcome(stream.into(), peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.poller.poll(&mut events, None)
                        && error.kind() != io::ErrorKind::Interrupted
                    {
                        tracing::error!(%error, "waiting for connections failed");
                        thread::sleep(OUT_OF_SOCKETS);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of file descriptors, or the peer was faster: in time it passes.
                    tracing::warn!(%error, "no connection could be accepted");
                    thread::sleep(OUT_OF_SOCKETS);
                }
            }
        }
    }

    fn welcome(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        self.hall.enter();
        if let Err(error) = self.start(stream, peer) {
            self.hall
                .finish(peer, Err(AcceptError::new(Some(peer), error)));
        }
    }

    /// Starts a link's thread, which reports the end of the handshake by itself.
    fn start(&self, stream: std::net::TcpStream, peer: SocketAddr) -> Result<(), LinkError> {
        let (connecting, driver, waiting) = prepare(stream, Role::Acceptor, &self.setup)?;
        let hall = self.hall.clone();
        let greet = async move { hall.greet(peer, connecting).await };
        runtime::spawn(driver, waiting, greet).map_err(LinkError::transport)
    }
}
