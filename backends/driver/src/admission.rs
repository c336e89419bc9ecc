//! Admission: which authenticated peers a listener's application admits.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_core::{ChannelConfig, Refusal};
use countersign_endpoint::{Fingerprint, Peer};

/// An authenticated peer that wants a link from a listener.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    peer: Option<&'a Peer>,
    address: Option<SocketAddr>,
}

impl<'a> Arrival<'a> {
    pub(crate) const fn new(peer: Option<&'a Peer>, address: Option<SocketAddr>) -> Self {
        Self { peer, address }
    }

    /// Returns the peer's name, as [`Link::peer_name`](crate::Link::peer_name).
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.peer?.name()
    }

    /// Returns the fingerprint of the key that the peer has proved to hold; `None` on a plain
    /// connection, where it is unknown.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.peer.map(Peer::fingerprint)
    }

    /// Returns the address of the peer's connection, if that is an IP address.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// An application's answer to an [`Arrival`].
///
/// An admitted peer is still refused if its declaration does not fit, or if the listener has no
/// room for another link ([`Limits`](crate::Limits)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// Admits the peer, with the channels of the listener's declaration.
    Admit,
    /// Admits the peer, with these channels instead. Everything else is as in the listener's
    /// [`Config`](countersign_core::Config).
    ///
    /// Invalid channels ([`Config::check`](countersign_core::Config::check)) are this end's
    /// mistake: the peer is refused, and the error at both ends says what is wrong with them
    /// ([`refuse::MISCONFIGURED`](countersign_core::refuse::MISCONFIGURED)).
    AdmitWith(Vec<ChannelConfig>),
    /// Refuses the peer, which receives a code of the application
    /// ([`refuse::APPLICATION`](countersign_core::refuse::APPLICATION) and above), a text, and
    /// whether to come back. [`Listener::accept`](crate::Listener::accept) reports it like every
    /// refusal ([`EndReason::TurnedAway`](countersign_core::EndReason::TurnedAway)). In the
    /// tlsstream dialect, which cannot express it, the connection just ends.
    Refuse(Refusal),
}

impl From<Refusal> for Admission {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// The application's admission handler.
#[derive(Clone)]
pub(crate) struct Admit(Arc<dyn Fn(&Arrival<'_>) -> Admission + Send + Sync>);

impl Admit {
    pub(crate) fn new(admit: impl Fn(&Arrival<'_>) -> Admission + Send + Sync + 'static) -> Self {
        Self(Arc::new(admit))
    }

    pub(crate) fn ask(&self, arrival: &Arrival<'_>) -> Admission {
        (self.0)(arrival)
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admit").finish_non_exhaustive()
    }
}
