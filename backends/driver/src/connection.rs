//! One transport connection of a link, and the bytes on their way between the two.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::{Instant, Life};
use countersign_endpoint::{Buffer, Endpoint, Written};

use crate::driver::Transport;
use crate::error::Detail;
use crate::shared::Shared;

/// A transport and what secures it.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    endpoint: Endpoint,
    transport: T,
    input: Buffer,
    output: Buffer,
    /// The transport has not taken all of the output yet, and may hold it.
    writing: bool,
    /// The transport may still keep some of what it took.
    unflushed: bool,
    /// Our direction of the transport has ended, or can't be used any more.
    shut: bool,
    /// The transport could not end our direction yet.
    shutting: bool,
    /// When to stop waiting for a peer that does not end its direction.
    linger: Option<Instant>,
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(endpoint: Endpoint, transport: T) -> Self {
        Self {
            endpoint,
            transport,
            input: Buffer::default(),
            output: Buffer::default(),
            writing: false,
            unflushed: false,
            shut: false,
            shutting: false,
            linger: None,
        }
    }

    /// Goes on for the link that has taken this connection over.
    pub(crate) fn attach(&mut self, connection: u64) {
        self.endpoint.attach(connection);
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
        while !self.shut {
            if !self.writing && self.output.is_empty() {
                let mut scratch = Buffer::default();
                let written =
                    self.endpoint
                        .write(now, &mut self.output, &mut scratch, &mut &*shared);
                scratch.release();
                match written {
                    // What the endpoint has to say may come with the next call only: an alert that
                    // ends the connection, say. Writing nothing would look like a dead transport.
                    Written::Some if self.output.is_empty() => continue,
                    Written::Some => {}
                    Written::Nothing => break,
                    Written::End => {
                        progress |= self.shut_down(context);
                        break;
                    }
                }
            }
            let result = self.transport.poll_write(context, &mut self.output);
            self.writing = result.is_pending();
            match result {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.unflushed = true;
                    progress = true;
                }
                Poll::Ready(result) => {
                    let error = result
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    self.cannot_write(error, shared);
                    progress = true;
                }
            }
        }
        self.flush(context, shared) || progress
    }

    /// Has the transport send what it keeps, once there is nothing more to give it; true when it
    /// can't.
    fn flush(&mut self, context: &mut Context<'_>, shared: &Shared) -> bool {
        if !self.unflushed || self.writing || self.shut {
            return false;
        }
        match self.transport.poll_flush(context) {
            Poll::Pending => false,
            Poll::Ready(result) => {
                self.unflushed = false;
                result
                    .map_err(|error| self.cannot_write(error, shared))
                    .is_err()
            }
        }
    }

    fn shut_down(&mut self, context: &mut Context<'_>) -> bool {
        let result = self.transport.poll_shutdown(context);
        self.shutting = result.is_pending();
        match result {
            Poll::Pending => false,
            Poll::Ready(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "the transport could not be shut down");
                }
                self.shut = true;
                true
            }
        }
    }

    /// The transport takes nothing more. What the peer still had to say, an alert perhaps, may
    /// wait to be read and tell more than this error, so reading goes on to its end.
    fn cannot_write(&mut self, error: io::Error, shared: &Shared) {
        let length = self.output.filled().len();
        self.output.consume(length);
        self.shut = true;
        self.explain(error, shared);
    }

    /// Keeps what the transport says, if that is still of interest: a link that has another
    /// connection by now does not care what is wrong with this one.
    fn explain(&self, error: io::Error, shared: &Shared) {
        if !self.endpoint.is_fenced(&mut &*shared) {
            shared.with(|state| state.explain(Detail::Transport(Arc::new(error))));
        }
    }

    /// Receives and decrypts what is there; true when it did anything.
    pub(crate) fn read(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        shared: &Shared,
    ) -> bool {
        if self.endpoint.is_read_ended() {
            return false;
        }
        let Poll::Ready(result) = self.transport.poll_read(context, &mut self.input) else {
            return false;
        };
        match result {
            Ok(0) => {
                self.endpoint.read_eof(now, &mut &*shared);
            }
            Ok(_) => {
                let input = self.input.filled_mut();
                let consumed = self.endpoint.read(now, input, &mut &*shared);
                self.input.consume(consumed);
            }
            Err(error) => {
                self.explain(error, shared);
                self.shut = true;
                self.endpoint.failed(now, &mut &*shared);
            }
        }
        true
    }

    /// Tells the peer why the connection could not be secured, as far as the transport takes it
    /// at once: a link that goes on to another connection waits no longer for this one.
    pub(crate) fn say_why(&mut self, context: &mut Context<'_>, now: Instant, shared: &Shared) {
        if self.endpoint.failure().is_some() {
            self.write(context, now, shared);
        }
    }

    /// Lets go of memory that is not needed while nothing moves.
    pub(crate) fn release(&mut self) {
        self.input.release();
        self.output.release();
    }

    /// Whether output of the link would not go out now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.writing || self.shutting || self.shut
    }

    /// When to stop waiting for a peer that does not end its direction.
    pub(crate) fn linger(&self) -> Option<Instant> {
        self.linger
    }

    /// Whether the link has no more use for this connection: it waits for the next one, or has
    /// one, or has ended.
    ///
    /// A link that is over still leaves the peer some time to end the connection too: closing with
    /// unread input would make the operating system reset it, and the peer might never read our
    /// last words.
    pub(crate) fn is_over(&mut self, now: Instant, shared: &Shared) -> bool {
        if self.endpoint.is_fenced(&mut &*shared) {
            return true;
        }
        let (life, linger) =
            shared.with(|state| (state.link.life(), state.link.config().waits().linger));
        match life {
            Life::Offline | Life::Connecting => return true,
            Life::Ended => {}
            _ => return false,
        }
        let said =
            self.shut || (!self.writing && self.output.is_empty() && self.endpoint.is_over());
        let until = *self.linger.get_or_insert(now + linger);
        (said && self.endpoint.is_read_ended()) || now >= until
    }
}
