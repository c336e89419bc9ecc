//! The memory of short messages.

use bytes::{Bytes, BytesMut};

/// Messages up to this length share an allocation with their neighbours.
const SHARED_MESSAGE: usize = 4096;
/// Length of such an allocation.
const CHUNK: usize = 16_384;
/// Where short messages of all channels of a link are copied to, side by side.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Pool(BytesMut);

impl Pool {
    #[inline(always)]
    pub(crate) fn copy(&mut self, data: &[u8]) -> Bytes {
        if data.is_empty() {
            return Bytes::new();
        }
        if data.len() > SHARED_MESSAGE {
            return Bytes::copy_from_slice(data);
        }
        if self.0.capacity() < data.len() {
            self.0.reserve(CHUNK);
        }
        self.0.extend_from_slice(data);
        self.0.split().freeze()
    }

    pub(crate) fn release_memory(&mut self) {
        self.0 = BytesMut::new();
    }
}
