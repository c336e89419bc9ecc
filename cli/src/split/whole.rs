//! The whole stream as one message.

use super::SplitError;
use super::partial::Partial;

#[derive(Debug)]
pub(super) struct Whole {
    stream: Partial,
}

impl Whole {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            stream: Partial::new(limit),
        }
    }

    pub(super) fn next_message(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<Vec<u8>>, SplitError> {
        self.stream.take(input, input.len())?;
        Ok(None)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.stream.complete(0)
    }
}
