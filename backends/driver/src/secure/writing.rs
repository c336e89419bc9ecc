//! The sending direction of a secure stream.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_endpoint::{Buffer, Connection};

use super::ConnectionAccess;
use super::setup::io_error;
use crate::connection::write_zero;
use crate::transport::Transport;

/// How much is encrypted at once at most, in bytes: four full TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// The sending direction: ciphertext that was not sent yet, 65 KiB at most. The memory is released
/// as soon as all of it is sent.
#[derive(Debug, Default)]
pub struct Writing {
    output: Buffer,
    /// The transport has not taken all of the output yet, and may hold it.
    sending: bool,
    /// A flush or the shutdown of the transport is pending: a caller waits for it.
    waiting: bool,
    /// All data is sent, and only the close_notify follows.
    closing: bool,
    /// The close_notify is sent too: the shutdown of the transport is pending.
    shutting_down: bool,
    /// The transport's direction is shut down.
    shut_down: bool,
}

impl Writing {
    /// Encrypts and sends from the front of `bytes`, as soon as what was encrypted before is sent;
    /// returns how many bytes it took. See
    /// [`SecureStream::poll_write`](super::SecureStream::poll_write).
    ///
    /// # Errors
    ///
    /// As for [`SecureStream::poll_write`](super::SecureStream::poll_write).
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
                // An alert that tells the peer why may be pending.
                let _ = self.poll_flush(context, transport, access);
                return Poll::Ready(Err(io_error(error)));
            }
        }
        // What is not sent now is sent before the next write.
        match self.poll_send(context, transport) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    /// Sends all ciphertext, as the only place that writes to the transport.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
    ) -> Poll<io::Result<()>> {
        while self.sending || !self.output.is_empty() {
            let sent = transport.poll_write(context, &mut self.output);
            self.sending = sent.is_pending();
            if ready!(sent)? == 0 {
                return Poll::Ready(Err(write_zero()));
            }
        }
        self.output.release();
        Poll::Ready(Ok(()))
    }

    /// Sends everything that is pending.
    ///
    /// # Errors
    ///
    /// The transport's error.
    pub fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        if self.shutting_down {
            // Nothing is left to send, and the shutdown of the transport is pending.
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

    /// Sends everything, then a close_notify, then shuts this direction of the transport down.
    ///
    /// # Errors
    ///
    /// The transport's error.
    pub fn poll_shutdown(
        &mut self,
        context: &mut Context<'_>,
        transport: &mut impl Transport,
        access: &mut impl ConnectionAccess,
    ) -> Poll<io::Result<()>> {
        if self.shut_down {
            return Poll::Ready(Ok(()));
        }
        if !self.closing {
            ready!(self.poll_flush(context, transport, access))?;
            access.with(Connection::close);
            self.closing = true;
        }
        if !self.shutting_down {
            ready!(self.poll_flush(context, transport, access))?;
            self.shutting_down = true;
        }
        let shut_down = transport.poll_shutdown(context);
        self.waiting = shut_down.is_pending();
        match ready!(shut_down) {
            // Some systems return this if the peer has ended the connection before.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return Poll::Ready(Err(error));
            }
            _ => self.shut_down = true,
        }
        Poll::Ready(Ok(()))
    }

    /// Whether no caller waits for the transport.
    pub(super) fn is_idle(&self) -> bool {
        self.output.is_empty() && !self.sending && !self.waiting
    }

    /// Whether all data is sent, and only the close_notify follows.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }
}
