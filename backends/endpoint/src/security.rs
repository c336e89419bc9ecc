//! How connections are secured: chosen once, then shared by all of a link's connections.

use std::fmt;
use std::sync::Arc;

use countersign_core::{Instant, LinkState, Protocol};
use rustls::KeyLogFile;

use crate::Endpoint;
use crate::buffer::LENGTH;
use crate::connection::MAX_RECORD;
use crate::error::{Reason, SecurityError};
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::pin::Pin;
use crate::settings::{Fixed, Tls};
use crate::setup_error::SetupError;
use crate::trust::Trust;
use crate::watch::{Store, Watch};

/// The protocol name that native connections agree on through ALPN (RFC 7301).
pub const ALPN_COUNTERSIGN: &str = "countersign";

/// What TLS itself takes at most for one connection: its keys, a flight of the handshake, the
/// peer's certificates, and records that rustls has looked at and not consumed. A peer's
/// message is no longer than [`MAX_RECORD`].
const TLS: usize = 6 * MAX_RECORD;

/// How connections are secured: TLS 1.3 with this identity and this trust, or not at all.
///
/// Cloning is cheap, and all clones are one: to change identity and pins, [replace](Self::replace)
/// them, and every listener, opener and link that was given a clone goes on with the new ones.
///
/// ```no_run
/// use countersign_endpoint::{Identity, Pins, Security};
///
/// let identity = Identity::from_pem_files("station.crt", "station.key")?;
/// let pins = Pins::from_files(["robot.crt"])?;
/// let security = Security::tls(identity, pins).build()?;
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone)]
pub struct Security {
    pub(crate) choice: Choice,
}

#[derive(Clone)]
pub(crate) enum Choice {
    Plaintext,
    Tls {
        store: Arc<Store>,
        /// Without ALPN.
        bare: bool,
        /// An acceptor need not ask for our certificate.
        one_sided: bool,
    },
}

impl Tls {
    /// Whether peers are pinned, and not certified by an authority.
    pub(crate) const fn is_pinned(&self) -> bool {
        matches!(self.trust, Trust::Pins(_))
    }
}

impl Security {
    /// TLS 1.3 with `identity` for this end and `trust` in the other: [`Pins`](crate::Pins),
    /// a [`Pin`](crate::Pin), a [`Fingerprint`], or an [`Authority`](crate::Authority).
    pub fn tls(identity: Identity, trust: impl Into<Trust>) -> TlsBuilder {
        TlsBuilder {
            identity,
            trust: trust.into(),
            alpn: vec![ALPN_COUNTERSIGN.as_bytes().to_vec()],
            key_log: false,
        }
    }

    /// No security at all: anybody on the way can read and change everything, and anybody can
    /// connect. For tests, and for wires that are protected by other means.
    #[must_use]
    pub const fn plaintext() -> Self {
        Self {
            choice: Choice::Plaintext,
        }
    }

    /// Whether this is [`Security::plaintext`].
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.choice, Choice::Plaintext)
    }

    /// Whether the keys of all connections are written to a file ([`TlsBuilder::key_log`]).
    #[must_use]
    pub fn logs_keys(&self) -> bool {
        match &self.choice {
            Choice::Plaintext => false,
            Choice::Tls { store, .. } => store.fixed().key_log.is_some(),
        }
    }

    /// Returns how many bytes of memory an [`Endpoint`] takes at most for one connection that is
    /// secured like this, whatever its peer does (`docs/limits.md`): where the link has what was
    /// received, 48 KiB at most, before more is read. Buffers are lent by the thread, and given back
    /// when they are empty.
    #[must_use]
    pub const fn memory_bound(&self) -> usize {
        match self.choice {
            Choice::Plaintext => size_of::<Endpoint>() + 3 * LENGTH,
            Choice::Tls { .. } => size_of::<Endpoint>() + 4 * LENGTH + TLS,
        }
    }

    /// The same without ALPN: what the tlsstream dialect needs, whose original knows nothing of it.
    /// It follows when identity and trust are [replaced](Self::replace).
    #[must_use]
    pub fn without_alpn(&self) -> Self {
        let choice = match &self.choice {
            Choice::Plaintext => Choice::Plaintext,
            Choice::Tls {
                store, one_sided, ..
            } => Choice::Tls {
                store: store.clone(),
                bare: true,
                one_sided: *one_sided,
            },
        };
        Self { choice }
    }

    /// The same for a [`Connection`](crate::Connection) that goes on with an acceptor which does not ask
    /// for this end's certificate, as most servers of the web. Such a peer does not know who we are, so
    /// this is nothing for links, which demand that both ends present a certificate and do so with this
    /// too. It follows when identity and trust are [replaced](Self::replace).
    #[must_use]
    pub fn one_sided(&self) -> Self {
        let choice = match &self.choice {
            Choice::Plaintext => Choice::Plaintext,
            Choice::Tls { store, bare, .. } => Choice::Tls {
                store: store.clone(),
                bare: *bare,
                one_sided: true,
            },
        };
        Self { choice }
    }

    pub(crate) const fn is_one_sided(&self) -> bool {
        matches!(
            self.choice,
            Choice::Tls {
                one_sided: true,
                ..
            }
        )
    }

    /// What the peer with this key is called now, if it is pinned and has a
    /// [name](crate::Pins::named).
    #[must_use]
    pub fn name_of(&self, key: Fingerprint) -> Option<Arc<str>> {
        self.tls_store()?.current().peers.name(key)
    }

    /// A peer under the name that it has now; one that is not pinned any more keeps its last.
    #[must_use]
    pub fn renamed(&self, peer: &Peer) -> Peer {
        let key = peer.fingerprint();
        match self.tls_store().map(|store| store.current()) {
            Some(current) if current.peers.id(key).is_some() => {
                Peer::new(key, current.peers.name(key))
            }
            _ => peer.clone(),
        }
    }

    /// Puts another identity and another trust in force, both at once, for this and all of its
    /// clones; protocol names and the key log stay. From here on
    /// - every new connection takes these;
    /// - a handshake that is under way goes on with the identity that it began with, and its peer is
    ///   judged by both trusts;
    /// - whoever drives a link hears of it ([`Security::watch`]) and has the peer judged again: the
    ///   link ends ([`EndReason::Revoked`](countersign_core::EndReason::Revoked)) if the certificate
    ///   that it has presented is none that is trusted now. Validity dates count as of the moment at
    ///   which the peer was let in, so a certificate that has expired since ends no link;
    /// - links whose peers are away end if no key of their peers is pinned any more.
    ///
    /// A session belongs to a peer, whichever of its keys that uses: a peer of the new pins is the
    /// peer of the old ones that it has a key in common with ([`Pins`](crate::Pins)). Of several old
    /// ones, merged by this, it is the one whose key is pinned first; a peer that is parted into
    /// several is gone, and each part is new. `docs/rotation.md` has the steps in order.
    ///
    /// # Errors
    /// [`SetupError::Plaintext`], and [`SetupError::Refused`] if the TLS library objects; then
    /// nothing has changed.
    pub fn replace(
        &self,
        identity: Identity,
        trust: impl Into<Trust>,
    ) -> Result<Replaced, SetupError> {
        let Choice::Tls { store, .. } = &self.choice else {
            return Err(SetupError::Plaintext);
        };
        let [old, new] = store.replace(identity, trust.into())?;
        Ok(Replaced::between(&old.named, &new.named))
    }

    /// What tells when identity and trust are replaced; never, in plaintext.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls { store, .. } => Some(store.clone()),
        })
    }

    /// Judges a link that has no connection to its peer: it ends if no key of the peer that its
    /// session is held with is trusted any more. Returns why, if it has just ended. To be called for
    /// each such link when identity and trust were replaced; where there is a connection,
    /// [`Endpoint::recheck`] does this too.
    #[must_use]
    pub fn recheck(&self, now: Instant, link: &mut impl Protocol) -> Option<SecurityError> {
        let current = self.tls_store()?.current();
        let held_with = match link.state() {
            LinkState::Finishing | LinkState::Ended => None,
            _ => link.session_peer(),
        };
        if current.peers.may_know(held_with?) {
            return None;
        }
        link.revoke(now);
        Some(Reason::PinRemoved { presented: None }.into())
    }

    fn tls_store(&self) -> Option<&Arc<Store>> {
        match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls { store, .. } => Some(store),
        }
    }

    fn in_force(&self) -> Option<Arc<Tls>> {
        Some(self.tls_store()?.current().named.clone())
    }

    /// The protocols to agree on through ALPN, the preferred one first; none in plaintext.
    #[must_use]
    pub fn protocols(&self) -> &[Vec<u8>] {
        match &self.choice {
            Choice::Plaintext | Choice::Tls { bare: true, .. } => &[],
            Choice::Tls { store, .. } => &store.fixed().alpn,
        }
    }

    /// The fingerprint of this end's identity as it is now; none in plaintext.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Some(self.in_force()?.identity.fingerprint())
    }

    /// This end's identity as it is now; none in plaintext.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(self.in_force()?.identity.clone())
    }

    /// Whom this end accepts now; none in plaintext.
    #[must_use]
    pub fn trust(&self) -> Option<Trust> {
        Some(self.in_force()?.trust.clone())
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_force() {
            None => f.write_str("Security::plaintext"),
            Some(tls) => f
                .debug_struct("Security::tls")
                .field("identity", &tls.identity.fingerprint())
                .field("trust", &tls.trust)
                .finish_non_exhaustive(),
        }
    }
}

/// What [`Security::replace`] has changed. `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// The fingerprints of this end's identity, before and now.
    pub identities: [Fingerprint; 2],
    /// Whether this end's certificate is another one, for the same key perhaps.
    pub certificate_changed: bool,
    /// The pins that were not there before.
    pub added: Vec<NamedPin>,
    /// The pins that are not there any more.
    pub removed: Vec<NamedPin>,
}

/// A pin, and the name of the peer that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedPin {
    /// What the application calls the peer, if it has a name.
    pub name: Option<Arc<str>>,
    /// One of its pins.
    pub pin: Pin,
}

impl PartialEq<Pin> for NamedPin {
    fn eq(&self, pin: &Pin) -> bool {
        self.pin == *pin
    }
}

impl Replaced {
    /// How many pins `Display` names of those added, and of those removed.
    pub const SHOWN: usize = 8;

    fn between(old: &Tls, new: &Tls) -> Self {
        Self {
            identities: [&old.identity, &new.identity].map(Identity::fingerprint),
            certificate_changed: old.identity.certificate_der() != new.identity.certificate_der(),
            added: without(&new.trust, &old.trust),
            removed: without(&old.trust, &new.trust),
        }
    }

    /// Whether identity or pins are other ones than before.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.certificate_changed || !self.added.is_empty() || !self.removed.is_empty()
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, now] = self.identities;
        if !self.is_change() {
            return write!(f, "identity {now} and pins are what they were");
        }
        match (before == now, self.certificate_changed) {
            (false, _) => write!(f, "identity {now}, was {before}")?,
            (true, true) => write!(f, "identity {now}, with another certificate")?,
            (true, false) => write!(f, "identity {now} as before")?,
        }
        for (what, pins) in [("added", &self.added), ("removed", &self.removed)] {
            for (at, pin) in pins.iter().take(Self::SHOWN).enumerate() {
                match at {
                    0 => write!(f, "; pins {what} ")?,
                    _ => f.write_str(", ")?,
                }
                if let Some(name) = &pin.name {
                    write!(f, "{name} ")?;
                }
                write!(f, "{}", pin.pin.fingerprint())?;
            }
            if pins.len() > Self::SHOWN {
                write!(f, " and {} more", pins.len() - Self::SHOWN)?;
            }
        }
        Ok(())
    }
}

/// The pins of `all` that are not among the `others`.
fn without(all: &Trust, others: &Trust) -> Vec<NamedPin> {
    let (Trust::Pins(all), others) = (all, others) else {
        return Vec::new();
    };
    let is_among = |pin: &Pin| match others {
        Trust::Pins(others) => others.has(pin),
        Trust::Authority(_) => false,
    };
    let of_peers = all.entries().flat_map(|(name, pins)| {
        pins.iter().map(move |pin| NamedPin {
            name: name.cloned(),
            pin: pin.clone(),
        })
    });
    of_peers.filter(|named| !is_among(&named.pin)).collect()
}

/// The settings of [`Security::tls`] that have a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsBuilder {
    identity: Identity,
    trust: Trust,
    alpn: Vec<Vec<u8>>,
    key_log: bool,
}

impl TlsBuilder {
    /// The protocols to agree on through ALPN (RFC 7301), the preferred one first.
    ///
    /// With any, a peer that agrees on none of them is refused; [`ALPN_COUNTERSIGN`] by default.
    /// With none, nothing is offered and nothing is asked for.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// Writes the keys of all connections to the file that the environment variable
    /// `SSLKEYLOGFILE` names, for a network analyser. Whoever has that file can read everything, so
    /// `countersign-driver` warns of it in the log; a loop of the caller's own has to
    /// ([`Security::logs_keys`]). [`build`](Self::build) opens it, and it stays that file when identity
    /// and trust are replaced.
    pub fn key_log(mut self, enabled: bool) -> Self {
        self.key_log = enabled;
        self
    }

    /// Checks the settings and puts them into force.
    ///
    /// # Errors
    /// [`SetupError::BadProtocolName`], and [`SetupError::Refused`] if the TLS library objects.
    pub fn build(self) -> Result<Security, SetupError> {
        if let Some(bad) = self
            .alpn
            .iter()
            .find(|name| !(1..=255).contains(&name.len()))
        {
            return Err(SetupError::BadProtocolName { length: bad.len() });
        }
        let fixed = Fixed {
            alpn: self.alpn,
            key_log: self.key_log.then(|| Arc::new(KeyLogFile::new()) as _),
        };
        let store = Store::new(self.identity, self.trust, fixed)?;
        Ok(Security {
            choice: Choice::Tls {
                store,
                bare: false,
                one_sided: false,
            },
        })
    }
}

/// Sixteen random bytes for [`Link::new`](countersign_core::Link::new), good enough for session
/// ids that nobody guesses.
///
/// # Errors
/// [`SetupError::Refused`] if the system has no randomness to give.
pub fn random_seed() -> Result<[u8; 16], SetupError> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|_| SetupError::Refused {
        detail: "the system has no random bytes to give".to_owned(),
    })?;
    Ok(seed)
}
