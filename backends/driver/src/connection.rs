//! One transport connection of a link, and the moving of its bytes.

use std::io;
use std::task::{Context, Poll};

use countersign_core::{Dialect, Instant, Protocol, Role};
use countersign_endpoint::{Endpoint, Security, ToSend};

use crate::addresses::Addresses;
use crate::transport::Transport;

/// Makes the error for a transport that takes no bytes without returning an error.
pub(crate) fn write_zero() -> io::Error {
    io::Error::new(
        io::ErrorKind::WriteZero,
        "the transport takes no more bytes",
    )
}

/// A transport and the endpoint that uses it.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    pub(crate) endpoint: Endpoint,
    transport: T,
    /// The transport may still buffer some of what it took.
    unflushed: bool,
    /// A write is pending: the same write must be repeated before anything else.
    writing: bool,
    /// The first call of `read` is past.
    started: bool,
}

impl<T: Transport> Connection<T> {
    /// Takes a transport connection that has just been opened or accepted.
    pub(crate) fn new(security: &Security, role: Role, dialect: Dialect, transport: T) -> Self {
        Self {
            endpoint: Endpoint::new(security, role, dialect),
            transport,
            unflushed: false,
            writing: false,
            started: false,
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.transport.addresses()
    }

    /// Encrypts and sends pending output, as far as the transport takes it.
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
                    // Not caused by the peer, so there is no alert to read.
                    Poll::Ready(Ok(_)) => self.endpoint.failed(write_zero()),
                    Poll::Ready(Err(error)) => self.endpoint.cannot_send(error),
                },
            }
        }
    }

    /// Flushes the transport; returns false if that has failed.
    fn flush(&mut self, context: &mut Context<'_>) -> bool {
        // Not while a write is pending: a transport does one thing at a time.
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

    /// Receives and decrypts what has arrived; returns true if there was anything.
    pub(crate) fn read(&mut self, context: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.started, true) {
            // This end's first output is sent before anything is read.
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

    /// Sends the alert that tells the peer why the connection could not be secured, as far as the
    /// transport takes it at once: a link that continues on another connection does not wait for
    /// this one.
    pub(crate) fn flush_alert(&mut self, context: &mut Context<'_>) {
        if self.endpoint.failure().is_some() {
            self.write(context);
        }
    }

    /// Passes the link what has arrived, lets it do what is due, and takes its output. If something
    /// was `read`, there may be more.
    pub(crate) fn exchange(&mut self, now: Instant, link: &mut impl Protocol, read: bool) {
        if read {
            self.endpoint.exchange_while_reading(now, link);
        } else {
            self.endpoint.exchange(now, link);
        }
    }

    /// Flushes the transport, and releases memory that is not needed while idle; returns false if
    /// the transport has failed, so that there is something to do.
    pub(crate) fn flush_and_release(&mut self, context: &mut Context<'_>) -> bool {
        let flushed = self.flush(context);
        self.endpoint.release();
        flushed
    }
}
