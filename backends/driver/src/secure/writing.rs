//! This end's direction of a secure stream.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_endpoint::{Buffer, Connection};

use super::ConnectionAccess;
use super::setup::io_error;
use crate::connection::takes_nothing;
use crate::driver::Transport;

/// How much is encrypted at once at most, in bytes: four full TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// This end's direction: what is encrypted and was not sent yet, 65 KiB at most. The memory is
/// given back as soon as all of it is sent.
#[derive(Debug, Default)]
pub struct Writing {
    output: Buffer,
    /// The transport has not taken all of the output yet, and may hold it.
    sending: bool,
    /// The transport has yet to be done with a flush, or with ending our direction: somebody waits.
    waiting: bool,
    /// All data is sent, and nothing follows but our goodbye.
    leaving: bool,
    /// Our goodbye is sent too: the transport is at work on ending our direction.
    shutting: bool,
    /// Our direction of the transport has ended.
    shut: bool,
}

impl Writing {
    /// Encrypts and sends from the front of `bytes`, as soon as what was encrypted before is sent;
    /// how much it took. See [`SecureStream::poll_write`](super::SecureStream::poll_write).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_send(context, transport))?;
        let bytes = &bytes[..bytes.len().min(PLAINTEXT)];
        let output = &mut self.output;
        let encrypted = access.with(|connection| {
            connection.recheck()?;
            let space = output.space(connection.ciphertext_len(bytes.len()));
            connection.write(bytes, space)
        });
        match encrypted {
            Ok(count) => self.output.commit(count),
            Err(error) => {
                // An alert may wait to tell the peer why.
                let _ = self.poll_flush(context, transport, access);
                return Poll::Ready(Err(io_error(error)));
            }
        }
        // What does not go out now goes before the next.
        match self.poll_send(context, transport) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    /// The one place that writes to the transport: sends all that is encrypted.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
    ) -> Poll<io::Result<()>> {
        while self.sending || !self.output.is_empty() {
            let sent = transport.poll_write(context, &mut self.output);
            self.sending = sent.is_pending();
            if ready!(sent)? == 0 {
                return Poll::Ready(Err(takes_nothing()));
            }
        }
        self.output.release();
        Poll::Ready(Ok(()))
    }

    /// Sends everything that waits to be sent.
    ///
    /// # Errors
    ///
    /// What the transport says.
    pub fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        if self.shutting {
            // Nothing is left, and the transport is at work on something else.
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(context, transport))?;
        let output = &mut self.output;
        access.with(|connection| {
            let pending = connection.pending_len();
            if pending > 0 {
                let written = connection.write_pending(output.space(pending));
                output.commit(written);
            }
        });
        ready!(self.poll_send(context, transport))?;
        let flushed = transport.poll_flush(context);
        self.waiting = flushed.is_pending();
        flushed
    }

    /// Sends everything, then a close_notify, then ends this direction of the transport.
    ///
    /// # Errors
    ///
    /// What the transport says.
    pub fn poll_shutdown(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        if !self.leaving {
            ready!(self.poll_flush(context, transport, access))?;
            access.with(Connection::close);
            self.leaving = true;
        }
        if !self.shutting {
            ready!(self.poll_flush(context, transport, access))?;
            self.shutting = true;
        }
        let shut = transport.poll_shutdown(context);
        self.waiting = shut.is_pending();
        match ready!(shut) {
            // Some systems say so when the peer has ended the connection before.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return Poll::Ready(Err(error));
            }
            _ => self.shut = true,
        }
        Poll::Ready(Ok(()))
    }

    /// Whether nobody waits for the transport to take something.
    pub(super) fn is_idle(&self) -> bool {
        self.output.is_empty() && !self.sending && !self.waiting
    }

    /// Whether all data is sent, and nothing follows but our goodbye.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }
}
