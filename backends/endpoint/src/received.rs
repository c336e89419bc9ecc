//! What arrives on a connection.

use std::fmt;

use countersign_core::PeerId;

use crate::peer::Peer;

/// The longest piece of input that can be incomplete, in bytes: a TLS record with its header
/// (RFC 8446, section 5.2).
///
/// A receive buffer of this size is always enough, even before the peer is authenticated: with that
/// much in it, [`Connection::read`](crate::Connection::read) either consumes something or fails.
pub const MAX_RECORD: usize = 5 + 16_384 + 256;

/// What [`Connection::read`](crate::Connection::read) delivers.
#[derive(PartialEq, Eq)]
pub enum Received<'a> {
    /// The handshake is done as far as this end can tell, once for each connection and before
    /// anything else.
    ///
    /// On the connecting side the peer may still refuse: in TLS 1.3 the accepting side verifies
    /// the other's certificate last, and a refusal arrives as an error of a later `read`.
    Secured {
        /// The identity that the peer has proved; `None` on a plain connection, where it is
        /// unknown.
        peer: Option<Peer>,
        /// The peer that owns the key: the same for all pinned keys of [one
        /// peer](crate::Pins::of_one_peer).
        id: Option<PeerId>,
    },
    /// The peer's data, in the order it was sent; never empty.
    Data(&'a [u8]),
    /// The peer ended its direction in an orderly way (close_notify): no data follows.
    End,
}

impl fmt::Debug for Received<'_> {
    /// Leaves the data out, since debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secured { peer, .. } => f.debug_tuple("Secured").field(peer).finish(),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::End => f.write_str("End"),
        }
    }
}
