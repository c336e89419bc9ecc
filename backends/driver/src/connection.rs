//! One transport connection of a link, and the moving of its bytes.

use std::io;
use std::task::{Context, Poll};

use countersign_core::{Dialect, Instant, Protocol, Role};
use countersign_endpoint::{Endpoint, Security, ToSend};

use crate::driver::Transport;
use crate::status::Addresses;

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
    pub(crate) endpoint: Endpoint,
    transport: T,
    /// The transport may still keep some of what it took.
    unflushed: bool,
    /// The transport takes nothing more before what it was given last.
    writing: bool,
    /// It was read from, or about to be.
    begun: bool,
}

impl<T: Transport> Connection<T> {
    /// Begins on a transport connection that has just been opened or accepted.
    pub(crate) fn new(security: &Security, role: Role, dialect: Dialect, transport: T) -> Self {
        Self {
            endpoint: Endpoint::new(security, role, dialect),
            transport,
            unflushed: false,
            writing: false,
            begun: false,
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.transport.addresses()
    }

    /// Encrypts and sends what there is, as far as the transport takes it.
    pub(crate) fn write(&mut self, context: &mut Context<'_>) {
        loop {
            match self.endpoint.to_send() {
                ToSend::Nothing => return,
                ToSend::End => {
                    self.flush(context);
                    if !self.unflushed {
                        self.shut_down(context);
                    }
                    return;
                }
                ToSend::Bytes(buffer) => match self.transport.poll_write(context, buffer) {
                    Poll::Pending => {
                        self.writing = true;
                        return;
                    }
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.writing = false;
                        self.endpoint.sent();
                        self.unflushed = true;
                    }
                    // Not the peer's doing, from which there would be something to read.
                    Poll::Ready(Ok(_)) => self.endpoint.failed(takes_nothing()),
                    Poll::Ready(Err(error)) => self.endpoint.cannot_send(error),
                },
            }
        }
    }

    /// Has the transport send what it keeps; false where it has failed.
    fn flush(&mut self, context: &mut Context<'_>) -> bool {
        // One after the other: the transport may be at work on what it was asked last.
        if self.unflushed
            && !self.writing
            && let Poll::Ready(result) = self.transport.poll_flush(context)
        {
            self.unflushed = false;
            if let Err(error) = result {
                self.endpoint.cannot_send(error);
                return false;
            }
        }
        true
    }

    fn shut_down(&mut self, context: &mut Context<'_>) {
        let Poll::Ready(result) = self.transport.poll_shutdown(context) else {
            return;
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the transport could not be shut down");
        }
        self.endpoint.shut();
    }

    /// Receives and decrypts what is there; true when there was something.
    pub(crate) fn read(&mut self, context: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            // What this end has to say first goes out, whatever there is to read.
            return true;
        }
        if self.endpoint.is_read_ended() {
            return false;
        }
        match self.transport.poll_read(context, self.endpoint.input()) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) => self.endpoint.received(count),
            Poll::Ready(Err(error)) => self.endpoint.failed(error),
        }
        true
    }

    /// Tells the peer why the connection could not be secured, as far as the transport takes it
    /// at once: a link that goes on to another connection waits no longer for this one.
    pub(crate) fn flush_alert(&mut self, context: &mut Context<'_>) {
        if self.endpoint.failure().is_some() {
            self.write(context);
        }
    }

    /// Hands the link what has arrived, lets it do what is due, and takes what it has to say. Where
    /// something was `read` there may be more.
    pub(crate) fn exchange(&mut self, now: Instant, link: &mut impl Protocol, read: bool) {
        if read {
            self.endpoint.exchange_while_reading(now, link);
        } else {
            self.endpoint.exchange(now, link);
        }
    }

    /// Has the transport send what it keeps, and lets go of memory that is not needed while nothing
    /// moves; false where the transport has failed, so that there is something to do.
    pub(crate) fn rest(&mut self, context: &mut Context<'_>) -> bool {
        let flushed = self.flush(context);
        self.endpoint.release();
        flushed
    }
}
