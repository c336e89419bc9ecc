//! What a caller reports of connections that are over.

use crate::Loss;

/// Why a connection is over, or could not be had, as whoever drives a link reports it with
/// [`Link::handle_lost`](crate::Link::handle_lost). What the link makes of it is a [`Loss`], which it can
/// also find out by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// The transport failed or was reset, or could not be had: [`Loss::Transport`].
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
    /// Whoever is at the other end is not the peer: [`Loss::Unproven`].
    Unproven,
    /// A certificate is not valid now: [`Loss::OutOfDate`].
    OutOfDate,
    /// The caller wants no more of the link: [`Loss::Abandoned`].
    Abandoned,
}

impl Disconnect {
    /// All of them.
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

    /// The name in captures, which is that of the loss.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.loss().name()
    }

    /// What a link calls it.
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
