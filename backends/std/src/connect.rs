//! Links that this end opens.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;

use countersign_core::{Config, Role};
use countersign_driver::{
    self as driver, Address, AddressError, Dial, Driver, LinkError, Setup, Transport, memory,
    prepare_socket,
};
#[cfg(unix)]
use countersign_driver::{at, lasting};
use countersign_endpoint::SetupError;
use socket2::SockRef;

use crate::block;
use crate::connecting::Connecting;
use crate::link::Link;
use crate::lookup::Lookup;
use crate::runtime::{Clock, Sockets, Stream, Waiting};

/// Connects to a listening peer over TCP, and waits until it has accepted this end.
///
/// A connection that can't be had, or is lost later, is tried again as
/// [`Reconnect`](countersign_core::Reconnect) says: for ever by default, so this waits for
/// a peer that is not there yet. What another attempt can't heal, a pin that does not match or
/// declarations that don't fit, ends it at once. The log tells of each kind of failure, and once a
/// minute of what is still waited for.
///
/// A name is looked up again for each attempt, in a thread of its own; a look-up that outlasts its
/// attempt goes on, and its answer serves the next one. Of several addresses the first that answers is
/// taken, as by [`open`](countersign_driver::open) (RFC 8305); where that does not lead to the peer,
/// the others have their turn ([`Connecting::reach`](countersign_driver::Connecting::reach)). Looking
/// the name up, the TCP connection and the handshake may each take
/// [`Patience::handshake`](countersign_core::Patience::handshake).
///
/// # Errors
///
/// [`LinkError`] tells who refused whom and what to change; its
/// [`can_retry`](LinkError::can_retry) whether trying again can help. What is no address
/// ([`AddressError`]) is its [`usage`](LinkError::usage).
pub fn connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Link, LinkError> {
    start_connect(address, setup)?.wait()
}

/// Begins to connect as [`connect`] does, in a thread of the link's own, and gives what can be waited
/// for, asked for its failures, hastened and given up.
///
/// # Errors
///
/// What is no address, as for [`connect`]. What the system does not give: randomness, a thread, what it
/// waits with.
pub fn start_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let address = Address::of_peer(address).map_err(LinkError::unusable)?;
    let (waiting, sockets) = Waiting::new().map_err(LinkError::transport)?;
    let lookup = Lookup::default();
    let look_up = move || look_up(lookup.clone(), address.clone());
    let connect = move |address| reach_tcp(address, sockets.clone());
    let made = driver::Connecting::reach(setup.clone(), look_up, connect, || Clock, Stream::Tcp);
    begin(made, waiting).map(Connecting)
}

/// The addresses of a name.
pub(crate) async fn look_up(lookup: Lookup, address: Address) -> io::Result<Vec<SocketAddr>> {
    address
        .resolve(|host, port| async move { lookup.find((host, port)).await })
        .await
}

/// Opens a TCP connection to one address.
pub(crate) async fn reach_tcp(
    address: SocketAddr,
    sockets: Arc<Sockets>,
) -> io::Result<mio::net::TcpStream> {
    let mut socket = mio::net::TcpStream::connect(address)?;
    sockets.watch(&mut socket)?;
    poll_fn(|_| is_connected(&socket)).await?;
    Ok(socket)
}

/// How far the system has come with connecting.
fn is_connected(socket: &mio::net::TcpStream) -> Poll<io::Result<()>> {
    if let Some(error) = socket.take_error()? {
        return Poll::Ready(Err(error));
    }
    match socket.peer_addr() {
        Ok(_) => Poll::Ready(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Connects to a listening peer over a Unix socket, as [`connect`] does over TCP.
///
/// # Errors
///
/// As for [`connect`].
#[cfg(unix)]
pub fn connect_unix(path: impl Into<PathBuf>, setup: &Setup) -> Result<Link, LinkError> {
    start_connect_unix(path, setup)?.wait()
}

/// Begins to connect as [`connect_unix`] does, in a thread of the link's own, and gives what can be
/// waited for, asked for its failures, hastened and given up.
///
/// # Errors
///
/// What the system does not give: randomness, a thread, what it waits with.
#[cfg(unix)]
pub fn start_connect_unix(
    path: impl Into<PathBuf>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let path = lasting(&path.into());
    let (waiting, sockets) = Waiting::new().map_err(LinkError::transport)?;
    let connect = move || {
        let connected = reach_unix(&path, &sockets);
        std::future::ready(connected.map_err(|error| at(path.display(), &error)))
    };
    begin(driver::Connecting::dial(setup, connect), waiting).map(Connecting)
}

#[cfg(unix)]
fn reach_unix(path: &Path, sockets: &Sockets) -> io::Result<Stream> {
    let mut socket = mio::net::UnixStream::connect(path)?;
    sockets.watch(&mut socket)?;
    Ok(Stream::Unix(socket))
}

/// A socket that is already connected, of one of the kinds that a link can be made over.
#[derive(Debug)]
pub struct Socket(pub(crate) Stream);

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self(Stream::Tcp(mio::net::TcpStream::from_std(socket)))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self(Stream::Unix(mio::net::UnixStream::from_std(socket)))
    }
}

/// Makes a link over a connection that is already open, and waits until the peer has accepted
/// this end. Of the two ends one must be the opener and one the acceptor. The link ends with the
/// connection.
///
/// The connection may have carried other bytes before, of a protocol that the two ends spoke until
/// now; what the peer has sent since must not have been read yet.
///
/// # Errors
///
/// As for [`connect`].
pub fn link_over(socket: impl Into<Socket>, role: Role, setup: &Setup) -> Result<Link, LinkError> {
    let (waiting, sockets) = Waiting::new().map_err(LinkError::transport)?;
    let stream = prepare(socket, &sockets, setup.config()).map_err(LinkError::transport)?;
    let connecting = begin(driver::Connecting::over(setup, role, stream), waiting)?;
    block::on(connecting).map(Link::new)
}

/// Makes a socket ready to be driven by the thread that `sockets` belongs to.
pub(crate) fn prepare(
    socket: impl Into<Socket>,
    sockets: &Sockets,
    config: &Config,
) -> io::Result<Stream> {
    let Socket(mut stream) = socket.into();
    match &stream {
        Stream::Tcp(socket) => {
            let socket = SockRef::from(socket);
            socket.set_nonblocking(true)?;
            prepare_socket(&socket, config)?;
        }
        #[cfg(unix)]
        Stream::Unix(socket) => SockRef::from(socket).set_nonblocking(true)?,
    }
    sockets.watch(stream.source())?;
    Ok(stream)
}

/// Makes a link between two declarations in one process, over a connection in memory: for tests, and
/// for parts that may move apart some day.
///
/// # Errors
///
/// As for [`connect`].
pub fn pair(opener: &Setup, acceptor: &Setup) -> Result<(Link, Link), LinkError> {
    let (near, far) = memory();
    let waiting = || Waiting::new().map_err(LinkError::transport);
    let (opener, acceptor) = (
        driver::Connecting::over(opener, Role::Opener, near),
        driver::Connecting::over(acceptor, Role::Acceptor, far),
    );
    let opening = begin(opener, waiting()?.0)?;
    let accepting = begin(acceptor, waiting()?.0)?;
    let opened = block::on(opening)?;
    let accepted = block::on(accepting)?;
    Ok((Link::new(opened), Link::new(accepted)))
}

/// Starts a link's thread.
fn begin<D: Dial<Transport: Transport + Send> + Send + 'static>(
    made: Result<(driver::Connecting, Driver<D>), SetupError>,
    waiting: Waiting,
) -> Result<driver::Connecting, LinkError> {
    let (connecting, drives) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    let started = waiting.spawn("countersign-link", drives.run(Clock));
    started.map_err(LinkError::transport)?;
    Ok(connecting)
}
