//! Links that peers open.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use countersign_driver::{AcceptError, Backlog, Connecting, Limits, LinkError, Registry, Setup};
use mio::{Events, Interest, Poll as Poller, Token};

use crate::connect::{not_made, prepare};
use crate::link::Link;
use crate::runtime;

/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);
const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// Accepts links from any number of peers.
///
/// Handshakes run beside each other, each in its link's thread: a peer that stalls in its
/// handshake holds up nobody else. Dropping the listener closes the socket, so that its address
/// can be bound again at once, and gives up what is not accepted; links that were accepted stay,
/// but their peers can't come back to them any more once a connection is lost.
///
/// A peer that has lost its connection comes back to the link that it has already: that one goes
/// on, and [`Listener::accept`] hears nothing of it.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    hall: Arc<Hall>,
    waker: mio::Waker,
    thread: Option<JoinHandle<()>>,
}

/// Where connections are until the application accepts them.
#[derive(Debug)]
struct Hall {
    state: Mutex<HallState>,
    changed: Condvar,
    half_open: usize,
    /// The links that peers can return to.
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct HallState {
    /// Handshakes under way, links that wait, and refused connections that are not gone yet.
    taken: usize,
    ready: Backlog<(Link, Place)>,
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
            ready: Backlog::new(limits.half_open),
            greeting: BTreeMap::new(),
            closed: false,
        };
        let hall = Arc::new(Hall {
            state: Mutex::new(state),
            changed: Condvar::new(),
            half_open: limits.half_open.max(1),
            registry: Registry::new(limits.sessions, limits.links),
        });
        let doorman = Doorman {
            listener,
            poller,
            setup,
            hall: hall.clone(),
        };
        let thread = thread::Builder::new().name("countersign-listener".to_owned());
        let thread = thread.spawn(move || doorman.run())?;
        Ok(Self {
            address,
            hall,
            waker,
            thread: Some(thread),
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
            if let Some(result) = state.ready.pop() {
                drop(state);
                return result.map(|(link, _place)| link);
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
            if let Some(result) = state.ready.pop() {
                drop(state);
                return Some(result.map(|(link, _place)| link));
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
        let unwanted = state.ready.take_all();
        let greeting = std::mem::take(&mut state.greeting);
        drop(state);
        // Closes the links that nobody accepted.
        drop(unwanted);
        greeting.into_values().for_each(Waker::wake);
        self.hall.changed.notify_all();
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a listener's thread could not be woken");
            return;
        }
        // The thread holds the socket.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a listener's thread panicked");
        }
    }
}

/// One connection's place among those that are half open, given back when dropped.
#[derive(Debug)]
struct Place(Arc<Hall>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
        self.0.changed.notify_all();
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, HallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place for one more connection; false when the listener is gone.
    fn wait_for_place(&self) -> bool {
        let full = |state: &mut HallState| state.taken >= self.half_open && !state.closed;
        let state = self.changed.wait_while(self.lock(), full);
        !state.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Waits until it may be worth trying again, or the listener is gone.
    fn pause(&self) {
        let open = |state: &mut HallState| !state.closed;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), OUT_OF_SOCKETS, open);
        drop(waited);
    }

    /// Takes a place, which [`Self::wait_for_place`] has found.
    fn enter(self: &Arc<Self>) -> Place {
        self.lock().taken += 1;
        Place(self.clone())
    }

    /// Puts the result of a handshake where [`Listener::accept`] finds it.
    fn finish(&self, peer: SocketAddr, result: Result<(Link, Place), AcceptError>) {
        let mut state = self.lock();
        state.greeting.remove(&peer);
        if state.closed {
            // Its place is given back under the same lock.
            drop(state);
            drop(result);
            return;
        }
        state.ready.push(result);
        drop(state);
        self.changed.notify_all();
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
    /// up. The place goes with the link. A refused connection keeps it, so it is given back.
    async fn greet(&self, peer: SocketAddr, connecting: Connecting, place: Place) -> Option<Place> {
        let mut connected = pin!(connecting.accepted());
        let result = poll_fn(|context| match connected.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.is_closed(peer, context.waker()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match result.await {
            // The peer has returned to a link that was accepted before.
            Some(None) => {
                self.lock().greeting.remove(&peer);
                None
            }
            Some(Some(Ok(link))) => {
                self.finish(peer, Ok((Link::new(link), place)));
                None
            }
            Some(Some(Err(error))) => {
                self.finish(peer, Err(AcceptError::new(Some(peer), error)));
                Some(place)
            }
            None => Some(place),
        }
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
    fn run(mut self) {
        let mut events = Events::with_capacity(4);
        while self.hall.wait_for_place() {
            match self.listener.accept() {
                Ok((stream, peer)) => self.welcome(stream.into(), peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.poller.poll(&mut events, None)
                        && error.kind() != io::ErrorKind::Interrupted
                    {
                        tracing::error!(%error, "waiting for connections failed");
                        self.hall.pause();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of file descriptors, or the peer was faster: in time it passes.
                    tracing::warn!(%error, "no connection could be accepted");
                    self.hall.pause();
                }
            }
        }
    }

    fn welcome(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        if let Err(error) = self.start(stream, peer) {
            self.hall
                .finish(peer, Err(AcceptError::new(Some(peer), error)));
        }
    }

    /// Starts a link's thread, which reports the end of the handshake by itself.
    fn start(&self, stream: std::net::TcpStream, peer: SocketAddr) -> Result<(), LinkError> {
        let place = self.hall.enter();
        let (stream, waiting) = prepare(stream, &self.setup)?;
        let made = Connecting::accept(&self.setup, stream, &self.hall.registry);
        let (connecting, driver) = made.map_err(not_made)?;
        let hall = self.hall.clone();
        let greet = async move { hall.greet(peer, connecting, place).await };
        runtime::spawn(driver, waiting, greet).map_err(LinkError::transport)
    }
}
