//! Links that peers open.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_driver::core::Role;
use countersign_driver::{AcceptError, Limits, Link, LinkError, Setup, prepare_socket};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::connect::link_over;

/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Accepts links from any number of peers.
///
/// Handshakes run beside each other and beside [`Listener::accept`]: a peer that stalls in its
/// handshake holds up nobody else. Dropping the listener closes the socket and gives up
/// unfinished handshakes; links that were accepted stay.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    finished: Mutex<mpsc::UnboundedReceiver<Finished>>,
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
        // Bounded by the half-open places, which go with what is in it.
        let (sender, finished) = mpsc::unbounded_channel();
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
        match self.finished.lock().await.recv().await {
            Some((result, _place)) => result,
            // The accepting task ends only when this listener is dropped, or with the runtime.
            None => {
                let error = LinkError::transport(io::ErrorKind::NotConnected.into());
                Err(AcceptError::new(None, error))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A finished handshake, and its place among the half-open connections until it is accepted.
type Finished = (Result<Link, AcceptError>, OwnedSemaphorePermit);

/// Takes connections as they come and starts a handshake for each.
async fn accept_all(
    listener: TcpListener,
    setup: Setup,
    half_open: Arc<Semaphore>,
    finished: mpsc::UnboundedSender<Finished>,
) {
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&half_open).acquire_owned().await else {
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
        let (setup, finished) = (setup.clone(), finished.clone());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = greet(stream, &setup) => result,
                () = finished.closed() => return,
            };
            let result = result.map_err(|error| AcceptError::new(Some(peer), error));
            // The listener is gone: nobody wants to know.
            let _ = finished.send((result, place));
        });
    }
}

async fn greet(stream: TcpStream, setup: &Setup) -> Result<Link, LinkError> {
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    link_over(stream, Role::Acceptor, setup).await
}
