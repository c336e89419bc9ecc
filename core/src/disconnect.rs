//! Reasons for the end of a connection, as callers report them.

use crate::Loss;

/// Why a connection is over or could not be opened, as the caller reports it with
/// [`Link::handle_lost`](crate::Link::handle_lost). The link turns it into a [`Loss`], which may
/// have further reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// The transport failed, was reset or could not be opened: [`Loss::Transport`].
    Transport,
    /// The peer ended the transport where TLS did not allow it to end: [`Loss::PeerLeft`].
    PeerLeft,
    /// The same before the connection was secured: [`Loss::PeerLeftEarly`].
    PeerLeftEarly,
    /// The connection could not be secured, or what arrived is not what was sent: [`Loss::Security`].
    Security,
    /// The peer does not accept this end's identity, or the other way round, and never will:
    /// [`Loss::NotTrusted`].
    NotTrusted,
    /// The other end is not the peer: [`Loss::Unproven`].
    Unproven,
    /// A certificate is not valid now: [`Loss::OutOfDate`].
    OutOfDate,
    /// The caller gives the link up: [`Loss::Abandoned`].
    Abandoned,
}

impl Disconnect {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Transport,
        Self::PeerLeft,
        Self::PeerLeftEarly,
        Self::Security,
        Self::NotTrusted,
        Self::Unproven,
        Self::OutOfDate,
        Self::Abandoned,
    ];

    /// Returns the name in captures, which is that of the loss.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.loss().name()
    }

    /// Returns the corresponding loss.
    #[must_use]
    pub const fn loss(self) -> Loss {
        match self {
            Self::Transport => Loss::Transport,
            Self::PeerLeft => Loss::PeerLeft,
            Self::PeerLeftEarly => Loss::PeerLeftEarly,
            Self::Security => Loss::Security,
            Self::NotTrusted => Loss::NotTrusted,
            Self::Unproven => Loss::Unproven,
            Self::OutOfDate => Loss::OutOfDate,
            Self::Abandoned => Loss::Abandoned,
        }
    }
}
