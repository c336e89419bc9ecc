//! Codes of the REFUSE frame (`docs/protocol.md`, Handshake): why a link can't be.

/// No protocol version in common.
pub const VERSION: u16 = 1;
/// A channel is in the same mode at both ends.
pub const MODE_CONFLICT: u16 = 2;
/// A channel is declared at one end only.
pub const CHANNEL_MISSING: u16 = 3;
/// The sender's policy is not the one that the receiver requires.
pub const POLICY_CONFLICT: u16 = 4;
/// The acceptor has too many links just now; trying again later can help.
pub const BUSY: u16 = 5;
/// HELLO names a session, but its opener has come back on another connection since.
pub const STALE: u16 = 6;
