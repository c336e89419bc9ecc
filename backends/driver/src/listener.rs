//! The application's handle of a listener.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Drained, Limits};

use crate::accept::AcceptError;
use crate::accept_queue::{AcceptQueue, AcceptorTask, Phase};
use crate::incoming::Incoming;
use crate::link::Link;
use crate::setup::Setup;

/// Accepts links from any number of peers, at an address of type `A`.
///
/// Handshakes run concurrently, independently of [`Listener::accept`]: a peer that stalls in its
/// handshake does not hold up the others. [`Limits`] bound what a listener takes.
///
/// A peer that has lost its connection resumes the link that it already has: that link goes on, and
/// [`Listener::accept`] does not return it again. A peer whose program was started again has no
/// session to resume: it gets a new link, and its former one waits for
/// [`Timeouts::retain`](countersign_core::Timeouts::retain), without an end and without an error
/// for who receives: [`LinkEvent::Lost`](crate::LinkEvent::Lost) says that nobody is there. A
/// server that wants one link for each peer compares [`Link::peer_id`](crate::Link::peer_id), and
/// [closes](crate::Link::close_with) the former one with a reason. It does not
/// [abandon](crate::Link::abandon) it: a second program with the same identity would not know why,
/// connect again, and drive out the first.
///
/// Dropping the listener drops what is not accepted, and has the runtime close the socket soon, at
/// the latest when it next polls the task that holds it: use [`Listener::close`] to know when the
/// address can be bound again. Links that were accepted stay up, but their peers cannot resume them
/// once a connection is lost; to end them all in order, use [`Listener::drain`].
///
/// ```
/// # use countersign_driver::{Link, Listener};
/// # async fn example(listener: Listener, serve: impl Fn(Link)) {
/// loop {
///     match listener.accept().await {
///         Ok(link) => serve(link), // spawns a task for it, say
///         Err(error) if error.is_closed() => break,
///         Err(error) => listener.log(&error), // about one peer: others may come
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Listener<A = SocketAddr> {
    /// At least one.
    addresses: Vec<A>,
    queue: Arc<AcceptQueue>,
}

impl<A> Listener<A> {
    /// Makes a listener at this address; [`serve`](crate::serve) accepts its connections.
    #[must_use]
    pub fn new(address: A, setup: Setup, limits: Limits) -> (Self, AcceptorTask) {
        Self::at(vec![address], setup, limits)
    }

    /// Makes a listener at all of these addresses, of which there must be at least one.
    #[must_use]
    pub fn at(addresses: Vec<A>, setup: Setup, limits: Limits) -> (Self, AcceptorTask) {
        debug_assert!(!addresses.is_empty());
        let queue = AcceptQueue::new(limits, &setup);
        let task = AcceptorTask::new(queue.clone(), setup);
        (Self { addresses, queue }, task)
    }

    /// Returns the address that it listens on; the first of several.
    #[must_use]
    pub fn local_addr(&self) -> A
    where
        A: Clone,
    {
        self.addresses[0].clone()
    }

    /// Returns the addresses that it listens on: several if it was given a name that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[A] {
        &self.addresses
    }

    /// Waits for the next link, or the next connection that was refused.
    ///
    /// Cancel-safe: a link is taken only when the future is ready; if a future is dropped, another
    /// caller that waits gets the link.
    ///
    /// # Errors
    ///
    /// An [`AcceptError`] is about one connection that did not become a link, and the listener goes
    /// on; or it reports that the listener was closed, or its runtime is gone
    /// ([`AcceptError::is_closed`]).
    pub async fn accept(&self) -> Result<Link, AcceptError> {
        let next = self.queue.next().await;
        next.unwrap_or_else(|| Err(AcceptError::closed()))
    }

    /// Logs a connection that did not become a link, as a warning within the limit of
    /// [`Setup::log_lines`]: the simplest way to handle an error of [`Listener::accept`]. The limit
    /// is needed because anyone who can reach a listener can have any number of connections
    /// refused, and a peer can come back any number of times. Each authenticated peer has as many
    /// lines as all strangers together, and at least one.
    pub fn log(&self, error: &AcceptError) {
        self.log_as(error, error);
    }

    /// As [`Listener::log`], with the text of the line.
    pub fn log_as(&self, error: &AcceptError, words: impl Display) {
        if error.is_closed() {
            return tracing::warn!("{words}");
        }
        self.queue.log(error.known_peer(), &words);
    }

    /// As [`Listener::log`], for a link that was accepted and is not wanted. On a plain connection
    /// its peer counts as a stranger.
    pub fn log_link(&self, link: &Link, words: impl Display) {
        self.queue.log(link.peer(), &words);
    }

    /// Returns the results of [`Listener::accept`] as a stream, which ends when the listener is
    /// closed.
    pub fn incoming(&self) -> Incoming<'_, A> {
        Incoming::of(&self.queue)
    }

    /// Closes the socket and drops what is not accepted, as dropping the listener does, and waits
    /// until the address can be bound again and each refused peer has received its refusal, or has
    /// had [`Timeouts::linger`](countersign_core::Timeouts::linger) for it. Pending calls of
    /// [`Listener::accept`] return [`AcceptError::closed`].
    ///
    /// Cancel-safe: closing goes on when the future is dropped, and another call waits for it
    /// again. A future that is never polled closes nothing.
    pub async fn close(&self) {
        self.unbind().await;
        self.queue.half_open_done().await;
    }

    /// As [`Listener::close`], but waits only until the address can be bound again.
    pub async fn unbind(&self) {
        self.queue.begin_shutdown(Phase::Closed);
        let _ = self.queue.gone().await;
    }

    /// Ends all links of this listener in order, then closes the socket: for a server that is to be
    /// stopped or replaced.
    ///
    /// From here on peers that want a new link are refused for lack of room, and links that were
    /// not accepted are closed. All others are closed as by [`Link::close_with`] with
    /// [`CloseMode::DrainBoth`](countersign_core::CloseMode::DrainBoth): the application has to
    /// take the messages that still arrive, or drop the receivers. Links with send channels are
    /// closed with [`close::GOING_AWAY`](countersign_core::close::GOING_AWAY), since the
    /// application may have wanted to send more; an application that is done closes its links
    /// itself before. Peers that lose their connection meanwhile can still come back to end their
    /// link. When `limit` has passed, the remaining links are abandoned. Then it waits as
    /// [`Listener::close`] does until each refused peer has received its refusal.
    ///
    /// Cancel-safe: draining goes on when the future is dropped, and another call waits for it
    /// again; dropping the listener cuts it short. A future that is never polled drains nothing.
    pub async fn drain(&self, limit: Duration) -> Drained {
        // A limit beyond the range of the clock is no limit.
        let until = self.queue.clock.of_timers().checked_add(limit);
        self.queue.drain(until);
        let drained = self.queue.gone().await;
        self.queue.half_open_done().await;
        drained
    }
}

impl<A> Drop for Listener<A> {
    fn drop(&mut self) {
        self.queue.begin_shutdown(Phase::Closed);
    }
}
