//! What has arrived on a connection, until the link has it.

use crate::buffer::Buffer;
use crate::connection::{Connection, Received};
use crate::error::SecurityError;

use super::Proven;

/// What has arrived, in the order in which the link gets it.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// What is not decrypted.
    pub(super) input: Buffer,
    /// The link was not told that the connection is secured,
    pub(super) secured: bool,
    /// of this,
    pub(super) plaintext: Buffer,
    /// that the peer has ended its direction,
    pub(super) eof: bool,
    /// or that the transport has failed.
    pub(super) failed: bool,
    /// Nothing more will come.
    pub(super) ended: bool,
}

impl Receiving {
    /// Decrypts what is complete. What came before an error stays.
    pub(super) fn decrypt(
        &mut self,
        connection: &mut Connection,
        proven: &mut Option<Proven>,
    ) -> Result<(), SecurityError> {
        let Self {
            input,
            secured,
            plaintext,
            eof,
            ended,
            ..
        } = self;
        let plain = connection.is_plain();
        let result = connection.read(input.filled_mut(), &mut |received| match received {
            Received::Secured { peer, id } => {
                *proven = Some(Proven { peer, id });
                *secured = true;
            }
            // Not copied where it is all that was read.
            Received::Data(_) if plain && plaintext.is_empty() => {}
            // The TLS library decrypts to memory that it keeps, and not in place.
            Received::Data(data) => plaintext.append(data),
            Received::End => {
                *ended = true;
                *eof = true;
            }
        });
        let consumed = match &result {
            Ok(consumed) => *consumed,
            Err(_) => input.filled().len(),
        };
        if plain && plaintext.is_empty() {
            std::mem::swap(input, plaintext);
        } else {
            input.consume(consumed);
        }
        input.release();
        result.map(|_| ())
    }

    /// Drops what was read.
    pub(super) fn discard_input(&mut self) {
        self.input.clear();
        self.input.release();
    }

    /// Drops what the link was not told: it is not to hear of it any more.
    pub(super) fn discard(&mut self) {
        self.secured = false;
        self.eof = false;
        self.failed = false;
        self.plaintext.clear();
        self.plaintext.release();
    }

    pub(super) fn release(&mut self) {
        self.input.release();
        self.plaintext.release();
    }
}
