//! One message for each line.

use super::SplitError;
use super::partial::Partial;

/// The only thing that ends a line.
const NEWLINE: u8 = b'\n';

#[derive(Debug)]
pub(super) struct Lines {
    line: Partial,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            line: Partial::new(limit),
        }
    }

    pub(super) fn next_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, SplitError> {
        let newline = input.iter().position(|&byte| byte == NEWLINE);
        let count = newline.map_or(input.len(), |at| at + 1);
        self.line.take(input, count)?;
        Ok(newline.map(|_| self.line.complete(0)))
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        (self.line.len() > 0).then(|| self.line.complete(0))
    }
}
