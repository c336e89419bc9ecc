//! Whom a listener's application lets in, beyond what pins say.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_core::{ChannelConfig, Refusal};
use countersign_endpoint::{Fingerprint, Peer};

/// A peer that wants a link of a listener, and has proved who it is.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    peer: Option<&'a Peer>,
    address: Option<SocketAddr>,
}

impl<'a> Arrival<'a> {
    pub(crate) const fn new(peer: Option<&'a Peer>, address: Option<SocketAddr>) -> Self {
        Self { peer, address }
    }

    /// What the application calls the peer, as [`Link::peer_name`](crate::Link::peer_name).
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.peer?.name()
    }

    /// The key that the peer has proved to have; `None` on a plain connection, where nobody knows.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.peer.map(Peer::fingerprint)
    }

    /// Where its connection comes from, if that is an address of the Internet.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// What an application answers to an [`Arrival`].
///
/// With either yes the peer is refused all the same where its declaration does not fit, or where the
/// listener has no room for another link ([`Limits`](crate::Limits)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It gets its link, with the channels of the listener's declaration.
    Admit,
    /// It gets its link, with these channels instead. Everything else is as the listener's
    /// [`Config`](countersign_core::Config) says.
    ///
    /// Channels that make no sense ([`Config::check`](countersign_core::Config::check)) are this end's
    /// mistake: the peer is refused, and both ends are told what is wrong with them
    /// ([`refuse::MISCONFIGURED`](countersign_core::refuse::MISCONFIGURED)).
    AdmitWith(Vec<ChannelConfig>),
    /// It is turned away, and told why: with a code of the application's own
    /// ([`refuse::APPLICATION`](countersign_core::refuse::APPLICATION) and above), a text, and whether to
    /// come back. [`Listener::accept`](crate::Listener::accept) tells of it as of every refusal
    /// ([`EndReason::TurnedAway`](countersign_core::EndReason::TurnedAway)). In the tlsstream dialect,
    /// which has no words for it, the connection just ends.
    Refuse(Refusal),
}

impl From<Refusal> for Admission {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// The application's word about those who arrive.
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
