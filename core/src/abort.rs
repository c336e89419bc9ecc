//! Codes of the ABORT frame (`docs/protocol.md`, Violations): what a peer did wrong, or that it is
//! no longer trusted.

/// Bytes that are not a frame of this protocol.
pub const FRAMING: u16 = 1;
/// An invalid handshake, or a frame that is not allowed at its point of the connection.
pub const HANDSHAKE: u16 = 2;
/// More than an agreed limit.
pub const LIMIT: u16 = 3;
/// Invalid numbers, channels or directions.
pub const SEQUENCE: u16 = 4;
/// A close that contradicts itself.
pub const CLOSE: u16 = 5;
/// No violation: the sender no longer accepts the receiver's identity.
pub const NOT_TRUSTED: u16 = 6;
