//! Links that this end opens.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use countersign_driver::core::{Config, Role};
use countersign_driver::endpoint::SetupError;
use countersign_driver::{Connecting, Dial, Driver, LinkError, Setup, prepare_socket};
use socket2::SockRef;

use crate::link::Link;
use crate::runtime::{Sockets, Stream, Waiting};
use crate::{block, runtime};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// A connection that can't be had, or is lost later, is tried again as
/// [`Reconnect`](countersign_driver::core::Reconnect) says: for ever by default, so this waits for
/// a peer that is not there yet. What another attempt can't heal, a pin that does not match or
/// declarations that don't fit, ends it at once. The log tells of every attempt.
///
/// Of a name with several addresses, each is tried in turn, and the name is looked up again for
/// each attempt. The TCP connection to each address and the handshake may each take
/// [`Patience::handshake`](countersign_driver::core::Patience::handshake).
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help.
pub fn connect(
    address: impl ToSocketAddrs + Clone + Send + 'static,
    setup: &Setup,
) -> Result<Link, LinkError> {
    let (waiting, sockets) = Waiting::new().map_err(LinkError::transport)?;
    let config = setup.config().clone();
    let open = move || dial(address.clone(), config.clone(), sockets.clone());
    start(Connecting::dial(setup, open), waiting)
}

/// Opens a connection in a thread of its own, since looking up a name blocks.
fn dial(
    address: impl ToSocketAddrs + Send + 'static,
    config: Config,
    sockets: Arc<Sockets>,
) -> impl Future<Output = io::Result<Stream>> {
    let dialed = Arc::new(Mutex::new(Dialed::default()));
    let result = dialed.clone();
    let thread = thread::Builder::new().name("countersign-connect".to_owned());
    let started = thread.spawn(move || {
        let opened = open(address, &config);
        let mut dialed = result.lock().unwrap_or_else(PoisonError::into_inner);
        dialed.stream = Some(opened);
        let waker = dialed.waker.take();
        drop(dialed);
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    let mut failed = started.err();
    poll_fn(move |context| {
        if let Some(error) = failed.take() {
            return Poll::Ready(Err(error));
        }
        let mut dialed = dialed.lock().unwrap_or_else(PoisonError::into_inner);
        match dialed.stream.take() {
            Some(opened) => Poll::Ready(opened.and_then(|stream| sockets.register(stream))),
            None => {
                dialed.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
}

/// What a connecting thread has achieved.
#[derive(Default)]
struct Dialed {
    stream: Option<io::Result<TcpStream>>,
    waker: Option<Waker>,
}

fn open(address: impl ToSocketAddrs, config: &Config) -> io::Result<TcpStream> {
    // The system refuses a limit of zero.
    let patience = config.waits().handshake.max(Duration::from_millis(1));
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                prepare_socket(&SockRef::from(&stream), config)?;
                return Ok(stream);
            }
            Err(error) => refused = at(address, &error),
        }
    }
    Err(refused)
}

/// Names the address in an error: of several, or in a log, it is not known otherwise.
fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

/// Makes a link over a TCP connection that is already open, and waits until the peer has accepted
/// this end. Of the two ends one must be the opener and one the acceptor. The link ends with the
/// connection.
///
/// # Errors
///
/// As for [`connect`].
pub fn link_over(stream: TcpStream, role: Role, setup: &Setup) -> Result<Link, LinkError> {
    let (stream, waiting) = prepare(stream, setup)?;
    start(Connecting::over(setup, role, stream), waiting)
}

/// Starts a link's thread, and waits until the peer has accepted this end.
fn start(
    made: Result<
        (
            Connecting,
            Driver<impl Dial<Transport = Stream> + Send + 'static>,
        ),
        SetupError,
    >,
    waiting: Waiting,
) -> Result<Link, LinkError> {
    let (connecting, driver) = made.map_err(not_made)?;
    runtime::spawn(driver, waiting, std::future::ready(())).map_err(LinkError::transport)?;
    block::on(connecting.connected()).map(Link::new)
}

/// Makes a socket ready for a link, and what the link's thread waits with.
pub(crate) fn prepare(stream: TcpStream, setup: &Setup) -> Result<(Stream, Waiting), LinkError> {
    prepare_socket(&SockRef::from(&stream), setup.config()).map_err(LinkError::transport)?;
    let (waiting, sockets) = Waiting::new().map_err(LinkError::transport)?;
    let stream = sockets.register(stream).map_err(LinkError::transport)?;
    Ok((stream, waiting))
}

pub(crate) fn not_made(error: SetupError) -> LinkError {
    LinkError::transport(io::Error::other(error))
}
