//! What opens the connections of a link.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::transport::Transport;

/// Opens transport connections to one peer, one at a time.
pub trait Dial {
    /// The transport that it opens.
    type Transport: Transport;

    /// Returns `Ready` when a connection is open or has failed; the next call begins another
    /// attempt. Each attempt has its own time limit.
    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Self::Transport>>;

    /// Cancels the attempt in progress, if any.
    fn give_up(&mut self);

    /// Reports that the connection opened last has led to the peer.
    fn arrived(&mut self) {}

    /// Whether the peer may be at another address than that of the last connection: there are
    /// addresses that have not been tried.
    fn has_others(&self) -> bool {
        false
    }
}

/// Opens connections with the futures that a closure makes.
pub struct Dialer<Open, F> {
    open: Open,
    attempt: Option<Pin<Box<F>>>,
}

impl<Open, F> std::fmt::Debug for Dialer<Open, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl<Open, F> Dialer<Open, F> {
    pub(crate) fn new(open: Open) -> Self {
        let attempt = None;
        Self { open, attempt }
    }
}

impl<Open, F, T> Dial for Dialer<Open, F>
where
    Open: FnMut() -> F,
    F: Future<Output = io::Result<T>>,
    T: Transport,
{
    type Transport = T;

    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let attempt = self.attempt.get_or_insert_with(|| Box::pin((self.open)()));
        let result = ready!(attempt.as_mut().poll(context));
        self.attempt = None;
        Poll::Ready(result)
    }

    fn give_up(&mut self) {
        self.attempt = None;
    }
}

/// Opens nothing: for a link that ends with its connection, or whose peer is the one that connects.
/// Such a link never dials.
#[derive(Debug)]
pub struct NoDial<T>(PhantomData<fn() -> T>);

impl<T> NoDial<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Transport> Dial for NoDial<T> {
    type Transport = T;

    fn poll_dial(&mut self, _: &mut Context<'_>) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn give_up(&mut self) {}
}
