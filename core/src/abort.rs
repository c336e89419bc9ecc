//! Codes of the ABORT frame (`docs/protocol.md`, Violations): what a peer did wrong, or that it is
//! not trusted any more.

/// Bytes that are not a frame of this protocol.
pub const FRAMING: u16 = 1;
/// A handshake that can't be, or a frame before or after its time.
pub const HANDSHAKE: u16 = 2;
/// More than a limit that was agreed on.
pub const LIMIT: u16 = 3;
/// Numbers, channels or directions that can't be.
pub const SEQUENCE: u16 = 4;
/// A close that contradicts itself.
pub const CLOSE: u16 = 5;
/// No violation: the sender no longer accepts the receiver's identity.
pub const NOT_TRUSTED: u16 = 6;
