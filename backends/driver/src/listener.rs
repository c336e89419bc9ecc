//! The application's handle of a listener.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Drained, Limits};

use crate::accept::AcceptError;
use crate::accept_queue::{AcceptQueue, AcceptorTask, Phase};
use crate::establish::Setup;
use crate::incoming::Incoming;
use crate::link::Link;

/// Accepts links from any number of peers, at an address of the kind `A`.
///
/// Handshakes run beside each other and beside [`Listener::accept`]: a peer that stalls in its
/// handshake holds up nobody else. [`Limits`] say how much a listener takes.
///
/// A peer that has lost its connection comes back to the link that it has already: that one goes
/// on, and [`Listener::accept`] hears nothing of it.
///
/// Dropping the listener gives up what is not accepted, and has the runtime close the socket
/// soon, at the latest when it next comes round to the task that holds it: use
/// [`Listener::close`] to know when the address can be bound again. Links that were accepted
/// stay, but their peers can't come back to them any more once a connection is lost; to end them
/// all in order, use [`Listener::drain`].
#[derive(Debug)]
pub struct Listener<A = SocketAddr> {
    /// One at least.
    addresses: Vec<A>,
    queue: Arc<AcceptQueue>,
}

impl<A> Listener<A> {
    /// A listener at this address, for [`serve`](crate::serve) to accept its connections.
    #[must_use]
    pub fn new(address: A, setup: Setup, limits: Limits) -> (Self, AcceptorTask) {
        Self::at(vec![address], setup, limits)
    }

    /// A listener at all of these addresses, of which there has to be one at least.
    #[must_use]
    pub fn at(addresses: Vec<A>, setup: Setup, limits: Limits) -> (Self, AcceptorTask) {
        debug_assert!(!addresses.is_empty());
        let queue = AcceptQueue::new(limits, &setup);
        let task = AcceptorTask::new(queue.clone(), setup);
        (Self { addresses, queue }, task)
    }

    /// The address that it listens on; the first of several.
    #[must_use]
    pub fn local_addr(&self) -> A
    where
        A: Clone,
    {
        self.addresses[0].clone()
    }

    /// The addresses that it listens on: several where it was told a name that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[A] {
        &self.addresses
    }

    /// Waits for the next peer that was accepted, or refused.
    ///
    /// Cancel-safe: a link is taken only when the future is ready; whoever else waits here gets
    /// what was meant for a future that is dropped.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] tells about one connection that did not become a link, and the listener goes
    /// on; or that the listener was closed, or its runtime is gone
    /// ([`AcceptError::is_closed`]).
    pub async fn accept(&self) -> Result<Link, AcceptError> {
        let next = self.queue.next().await;
        next.unwrap_or_else(|| Err(AcceptError::closed()))
    }

    /// Tells the log of a connection that did not become a link, as a warning, as long as there are not
    /// too many about strangers ([`Setup::log_lines`]): who has nothing else to do with what
    /// [`Listener::accept`] gives, gives it here. Anybody who can reach a listener can have as many
    /// connections refused as they like, and a peer can come back as often. Each peer that has proved who
    /// it is has as many lines as all strangers together, and one at least.
    pub fn log(&self, error: &AcceptError) {
        self.log_as(error, error);
    }

    /// As [`Listener::log`], in other words.
    pub fn log_as(&self, error: &AcceptError, words: impl Display) {
        if error.is_closed() {
            return tracing::warn!("{words}");
        }
        self.queue.log(error.known_peer(), &words);
    }

    /// As [`Listener::log`], of a link that was accepted and is not wanted. On a plain connection its
    /// peer is a stranger too.
    pub fn log_link(&self, link: &Link, words: impl Display) {
        self.queue.log(link.peer(), &words);
    }

    /// What [`Listener::accept`] gives, one after the other, as a stream that ends when the listener
    /// is closed.
    pub fn incoming(&self) -> Incoming<'_, A> {
        Incoming::of(self)
    }

    pub(crate) fn queue(&self) -> &AcceptQueue {
        &self.queue
    }

    /// Closes the socket and gives up what is not accepted, as dropping the listener does, and
    /// waits until the address can be bound again and all who were refused have heard so, or have
    /// had [`Timeouts::linger`](countersign_core::Timeouts::linger) for it. Others that wait in
    /// [`Listener::accept`] hear of it.
    ///
    /// Cancel-safe: closing goes on when the future is dropped, and another call waits for it
    /// again. A future that is never polled closes nothing.
    pub async fn close(&self) {
        self.unbind().await;
        self.queue.silent().await;
    }

    /// As [`Listener::close`], but waits only until the address can be bound again.
    pub async fn unbind(&self) {
        self.queue.end(Phase::Closed);
        let _ = self.queue.left().await;
    }

    /// Ends all links of this listener in order, then closes the socket: for a server that is to be
    /// stopped or replaced.
    ///
    /// From here on peers that want a new link are told that there is no room, and links that
    /// nobody has accepted are closed. All others are closed as by [`Link::close_with`] with
    /// [`CloseMode::DrainBoth`](countersign_core::CloseMode::DrainBoth): whoever holds their receivers
    /// has to take what still comes, or drop them. Those with channels to send on say
    /// [`close::GOING_AWAY`](countersign_core::close::GOING_AWAY), since their application may have
    /// wanted to send more; one that is done closes its link by itself before. Peers that lose
    /// their connection meanwhile can still come back to end their link. When `limit` has passed,
    /// what is left is abandoned.
    ///
    /// Cancel-safe: draining goes on when the future is dropped, and another call waits for it again;
    /// dropping the listener cuts it short. A future that is never polled drains nothing.
    pub async fn drain(&self, limit: Duration) -> Drained {
        // A limit beyond what the clock can name is none.
        let until = self.queue.clock.of_timers().checked_add(limit);
        self.queue.drain(until);
        self.queue.left().await
    }
}

impl<A> Drop for Listener<A> {
    fn drop(&mut self) {
        self.queue.end(Phase::Closed);
    }
}
