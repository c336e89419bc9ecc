//! A listener's links as an iterator.

use std::iter::FusedIterator;
use std::net::SocketAddr;

use countersign_driver::AcceptError;

use crate::link::Link;
use crate::listener::Listener;

/// The iterator of a listener's links, until it is closed, returned by [`Listener::incoming`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Incoming<'l, A = SocketAddr>(&'l Listener<A>);

impl<A> Listener<A> {
    /// Returns an iterator that calls [`Listener::accept`]: it waits for the next link, or the next
    /// connection that was refused. An error is about one connection; the iterator ends when the
    /// listener is closed.
    pub fn incoming(&self) -> Incoming<'_, A> {
        Incoming(self)
    }
}

impl<A> Iterator for Incoming<'_, A> {
    type Item = Result<Link, AcceptError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.accept() {
            Err(error) if error.is_closed() => None,
            result => Some(result),
        }
    }
}

impl<A> FusedIterator for Incoming<'_, A> {}
