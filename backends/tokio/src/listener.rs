//! Links that peers open.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_driver::{
    AcceptError, Backlog, Connecting, Limits, Link, LinkError, Registry, Setup, prepare_socket,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::connect::run;
use crate::runtime::Stream;

/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Accepts links from any number of peers.
///
/// Handshakes run beside each other and beside [`Listener::accept`]: a peer that stalls in its
/// handshake holds up nobody else.
///
/// Dropping the listener gives up what is not accepted, and has the runtime close the socket
/// soon, at the latest when it next comes round to the task that holds it: use
/// [`Listener::close`] to know when the address can be bound again. Links that were accepted
/// stay, but their peers can't come back to them any more once a connection is lost.
///
/// A peer that has lost its connection comes back to the link that it has already: that one goes
/// on, and [`Listener::accept`] hears nothing of it.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    hall: Arc<Hall>,
    accepting: JoinHandle<()>,
}

/// Where connections are until the application accepts them.
#[derive(Debug)]
struct Hall {
    state: Mutex<HallState>,
    /// Something came into `ready`, or nothing will any more.
    arrived: Notify,
    /// The listener is gone.
    gone: Notify,
    places: Arc<Semaphore>,
    /// The links that peers can return to.
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct HallState {
    ready: Backlog<Greeted>,
    closed: bool,
}

/// A link, with its place among the half-open connections until it is accepted.
type Greeted = (Link, OwnedSemaphorePermit);

impl Listener {
    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// What the operating system says, that the address is in use, say.
    pub async fn bind(address: impl ToSocketAddrs, setup: Setup) -> io::Result<Self> {
        Self::bind_with(address, setup, Limits::default()).await
    }

    /// Listens with other limits than the default ones.
    ///
    /// # Errors
    ///
    /// As for [`Listener::bind`].
    pub async fn bind_with(
        address: impl ToSocketAddrs,
        setup: Setup,
        limits: Limits,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let half_open = limits.half_open.clamp(1, Semaphore::MAX_PERMITS);
        let hall = Arc::new(Hall {
            state: Mutex::new(HallState {
                ready: Backlog::new(half_open),
                closed: false,
            }),
            arrived: Notify::new(),
            gone: Notify::new(),
            places: Arc::new(Semaphore::new(half_open)),
            registry: Registry::new(limits.sessions, limits.links),
        });
        let accepting = tokio::spawn(accept_all(listener, setup, Doors(hall.clone())));
        Ok(Self {
            address,
            hall,
            accepting,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next peer that was accepted, or refused.
    ///
    /// Cancel-safe: a link is taken only when the future is ready.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] tells about one connection that did not become a link. The listener goes
    /// on.
    pub async fn accept(&self) -> Result<Link, AcceptError> {
        loop {
            // Hears of everything from here on, so nothing is missed between looking and waiting.
            let arrived = self.hall.arrived.notified();
            let (next, closed) = self.hall.next();
            if let Some(result) = next {
                return result.map(|(link, _place)| link);
            }
            if closed {
                // The accepting task ends only when this listener is dropped, or with the runtime.
                let error = LinkError::transport(io::ErrorKind::NotConnected.into());
                return Err(AcceptError::new(None, error));
            }
            arrived.await;
        }
    }

    /// Closes the socket and gives up what is not accepted, as dropping the listener does, and
    /// waits until the address can be bound again.
    pub async fn close(mut self) {
        self.accepting.abort();
        // Cancelled, or over with the runtime: either way the task is gone, and its socket too.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listener {
    /// Gives up what is not accepted at once; the socket is closed soon after.
    fn drop(&mut self) {
        self.accepting.abort();
        self.hall.close();
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, HallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits longest to be accepted, and whether nothing more will come.
    fn next(&self) -> (Option<Result<Greeted, AcceptError>>, bool) {
        let mut state = self.lock();
        (state.ready.pop(), state.closed)
    }

    /// Puts the result of a handshake where [`Listener::accept`] finds it, unless nobody wants to
    /// know.
    fn finish(&self, result: Result<Greeted, AcceptError>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.ready.push(result);
        drop(state);
        self.arrived.notify_waiters();
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let unwanted = state.ready.take_all();
        drop(state);
        // Closes the links that nobody accepted.
        drop(unwanted);
        self.gone.notify_waiters();
        self.arrived.notify_waiters();
    }

    /// Waits until the listener is gone.
    async fn closed(&self) {
        let gone = self.gone.notified();
        if !self.lock().closed {
            gone.await;
        }
    }
}

/// The accepting task's hold of the hall: without it nobody comes in.
struct Doors(Arc<Hall>);

impl Drop for Doors {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Takes connections as they come and starts a handshake for each.
async fn accept_all(listener: TcpListener, setup: Setup, doors: Doors) {
    loop {
        // The semaphore is never closed.
        let Ok(place) = doors.0.places.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer was faster: in time it passes.
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(OUT_OF_SOCKETS).await;
                continue;
            }
        };
        let (setup, hall) = (setup.clone(), doors.0.clone());
        tokio::spawn(async move {
            if let Err(error) = greet(stream, peer, &setup, &hall, place).await {
                hall.finish(Err(AcceptError::new(Some(peer), error)));
            }
        });
    }
}

/// Leads one connection through its handshake. Its place goes with the link; a refused connection
/// keeps it until it is gone.
async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    setup: &Setup,
    hall: &Hall,
    place: OwnedSemaphorePermit,
) -> Result<(), LinkError> {
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    let made = Connecting::accept(setup, Stream(stream), &hall.registry);
    let (connecting, driver) = run(made)?;
    let result = tokio::select! {
        result = connecting.accepted() => result,
        () = hall.closed() => return Ok(()),
    };
    match result {
        // The peer has returned to a link that was accepted before.
        None => {}
        Some(Ok(link)) => hall.finish(Ok((link, place))),
        Some(Err(error)) => {
            hall.finish(Err(AcceptError::new(Some(peer), error)));
            // However it ends, the connection is gone then.
            let _ = driver.await;
            drop(place);
        }
    }
    Ok(())
}
