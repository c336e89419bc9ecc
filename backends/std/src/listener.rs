//! Listens for links that peers open.

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

/// Accepts links from any number of peers, at an address of type `A`.
///
/// Handshakes run concurrently, each in its link's thread: a peer that stalls in its handshake does
/// not hold up the others. [`Limits`] bound what a listener takes.
///
/// Dropping the listener closes the socket, so that its address can be bound again at once, and
/// drops what is not accepted; links that were accepted stay up, but their peers cannot resume them
/// once a connection is lost. To end them all in order, use [`Listener::drain`].
///
/// A peer that has lost its connection resumes the link that it already has: that link goes on, and
/// [`Listener::accept`] does not return it again.
#[derive(Debug)]
pub struct Listener<A = SocketAddr>(driver::Listener<A>);

#[doc = shared_doc!(listen)]
/// Each link takes a thread and three open files (its socket, and two for its thread to wait): make
/// sure that the system allows as many.
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
    /// Returns the address that it listens on; the first of several.
    #[must_use]
    pub fn local_addr(&self) -> A
    where
        A: Clone,
    {
        self.0.local_addr()
    }

    /// Returns the addresses that it listens on: several if it was given a name that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[A] {
        self.0.local_addrs()
    }

    /// Waits for the next link, or the next connection that was refused.
    ///
    /// # Errors
    ///
    /// An [`AcceptError`] is about one connection that did not become a link, and the listener goes
    /// on; or it reports that the listener was closed ([`AcceptError::is_closed`]).
    pub fn accept(&self) -> Result<Link, AcceptError> {
        block::on(self.0.accept()).map(Link::new)
    }

    /// Logs a connection that did not become a link, as a warning within the limit of
    /// [`Setup::log_lines`]: the simplest way to handle an error of [`Listener::accept`]. The limit
    /// is needed because anyone who can reach a listener can have any number of connections
    /// refused.
    pub fn log(&self, error: &AcceptError) {
        self.0.log(error);
    }

    /// As [`Listener::accept`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`AcceptTimeoutError::Timeout`] after `limit`; otherwise as for [`Listener::accept`].
    pub fn accept_timeout(&self, limit: Duration) -> Result<Link, AcceptTimeoutError> {
        let accepted = block::on_for(self.0.accept(), limit)?;
        accepted.map(Link::new).map_err(AcceptTimeoutError::Accept)
    }

    /// Closes the socket and drops what is not accepted, as dropping the listener does, and waits
    /// until each refused peer has received its refusal, or has had
    /// [`Timeouts::linger`](countersign_core::Timeouts::linger) for it. In other threads,
    /// [`Listener::accept`] returns an error that [is closed](AcceptError::is_closed).
    pub fn close(&self) {
        block::on(self.0.close());
    }

    /// As [`Listener::close`], without waiting for refused peers.
    pub fn unbind(&self) {
        block::on(self.0.unbind());
    }

    /// Ends all links of this listener in order, then closes the socket: for a server that is to be
    /// stopped or replaced.
    ///
    /// From here on peers that want a new link are refused for lack of room, and links that were
    /// not accepted are closed. All others are closed as by [`Link::close_with`] with
    /// [`CloseMode::DrainBoth`](countersign_core::CloseMode::DrainBoth): the application has to
    /// take the messages that still arrive, in other threads, or drop the receivers. Links with
    /// send channels are closed with [`close::GOING_AWAY`](countersign_core::close::GOING_AWAY),
    /// since the application may have wanted to send more; an application that is done closes its
    /// links itself before. Peers that lose their connection meanwhile can still come back to end
    /// their link. When `limit` has passed, the remaining links are abandoned. Then it waits as
    /// [`Listener::close`] does until each refused peer has received its refusal.
    pub fn drain(&self, limit: Duration) -> Drained {
        block::on(self.0.drain(limit))
    }
}

impl<A> Drop for Listener<A> {
    fn drop(&mut self) {
        self.unbind();
    }
}
