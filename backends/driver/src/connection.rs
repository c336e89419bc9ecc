//! One transport connection of a link, and the moving of its bytes.

use std::io;
use std::task::{Context, Poll};

use countersign_core::Instant;
use countersign_endpoint::{Cause, Security, ToSend, Wire};

use crate::driver::Transport;
use crate::shared::Shared;

/// What is told of a transport that takes no bytes and says nothing of an error.
pub(crate) fn takes_nothing() -> io::Error {
    io::Error::new(
        io::ErrorKind::WriteZero,
        "the transport takes no more bytes",
    )
}

/// A transport and what goes over it.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    wire: Wire,
    transport: T,
    /// The transport may still keep some of what it took.
    unflushed: bool,
}

impl<T: Transport> Connection<T> {
    /// Begins on a transport connection that has just been opened or accepted.
    pub(crate) fn new(security: &Security, transport: T, shared: &Shared) -> Self {
        let now = shared.clock.now();
        let wire = Wire::new(security, now, &mut &*shared);
        Self {
            wire,
            transport,
            unflushed: false,
        }
    }

    /// Somebody else than the peer at its other end is no reason to give up: there are other
    /// addresses.
    pub(crate) fn expect_others(&mut self) {
        self.wire.expect_others();
    }

    /// Goes on for the link that has taken this connection over.
    pub(crate) fn attach(&mut self, connection: u64) {
        self.wire.attach(connection);
    }

    /// Judges the peer again, after identity and trust were replaced.
    pub(crate) fn recheck(&mut self, now: Instant, shared: &Shared) {
        self.wire.recheck(now, &mut &*shared);
    }

    /// Encrypts and sends until nothing is left or the transport takes no more; true when it did
    /// anything.
    pub(crate) fn write(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        shared: &Shared,
    ) -> bool {
        let mut progress = false;
        loop {
            match self.wire.to_send(now, &mut &*shared) {
                ToSend::Nothing => return self.flush(context, shared) || progress,
                ToSend::End => {
                    // One after the other: the transport may be at work on what it was asked last.
                    progress |= self.flush(context, shared);
                    return (!self.unflushed && self.shut_down(context)) || progress;
                }
                ToSend::Bytes(buffer) => match self.transport.poll_write(context, buffer) {
                    Poll::Pending => return progress,
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.wire.sent();
                        self.unflushed = true;
                    }
                    Poll::Ready(Ok(_)) => self.takes_nothing(now, shared),
                    Poll::Ready(Err(error)) => self.cannot_send(error, shared),
                },
            }
            progress = true;
        }
    }

    /// Has the transport send what it keeps, once there is nothing more to give it; true when it
    /// can't.
    fn flush(&mut self, context: &mut Context<'_>, shared: &Shared) -> bool {
        if !self.unflushed {
            return false;
        }
        let Poll::Ready(result) = self.transport.poll_flush(context) else {
            return false;
        };
        self.unflushed = false;
        let failed = result.map_err(|error| self.cannot_send(error, shared));
        failed.is_err()
    }

    fn cannot_send(&mut self, error: io::Error, shared: &Shared) {
        self.unflushed = false;
        self.wire.cannot_send();
        self.explain(error, shared);
    }

    /// The transport takes no bytes and says nothing of an error: it is of no more use, and that is
    /// not the peer's doing, from which there would be something to read.
    fn takes_nothing(&mut self, now: Instant, shared: &Shared) {
        self.unflushed = false;
        self.explain(takes_nothing(), shared);
        self.wire.failed(now, &mut &*shared);
    }

    fn shut_down(&mut self, context: &mut Context<'_>) -> bool {
        let Poll::Ready(result) = self.transport.poll_shutdown(context) else {
            return false;
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the transport could not be shut down");
        }
        self.unflushed = false;
        self.wire.shut();
        true
    }

    /// Keeps what the transport says, if that is still of interest: a link that has another
    /// connection by now does not care what is wrong with this one.
    fn explain(&self, error: io::Error, shared: &Shared) {
        if !self.wire.is_fenced(&mut &*shared) {
            let cause = Cause::from(error);
            shared.with(|state| state.explanation.transport(&state.link, cause.clone()));
        }
    }

    /// Receives and decrypts what is there; true when it did anything.
    pub(crate) fn read(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        shared: &Shared,
    ) -> bool {
        if self.wire.is_read_ended() {
            return false;
        }
        match self.transport.poll_read(context, self.wire.input()) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) => self.wire.received(now, count, &mut &*shared),
            Poll::Ready(Err(error)) => {
                self.unflushed = false;
                self.explain(error, shared);
                self.wire.failed(now, &mut &*shared);
            }
        }
        true
    }

    /// Tells the peer why the connection could not be secured, as far as the transport takes it
    /// at once: a link that goes on to another connection waits no longer for this one.
    pub(crate) fn say_why(&mut self, context: &mut Context<'_>, now: Instant, shared: &Shared) {
        if self.wire.failure().is_some() {
            self.write(context, now, shared);
        }
    }

    /// Lets go of memory that is not needed while nothing moves.
    pub(crate) fn release(&mut self) {
        self.wire.release();
    }

    /// Whether output of the link would not go out now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.wire.is_blocked()
    }

    /// When to stop waiting for a peer that does not end its direction.
    pub(crate) fn linger(&self) -> Option<Instant> {
        self.wire.deadline()
    }

    /// Whether the link has no more use for this connection.
    pub(crate) fn is_over(&mut self, now: Instant, shared: &Shared) -> bool {
        self.wire.is_over(now, &mut &*shared)
    }
}
