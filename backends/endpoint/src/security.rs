//! The security of connections: chosen once, then shared by all of a link's connections.

use std::fmt;
use std::sync::Arc;

use countersign_core::{Instant, LinkState, Protocol};
use rustls::KeyLogFile;

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

/// How connections are secured: TLS 1.3 with this identity and this trust, or not at all.
///
/// Cloning is cheap, and all clones share their state: to change identity and pins,
/// [replace](Self::replace) them, and every listener, opener and link with a clone uses the new
/// ones.
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
        without_alpn: bool,
        /// An acceptor need not request this end's certificate.
        one_sided: bool,
    },
}

impl Tls {
    /// Whether peers are pinned, not certified by an authority.
    pub(crate) const fn is_pinned(&self) -> bool {
        matches!(self.trust, Trust::Pins(_))
    }
}

impl Security {
    /// Chooses TLS 1.3 with this end's `identity` and `trust` in the other: [`Pins`](crate::Pins),
    /// a [`Pin`](crate::Pin), a [`Fingerprint`], or an [`Authority`](crate::Authority).
    pub fn tls(identity: Identity, trust: impl Into<Trust>) -> TlsBuilder {
        TlsBuilder {
            identity,
            trust: trust.into(),
            alpn: vec![ALPN_COUNTERSIGN.as_bytes().to_vec()],
            key_log: false,
        }
    }

    /// Chooses no security at all: anyone on the network path can read and change everything, and
    /// anyone can connect. For tests, and for networks that are protected by other means.
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

    /// Returns the same security without ALPN, for the tlsstream dialect, whose original does not
    /// support it. Replacing identity and trust ([`replace`](Self::replace)) applies to both.
    #[must_use]
    pub fn without_alpn(&self) -> Self {
        let choice = match &self.choice {
            Choice::Plaintext => Choice::Plaintext,
            Choice::Tls {
                store, one_sided, ..
            } => Choice::Tls {
                store: store.clone(),
                without_alpn: true,
                one_sided: *one_sided,
            },
        };
        Self { choice }
    }

    /// Returns the same security for a [`Connection`](crate::Connection) that accepts an acceptor
    /// which does not request this end's certificate, as most web servers do not. Such a peer does
    /// not authenticate this end, so links do not use this: they require that both ends present a
    /// certificate, with this security too. Replacing identity and trust
    /// ([`replace`](Self::replace)) applies to both.
    #[must_use]
    pub fn one_sided(&self) -> Self {
        let choice = match &self.choice {
            Choice::Plaintext => Choice::Plaintext,
            Choice::Tls {
                store,
                without_alpn,
                ..
            } => Choice::Tls {
                store: store.clone(),
                without_alpn: *without_alpn,
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

    /// Returns the current name of the peer with this key, if it is pinned and has a
    /// [name](crate::Pins::named).
    #[must_use]
    pub fn name_of(&self, key: Fingerprint) -> Option<Arc<str>> {
        self.tls_store()?.current().peers.name(key)
    }

    /// Returns a peer with its current name; one that is no longer pinned keeps its last.
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

    /// Replaces identity and trust, both at once, for this and all of its clones; protocol names
    /// and the key log stay. From now on
    /// - every new connection uses these;
    /// - a handshake in progress continues with the identity that it began with, and its peer is
    ///   verified against both trusts;
    /// - the driver of a link is notified ([`Security::watch`]) and verifies the peer again: the
    ///   link ends ([`EndReason::Revoked`](countersign_core::EndReason::Revoked)) if the
    ///   certificate that the peer has presented is no longer trusted. Validity dates are checked
    ///   for the time at which the peer was accepted, so a certificate that has expired since ends
    ///   no link;
    /// - links without a connection end if no key of their peers is pinned any more.
    ///
    /// A session belongs to a peer, whichever of its keys that uses: a peer of the new pins is the
    /// peer of the old ones that it shares a key with ([`Pins`](crate::Pins)). If this merges
    /// several old peers, it is the one whose key is pinned first; if it splits a peer, the old
    /// peer is gone, and each part is new. `docs/rotation.md` has the steps in order.
    ///
    /// # Errors
    /// [`SetupError::Plaintext`], and [`SetupError::Refused`] if the TLS library refuses the
    /// settings; then nothing has changed.
    pub fn replace(
        &self,
        identity: Identity,
        trust: impl Into<Trust>,
    ) -> Result<Replaced, SetupError> {
        let Choice::Tls { store, .. } = &self.choice else {
            return Err(SetupError::Plaintext);
        };
        let [old, new] = store.replace(identity, trust.into())?;
        Ok(Replaced::between(&old.with_alpn, &new.with_alpn))
    }

    /// Returns a watch that notifies when identity and trust are replaced; never in plaintext.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls { store, .. } => Some(store.clone()),
        })
    }

    /// Verifies the peer of a link that has no connection: the link ends if no key of its session's
    /// peer is trusted any more. Returns why, if it has just ended. Must be called for each such
    /// link when identity and trust were replaced; for a link with a connection,
    /// [`Endpoint::recheck`](crate::Endpoint::recheck) does this too.
    #[must_use]
    pub fn recheck(&self, now: Instant, link: &mut impl Protocol) -> Option<SecurityError> {
        let current = self.tls_store()?.current();
        let held_with = match link.state() {
            LinkState::Finishing | LinkState::Ended => None,
            _ => link.session_peer(),
        };
        if current.peers.may_accept(held_with?) {
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
        Some(self.tls_store()?.current().with_alpn.clone())
    }

    /// Returns the protocols to agree on through ALPN, the preferred one first; none in plaintext.
    #[must_use]
    pub fn protocols(&self) -> &[Vec<u8>] {
        match &self.choice {
            Choice::Plaintext
            | Choice::Tls {
                without_alpn: true, ..
            } => &[],
            Choice::Tls { store, .. } => &store.fixed().alpn,
        }
    }

    /// Returns the fingerprint of this end's current identity; `None` in plaintext.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Some(self.in_force()?.identity.fingerprint())
    }

    /// Returns this end's current identity; `None` in plaintext.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(self.in_force()?.identity.clone())
    }

    /// Returns the peers that this end currently accepts; `None` in plaintext.
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

/// What [`Security::replace`] has changed. `Display` is one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// The fingerprints of this end's identity, before and now.
    pub identities: [Fingerprint; 2],
    /// Whether this end's certificate has changed, perhaps for the same key.
    pub certificate_changed: bool,
    /// The pins that are new.
    pub added: Vec<NamedPin>,
    /// The pins that were removed.
    pub removed: Vec<NamedPin>,
}

/// A pin, and the name of its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedPin {
    /// The peer's name, if it has one.
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
    /// How many added and how many removed pins `Display` lists, at most.
    pub const SHOWN: usize = 8;

    fn between(old: &Tls, new: &Tls) -> Self {
        Self {
            identities: [&old.identity, &new.identity].map(Identity::fingerprint),
            certificate_changed: old.identity.certificate_der() != new.identity.certificate_der(),
            added: without(&new.trust, &old.trust),
            removed: without(&old.trust, &new.trust),
        }
    }

    /// Whether identity or pins have changed.
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

/// Returns the pins of `all` that are not among the `others`.
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
    /// Sets the protocols to agree on through ALPN (RFC 7301), the preferred one first.
    ///
    /// With any, a peer that agrees on none of them is refused; [`ALPN_COUNTERSIGN`] by default.
    /// With none, nothing is offered and nothing is required.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// Writes the keys of all connections to the file that the environment variable `SSLKEYLOGFILE`
    /// names, for a network analyser. With that file all traffic can be decrypted, so
    /// `countersign-driver` logs a warning; applications with their own loop should do the same
    /// ([`Security::logs_keys`]). [`build`](Self::build) opens the file, which stays the same when
    /// identity and trust are replaced.
    pub fn key_log(mut self, enabled: bool) -> Self {
        self.key_log = enabled;
        self
    }

    /// Checks the settings and makes the security.
    ///
    /// # Errors
    /// [`SetupError::BadProtocolName`], and [`SetupError::Refused`] if the TLS library refuses the
    /// settings.
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
                without_alpn: false,
                one_sided: false,
            },
        })
    }
}

/// Returns sixteen random bytes for [`Link::new`](countersign_core::Link::new), good enough for
/// unguessable session ids.
///
/// # Errors
/// [`SetupError::Refused`] if the system provides no randomness.
pub fn random_seed() -> Result<[u8; 16], SetupError> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|_| SetupError::Refused {
        detail: "the system has no random bytes to give".to_owned(),
    })?;
    Ok(seed)
}
