//! An observer of the `tlsstream` dialect on the wire, which has neither numbers nor frames.

use crate::lasting::observer::Seen;

/// Reads the messages of one direction.
#[derive(Default, Debug)]
pub(super) struct Messages {
    buffer: Vec<u8>,
    inside: bool,
}

impl Messages {
    /// What comes into sight with these bytes: the length of a message, or all of its payload.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.buffer.extend_from_slice(bytes);
        core::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Seen> {
        let end = self.buffer.iter().position(|byte| *byte == b'!')?;
        let digits = core::str::from_utf8(&self.buffer[..end]).expect("digits");
        let total: usize = digits.parse().expect("a length");
        let begins = !self.inside;
        if begins {
            self.inside = true;
        } else if self.buffer.len() > end + total {
            self.buffer.drain(..=end + total);
            self.inside = false;
        } else {
            return None;
        }
        Some(Seen::Data {
            channel: 0,
            number: None,
            first: begins,
            last: !begins,
            length: if begins { 0 } else { total },
            total: begins.then_some(total),
        })
    }
}

/// Reads the confirmations of the other direction.
#[derive(Default, Debug)]
pub(super) struct Confirmations(Vec<u8>);

impl Confirmations {
    /// How many are whole with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        self.0.extend_from_slice(bytes);
        let whole = self.0.len() / 3;
        let confirmations = self.0.drain(..3 * whole);
        assert!(
            confirmations
                .as_slice()
                .chunks(3)
                .all(|word| word == b"OK!")
        );
        whole
    }
}
