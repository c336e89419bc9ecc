//! What is on its way out of a connection.

use crate::buffer::{Buffer, LENGTH};
use crate::connection::Connection;
use crate::error::SecurityError;

/// What is to be done with the sending direction of a transport.
#[derive(Debug)]
pub enum ToSend<'a> {
    /// The content of this buffer is to be sent, one byte at least. Remove what was sent from its
    /// front, and call [`Endpoint::sent`](super::Endpoint::sent). Until then the next answer is
    /// this buffer again, untouched, so a transport that needs the memory may hold its content
    /// meanwhile and leave it empty.
    Bytes(&'a mut Buffer),
    /// There is nothing to send until something happens.
    Nothing,
    /// This end's direction is to be ended; [`Endpoint::shut`](super::Endpoint::shut) takes note
    /// that it was.
    End,
}

/// What is on its way out.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// What the link has said and is not encrypted.
    pub(super) plaintext: Buffer,
    /// What is to be sent.
    pub(super) output: Buffer,
    /// The output was handed out, and none of it is known to be sent: the transport may hold it.
    pub(super) handed_out: bool,
    /// The link has nothing more to say.
    pub(super) ended: bool,
    /// Our direction of the transport is to be ended.
    pub(super) ending: bool,
    /// Our direction of the transport has ended, or can't be used any more.
    pub(super) shut: bool,
}

impl Sending {
    /// Whether there is something to send.
    pub(super) const fn has_output(&self) -> bool {
        self.handed_out || !self.output.is_empty()
    }

    /// Whether everything that the link has said is sent.
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_output() && self.plaintext.is_empty()
    }

    /// Makes output of what the link has said, behind what the security layer has to say.
    pub(super) fn encrypt(&mut self, connection: &mut Connection) -> Result<(), SecurityError> {
        let pending = connection.pending_len();
        if pending > 0 {
            let written = connection.write_pending(self.output.space(pending));
            self.output.commit(written);
        }
        let length = self.plaintext.filled().len();
        let needed = connection.ciphertext_len(length);
        // Both together are in no need of more memory than either, or the second waits.
        let fits = self.output.is_empty() || self.output.filled().len() + needed <= LENGTH;
        if length == 0 || !fits {
            return Ok(());
        }
        let space = self.output.space(needed);
        let encrypted = connection.write(self.plaintext.filled(), space);
        self.plaintext.clear();
        self.plaintext.release();
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
