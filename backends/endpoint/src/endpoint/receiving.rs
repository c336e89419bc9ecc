//! The receiving direction of a connection: data that the link has not taken yet.

use crate::buffer::Buffer;
use crate::connection::Connection;
use crate::error::SecurityError;
use crate::received::Received;

use super::Authenticated;

/// What has arrived. The link is informed of `secured`, `plaintext`, `eof` and `failed` in this
/// order.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// Data that is not decrypted yet.
    pub(super) input: Buffer,
    /// The connection is secured, which was not reported to the link yet.
    pub(super) secured: bool,
    /// Data that was not passed to the link yet.
    pub(super) plaintext: Buffer,
    /// The peer has ended its direction, which was not reported to the link yet.
    pub(super) eof: bool,
    /// The transport has failed, which was not reported to the link yet.
    pub(super) failed: bool,
    /// Nothing more will arrive.
    pub(super) ended: bool,
}

impl Receiving {
    /// Decrypts all complete records. Data before an error is kept.
    pub(super) fn decrypt(
        &mut self,
        connection: &mut Connection,
        authenticated: &mut Option<Authenticated>,
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
                *authenticated = Some(Authenticated { peer, id });
                *secured = true;
            }
            // Not copied if it is all that was read: see the swap below.
            Received::Data(_) if plain && plaintext.is_empty() => {}
            // The TLS library does not decrypt in place, but to memory that it owns.
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
        result.map(|_| ())
    }

    /// Drops input that is not decrypted.
    pub(super) fn discard_input(&mut self) {
        self.input.clear();
    }

    /// Drops what was not passed to the link, which no longer receives it.
    pub(super) fn discard(&mut self) {
        self.secured = false;
        self.eof = false;
        self.failed = false;
        self.plaintext.clear();
    }

    pub(super) fn release(&mut self) {
        self.input.release();
        self.plaintext.release();
    }
}
