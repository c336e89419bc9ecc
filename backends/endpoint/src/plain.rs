//! A connection without security, which passes bytes through.

use crate::error::{Reason, SecurityError};
use crate::received::Received;

/// The state of a plain connection.
#[derive(Debug, Default)]
pub(crate) struct PlainConnection {
    announced: bool,
    closed: bool,
}

impl PlainConnection {
    pub(crate) fn read(&mut self, bytes: &[u8], deliver: &mut dyn FnMut(Received<'_>)) -> usize {
        if !self.announced {
            self.announced = true;
            deliver(Received::Secured {
                peer: None,
                id: None,
            });
        }
        if !bytes.is_empty() {
            deliver(Received::Data(bytes));
        }
        bytes.len()
    }

    pub(crate) const fn may_write(&self) -> bool {
        !self.closed
    }

    pub(crate) fn write(&self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, SecurityError> {
        if self.closed {
            return Err(Reason::AlreadyClosed.into());
        }
        let needed = plaintext.len();
        out.get_mut(..needed)
            .ok_or(Reason::OutputTooSmall { needed })?
            .copy_from_slice(plaintext);
        Ok(needed)
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}
