//! Links that peers open.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_driver::core::Role;
use countersign_driver::{Link, LinkError, Setup, prepare_socket};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::connect::link_over;

/// How many connections may be in their handshake at once by default.
pub const DEFAULT_HALF_OPEN: usize = 256;
/// How many links, and refusals, may wait for [`Listener::accept`] by default.
pub const DEFAULT_BACKLOG: usize = 64;
/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// What a listener takes before it lets peers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections may be in their handshake at once; [`DEFAULT_HALF_OPEN`] by default.
    /// Further ones wait in the system's queue.
    pub half_open: usize,
    /// How many links and refusals may wait for [`Listener::accept`]; [`DEFAULT_BACKLOG`] by
    /// default. While they do, their places among the half-open ones stay taken.
    pub backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: DEFAULT_HALF_OPEN,
            backlog: DEFAULT_BACKLOG,
        }
    }
}

/// Accepts links from any number of peers.
///
/// Handshakes run beside each other and beside [`Listener::accept`]: a peer that stalls in its
/// handshake holds up nobody else. Dropping the listener closes the socket and gives up
/// unfinished handshakes; links that were accepted stay.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    finished: Mutex<mpsc::Receiver<Result<Link, AcceptError>>>,
    accepting: JoinHandle<()>,
}

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
        let (sender, finished) = mpsc::channel(limits.backlog.max(1));
        let half_open = Arc::new(Semaphore::new(
            limits.half_open.clamp(1, Semaphore::MAX_PERMITS),
        ));
        let accepting = tokio::spawn(accept_all(listener, setup, half_open, sender));
        Ok(Self {
            address,
            finished: Mutex::new(finished),
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
        let next = self.finished.lock().await.recv().await;
        // The accepting task ends only when this listener is dropped, or with the runtime.
        next.unwrap_or_else(|| {
            let error = LinkError::transport(io::ErrorKind::NotConnected.into());
            Err(AcceptError { peer: None, error })
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A connection that did not become a link.
#[derive(Clone, Debug)]
pub struct AcceptError {
    peer: Option<SocketAddr>,
    error: LinkError,
}

impl AcceptError {
    /// Where the connection came from, if it got that far.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Why it did not become a link.
    #[must_use]
    pub fn error(&self) -> &LinkError {
        &self.error
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{peer}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Takes connections as they come and starts a handshake for each.
async fn accept_all(
    listener: TcpListener,
    setup: Setup,
    half_open: Arc<Semaphore>,
    finished: mpsc::Sender<Result<Link, AcceptError>>,
) {
    loop {
        let permit = Arc::clone(&half_open).acquire_owned().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer was faster: in time it passes.
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(OUT_OF_SOCKETS).await;
                continue;
            }
        };
        let (setup, finished) = (setup.clone(), finished.clone());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = greet(stream, &setup) => result,
                () = finished.closed() => return,
            };
            let result = result.map_err(|error| AcceptError {
                peer: Some(peer),
                error,
            });
            // The listener is gone: nobody wants to know.
            let _ = finished.send(result).await;
            drop(permit);
        });
    }
}

async fn greet(stream: TcpStream, setup: &Setup) -> Result<Link, LinkError> {
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    link_over(stream, Role::Acceptor, setup).await
}
