//! Links that peers open.

use std::future::{poll_fn, ready};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use countersign_driver::bind_unix;
use countersign_driver::{
    self as driver, AcceptError, Address, AddressError, Doors, Drained, Guest, Limits, Setup,
    accept_any, bind, serve,
};

use crate::block;
use crate::connect::{Socket, prepare};
use crate::link::Link;
use crate::runtime::{Clock, Stream, Waiting, nonblocking};

/// Accepts links from any number of peers, at an address of the kind `A`.
///
/// Handshakes run beside each other, each in its link's thread: a peer that stalls in its
/// handshake holds up nobody else. [`Limits`] say how much a listener takes.
///
/// Dropping the listener closes the socket, so that its address can be bound again at once, and
/// gives up what is not accepted; links that were accepted stay, but their peers can't come back to
/// them any more once a connection is lost. To end them all in order, use [`Listener::drain`].
///
/// A peer that has lost its connection comes back to the link that it has already: that one goes
/// on, and [`Listener::accept`] hears nothing of it.
#[derive(Debug)]
pub struct Listener<A = SocketAddr>(driver::Listener<A>);

/// Listens on a TCP address; port 0 lets the system choose one. Where a name has several addresses, it
/// listens on all of them, at the same port.
///
/// Each link takes a thread and three open files (its socket, and what its thread waits with): see
/// that the system allows as many.
///
/// # Errors
///
/// What the operating system says, that the address is in use, say; of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput), with an [`AddressError`] inside, for what is none.
pub fn listen(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
) -> io::Result<Listener> {
    listen_with(address, setup, Limits::default())
}

/// Listens with other limits than the default ones.
///
/// # Errors
///
/// As for [`listen`].
pub fn listen_with(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener> {
    let lookup = |host: String, port| ready((host.as_str(), port).to_socket_addrs());
    let found = block::on(Address::of(address)?.resolve(lookup))?;
    let bound = bind(&found)?;
    let addresses = bound.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    let (waiting, watched) = Waiting::new()?;
    let mut sockets = Vec::new();
    for socket in bound {
        let mut socket = mio::net::TcpListener::from_std(socket);
        watched.watch(&mut socket)?;
        sockets.push(socket);
    }
    let (listener, doors) = driver::Listener::at(addresses, setup, limits);
    let accept = accept_any(sockets.into_iter().map(|socket| {
        let socket = Arc::new(socket);
        move || {
            let socket = socket.clone();
            poll_fn(move |_| {
                let accepted = nonblocking(|| socket.accept());
                accepted.map_ok(|(stream, peer)| (Socket(Stream::Tcp(stream)), Some(peer)))
            })
        }
    }));
    start(doors, waiting, accept)?;
    Ok(Listener(listener))
}

/// Listens on a Unix socket. Its file is removed with the listener; one that is left from a
/// process which is gone is replaced.
///
/// # Errors
///
/// What the operating system says, that somebody listens there already, say.
#[cfg(unix)]
pub fn listen_unix(
    path: impl Into<PathBuf>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener<PathBuf>> {
    let (socket, file) = bind_unix(&path.into())?;
    let path = file.path().to_owned();
    let mut socket = mio::net::UnixListener::from_std(socket);
    let (waiting, sockets) = Waiting::new()?;
    sockets.watch(&mut socket)?;
    let (listener, doors) = driver::Listener::new(path, setup, limits);
    let socket = Arc::new((file, socket));
    let accept = move || {
        let socket = socket.clone();
        poll_fn(move |_| {
            let accepted = nonblocking(|| socket.1.accept());
            accepted.map_ok(|(stream, _)| (Socket(Stream::Unix(stream)), None))
        })
    };
    start(doors, waiting, accept)?;
    Ok(Listener(listener))
}

/// Starts the thread that accepts connections; it starts one for each of them.
fn start<F>(
    doors: Doors,
    waiting: Waiting,
    accept: impl FnMut() -> F + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = io::Result<(Socket, Option<SocketAddr>)>> + Send + 'static,
{
    let welcome = |socket: Socket, guest: Guest| {
        let (waiting, sockets) = Waiting::new()?;
        match prepare(socket, &sockets, guest.config()) {
            Ok(stream) => waiting.spawn("countersign-link", guest.serve(stream)?.run(Clock)),
            Err(error) => {
                guest.refuse(error);
                Ok(())
            }
        }
    };
    let serving = serve(doors, accept, welcome, || Clock);
    let serving = async { drop(serving.await) };
    waiting.spawn("countersign-listener", serving)
}

impl<A> Listener<A> {
    /// The address that it listens on; the first of several.
    #[must_use]
    pub fn local_addr(&self) -> A
    where
        A: Clone,
    {
        self.0.local_addr()
    }

    /// The addresses that it listens on: several where it was told a name that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[A] {
        self.0.local_addrs()
    }

    /// Waits for the next peer that was accepted, or refused.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] tells about one connection that did not become a link, and the listener goes
    /// on; or that the listener was closed ([`AcceptError::is_closed`]).
    pub fn accept(&self) -> Result<Link, AcceptError> {
        block::on(self.0.accept()).map(Link::new)
    }

    /// Tells the log of a connection that did not become a link, as a warning, as long as there are not
    /// too many about strangers ([`Limits::log_lines`]): who has nothing else to do with what
    /// [`Listener::accept`] gives, gives it here. Anybody who can reach a listener can have as many
    /// connections refused as they like.
    pub fn log(&self, error: &AcceptError) {
        self.0.log(error);
    }

    /// Waits for the next peer, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// As for [`Listener::accept`].
    pub fn accept_timeout(&self, limit: Duration) -> Option<Result<Link, AcceptError>> {
        let accepted = block::on_for(self.0.accept(), limit)?;
        Some(accepted.map(Link::new))
    }

    /// Closes the socket and gives up what is not accepted, as dropping the listener does, and
    /// waits until all who were refused have heard so, or have had
    /// [`Patience::linger`](countersign_core::Patience::linger) for it. Other threads that wait in
    /// [`Listener::accept`] hear of it.
    pub fn close(&self) {
        block::on(self.0.close());
    }

    /// As [`Listener::close`], without waiting for those who were refused.
    pub fn unbind(&self) {
        block::on(self.0.unbind());
    }

    /// Ends all links of this listener in order, then closes the socket: for a server that is to be
    /// stopped or replaced.
    ///
    /// From here on peers that want a new link are told that there is no room, and links that
    /// nobody has accepted are closed. All others are closed as by [`Link::close_with`] with
    /// [`CloseMode::DrainBoth`](countersign_core::CloseMode::DrainBoth): whoever holds their receivers has
    /// to take what still comes, in other threads, or drop them. Those with channels to send on say
    /// [`close::GOING_AWAY`](countersign_core::close::GOING_AWAY), since their application may have
    /// wanted to send more; one that is done closes its link by itself before. Peers that lose
    /// their connection meanwhile can still come back to end their link. When `limit` has passed,
    /// what is left is abandoned.
    pub fn drain(&self, limit: Duration) -> Drained {
        block::on(self.0.drain(limit))
    }
}

impl<A> Drop for Listener<A> {
    fn drop(&mut self) {
        self.unbind();
    }
}
