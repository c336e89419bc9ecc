//! Links that peers open.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use countersign_driver::{
    self as driver, AcceptError, Address, AddressError, Drained, Limits, Setup, entry, shared_doc,
};

use crate::block;
use crate::link::Link;
use crate::runtime::Threads;
use crate::timeout::AcceptTimeoutError;

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

#[doc = shared_doc!(listen)]
/// Each link takes a thread and three open files (its socket, and what its thread waits with): see
/// that the system allows as many.
///
#[doc = shared_doc!(listen_errors)]
#[doc = shared_doc!(listen_example, "countersign_std", "", "", "", "")]
pub fn listen(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
) -> io::Result<Listener> {
    listen_with(address, setup, Limits::default())
}

#[doc = shared_doc!(listen_with)]
#[doc = shared_doc!(as_listen_errors)]
pub fn listen_with(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener> {
    let runtime = Threads::default();
    block::on(entry::listen(&runtime, address, setup, limits)).map(Listener)
}

#[doc = shared_doc!(listen_unix)]
#[cfg(unix)]
pub fn listen_unix(
    path: impl Into<PathBuf>,
    setup: Setup,
    limits: Limits,
) -> io::Result<Listener<PathBuf>> {
    entry::listen_unix(&Threads::default(), path, setup, limits).map(Listener)
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
    /// too many about strangers ([`Setup::log_lines`]): who has nothing else to do with what
    /// [`Listener::accept`] gives, gives it here. Anybody who can reach a listener can have as many
    /// connections refused as they like.
    pub fn log(&self, error: &AcceptError) {
        self.0.log(error);
    }

    /// Waits for the next peer, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`AcceptTimeoutError::Timeout`] when that has passed; otherwise as for [`Listener::accept`].
    pub fn accept_timeout(&self, limit: Duration) -> Result<Link, AcceptTimeoutError> {
        let accepted = block::on_for(self.0.accept(), limit)?;
        accepted.map(Link::new).map_err(AcceptTimeoutError::Accept)
    }

    /// Closes the socket and gives up what is not accepted, as dropping the listener does, and
    /// waits until all who were refused have heard so, or have had
    /// [`Timeouts::linger`](countersign_core::Timeouts::linger) for it. Other threads that wait in
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
