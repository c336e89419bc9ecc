//! A listener's links as an iterator.

use std::iter::FusedIterator;

use countersign_driver::AcceptError;

use crate::link::Link;
use crate::listener::Listener;

/// The links that peers open, without end: [`Listener::incoming`].
#[derive(Clone, Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Incoming<'l>(&'l Listener);

impl Listener {
    /// [`Listener::accept`] again and again: waits for each next peer that was accepted, or
    /// refused. Never `None`; an error is about one connection, and the listener goes on.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }
}

impl Iterator for Incoming<'_> {
    type Item = Result<Link, AcceptError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept())
    }
}

impl FusedIterator for Incoming<'_> {}
