//! How much memory a connection takes at most.

use crate::buffer::LENGTH;
use crate::received::MAX_RECORD;
use crate::security::{Choice, Security};

use super::Endpoint;

/// The most memory that TLS takes for one connection, in bytes: its keys, a flight of the
/// handshake, the peer's certificates, and records that rustls has processed and not consumed. A
/// peer's message is no longer than [`MAX_RECORD`].
const TLS: usize = 6 * MAX_RECORD;

impl Security {
    /// Returns how many bytes of memory an [`Endpoint`] takes at most for one connection with this
    /// security, whatever its peer does (`docs/limits.md`), provided that received data, 48 KiB at
    /// most, is passed to the link before more is read. Buffers are borrowed from the thread, and
    /// returned by [`Endpoint::release`] when they are empty.
    #[must_use]
    pub const fn memory_bound(&self) -> usize {
        match self.choice {
            Choice::Plaintext => size_of::<Endpoint>() + 3 * LENGTH,
            Choice::Tls { .. } => size_of::<Endpoint>() + 4 * LENGTH + TLS,
        }
    }
}
