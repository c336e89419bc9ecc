//! The sending direction of a connection.

use crate::buffer::{Buffer, LENGTH};
use crate::connection::Connection;
use crate::error::SecurityError;

/// What to do with the sending direction of a transport.
#[derive(Debug)]
pub enum ToSend<'a> {
    /// Send the content of this buffer, which is at least one byte. Remove what was sent from its
    /// front, and call [`Endpoint::sent`](super::Endpoint::sent). Until then the next result is
    /// this buffer again, untouched, so a transport that needs the memory may take its content
    /// meanwhile and leave it empty.
    Bytes(&'a mut Buffer),
    /// There is nothing to send until something happens.
    Nothing,
    /// Shut down this end's direction, and call [`Endpoint::shut`](super::Endpoint::shut) then.
    End,
}

/// Output that was not sent yet.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Output of the link that is not encrypted.
    pub(super) plaintext: Buffer,
    /// Bytes to send.
    pub(super) output: Buffer,
    /// The output was handed out, and none of it is known to be sent: the transport may hold it.
    pub(super) handed_out: bool,
    /// The link has no more output.
    pub(super) ended: bool,
    /// This end's direction of the transport is to be shut down.
    pub(super) ending: bool,
    /// This end's direction of the transport is shut down, or unusable.
    pub(super) shut: bool,
}

impl Sending {
    /// Whether there is something to send.
    pub(super) const fn has_output(&self) -> bool {
        self.handed_out || !self.output.is_empty()
    }

    /// Whether all output of the link is sent.
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_output() && self.plaintext.is_empty()
    }

    /// Encrypts the link's output, after the pending output of the security layer.
    pub(super) fn encrypt(&mut self, connection: &mut Connection) -> Result<(), SecurityError> {
        let pending = connection.pending_len();
        if pending > 0 {
            let written = connection.write_pending(self.output.space(pending));
            self.output.commit(written);
        }
        let length = self.plaintext.filled().len();
        let needed = connection.ciphertext_len(length);
        // The second is encrypted later if both together need more memory than one buffer.
        let fits = self.output.is_empty() || self.output.filled().len() + needed <= LENGTH;
        if length == 0 || !fits {
            return Ok(());
        }
        let space = self.output.space(needed);
        let encrypted = connection.write(self.plaintext.filled(), space);
        self.plaintext.clear();
        self.output.commit(encrypted?);
        Ok(())
    }

    /// Drops all of it.
    pub(super) fn discard(&mut self) {
        self.plaintext.clear();
        self.output.clear();
        self.handed_out = false;
    }

    pub(super) fn release(&mut self) {
        self.plaintext.release();
        self.output.release();
    }
}
