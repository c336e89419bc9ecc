//! What this end requires the peer's certificate to match.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::fingerprint::Fingerprint;
use crate::identity::read_one;
use crate::pem::read_file;
use crate::pin_file;
use crate::setup_error::{Origin, SetupError};

/// A certificate, byte for byte, or the fingerprint of a public key.
///
/// Names in the certificate, its CA flag and who signed it do not matter: either it is the one,
/// or it is not. What `openssl req -x509` makes is as good as any.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin {
    fingerprint: Fingerprint,
    certificate: Option<CertificateDer<'static>>,
}

impl Pin {
    /// Pins exactly the certificate `der`.
    ///
    /// # Errors
    /// [`SetupError::BadCertificate`] when it can't be read.
    pub fn certificate(der: &[u8]) -> Result<Self, SetupError> {
        let certificate = CertificateDer::from(der.to_vec());
        Self::of_certificate(certificate, 1, &Origin::Memory("the pinned certificate"))
    }

    /// Pins `certificate`, which is number `number` in `origin`.
    pub(crate) fn of_certificate(
        certificate: CertificateDer<'static>,
        number: usize,
        origin: &Origin,
    ) -> Result<Self, SetupError> {
        let facts = read_one(&certificate, number, origin)?;
        Ok(Self {
            fingerprint: facts.fingerprint,
            certificate: Some(certificate),
        })
    }

    /// Pins a public key, in whatever certificate it comes.
    #[must_use]
    pub const fn public_key(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            certificate: None,
        }
    }

    /// The fingerprint of the pinned public key, or of the pinned certificate's.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether it takes the whole certificate to match, not just its public key.
    #[must_use]
    pub const fn is_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The pinned certificate in DER, if it is one.
    #[must_use]
    pub fn certificate_der(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Whether `certificate`, whose public key has `fingerprint`, is the pinned one.
    fn matches(&self, certificate: &[u8], fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint
            && self
                .certificate
                .as_ref()
                .is_none_or(|pinned| pinned.as_ref() == certificate)
    }
}

impl From<Fingerprint> for Pin {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::public_key(fingerprint)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_certificate() {
            "certificate"
        } else {
            "public key"
        };
        write!(f, "Pin({kind} {})", self.fingerprint)
    }
}

/// Whether a pinned certificate's validity dates count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidityDates {
    /// Outside its dates a certificate is refused, by this machine's clock.
    #[default]
    Check,
    /// The pin alone decides. For machines without a clock to rely on, or for certificates that
    /// nobody can renew.
    Ignore,
}

/// One to [`Pins::LIMIT`] pins, of which the peer's certificate must match one.
///
/// Several may be of several peers, or of one: for the time in which a peer changes its identity,
/// pin the old and the new key as [that peer's](Self::of_one_peer), let the peer change, drop the
/// old one (`docs/rotation.md`). A session belongs to a peer and not to a key, so it goes on
/// meanwhile. Pins of the same key are always of the same peer.
///
/// ```
/// use countersign_endpoint::{Fingerprint, Pins};
///
/// let [old, new, other] = [1, 2, 3].map(|byte| Fingerprint([byte; 32]));
/// let pins = Pins::of_one_peer([old.into(), new.into()])?.and(&Pins::from(other))?;
/// assert_eq!(pins.fingerprints().collect::<Vec<_>>(), [old, new, other]);
/// assert_eq!(pins.peers().count(), 2);
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pins {
    /// Sorted by peer.
    pins: Arc<[Pin]>,
    /// Where the pins of each peer end.
    ends: Arc<[usize]>,
    validity_dates: ValidityDates,
}

impl Pins {
    /// The most pins a set may have. Every handshake compares with all of them.
    pub const LIMIT: usize = 64;

    /// A set of `pins`, each of a peer of its own; one given twice counts once. Validity dates are
    /// checked.
    ///
    /// # Errors
    /// [`SetupError::NoPins`] and [`SetupError::TooManyPins`].
    pub fn new(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        Self::of_peers(pins.into_iter().map(|pin| [pin]))
    }

    /// A set of `pins` that are all keys of one peer. Otherwise as [`Pins::new`].
    ///
    /// # Errors
    /// As for [`Pins::new`].
    pub fn of_one_peer(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        Self::of_peers([pins])
    }

    /// These pins and those of `other`, with this set's choice about validity dates. Peers that
    /// have a key in both are one peer.
    ///
    /// # Errors
    /// [`SetupError::TooManyPins`].
    pub fn and(&self, other: &Self) -> Result<Self, SetupError> {
        let peers = self.peers().chain(other.peers());
        let both = Self::of_peers(peers.map(<[Pin]>::to_vec))?;
        Ok(both.with_validity_dates(self.validity_dates))
    }

    /// Puts together the pins of several peers.
    fn of_peers<Peer: IntoIterator<Item = Pin>>(
        peers: impl IntoIterator<Item = Peer>,
    ) -> Result<Self, SetupError> {
        let mut owned: Vec<(usize, Pin)> = Vec::new();
        for (number, pins) in peers.into_iter().enumerate() {
            let mut peer = number;
            for pin in pins {
                let same_key = |(_, its): &&(usize, Pin)| its.fingerprint == pin.fingerprint;
                if let Some((owner, _)) = owned.iter().find(same_key) {
                    // A key that is another peer's too: the two are one, the earlier.
                    let (earlier, later) = (peer.min(*owner), peer.max(*owner));
                    for (owner, _) in &mut owned {
                        if *owner == later {
                            *owner = earlier;
                        }
                    }
                    peer = earlier;
                }
                if owned.iter().any(|(_, its)| *its == pin) {
                    continue;
                }
                if owned.len() == Self::LIMIT {
                    return Err(SetupError::TooManyPins { limit: Self::LIMIT });
                }
                owned.push((peer, pin));
            }
        }
        if owned.is_empty() {
            return Err(SetupError::NoPins);
        }
        // Keeps the order of each peer's own.
        owned.sort_by_key(|(peer, _)| *peer);
        let peers = owned.chunk_by(|(one, _), (other, _)| one == other);
        let ends = peers.scan(0, |end, pins| {
            *end += pins.len();
            Some(*end)
        });
        Ok(Self {
            ends: ends.collect(),
            pins: owned.into_iter().map(|(_, pin)| pin).collect(),
            validity_dates: ValidityDates::default(),
        })
    }

    /// Reads pins from files, one for each peer. A file holds certificates in PEM, every one of
    /// which is a pin, and fingerprints, one to a line, in any order, with empty lines and lines
    /// that begin with `#` passed over. What one file holds are keys of one peer.
    ///
    /// Text is passed over directly in front of a certificate, where tools write what it says
    /// (RFC 7468, section 5.2), unless it looks like a pin or half a one: begins with a dash, or
    /// with the name of a hash function, or is 64 hexadecimal digits. All else is an error, other
    /// sections of PEM too. So a file that was cut off is noticed, unless it was between two pins.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn from_files<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, SetupError> {
        let mut peers = Vec::new();
        for file in files {
            let file = file.as_ref();
            let pins = pin_file::read(&read_file(file)?, &file.into())?;
            if pins.is_empty() {
                return Err(SetupError::EmptyPinFile {
                    path: file.to_owned(),
                });
            }
            peers.push(pins);
        }
        Self::of_peers(peers)
    }

    /// Reads pins from the text of such a file as [`Pins::from_files`] reads.
    ///
    /// # Errors
    /// A [`SetupError`] that says what is wrong with it.
    pub fn from_text(text: &[u8]) -> Result<Self, SetupError> {
        Self::of_one_peer(pin_file::read(text, &Origin::Memory("the pins"))?)
    }

    /// Says whether the certificates' validity dates count; they do unless told otherwise.
    #[must_use]
    pub fn with_validity_dates(mut self, validity_dates: ValidityDates) -> Self {
        self.validity_dates = validity_dates;
        self
    }

    /// Whether the certificates' validity dates count.
    #[must_use]
    pub const fn validity_dates(&self) -> ValidityDates {
        self.validity_dates
    }

    /// The pins of each peer.
    pub fn peers(&self) -> impl Iterator<Item = &[Pin]> {
        let starts = std::iter::once(&0).chain(self.ends.iter());
        starts
            .zip(self.ends.iter())
            .map(|(start, end)| &self.pins[*start..*end])
    }

    /// The pins, peer by peer, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.iter()
    }

    /// The fingerprints of the pins, in the order of [`Pins::iter`].
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.pins.iter().map(Pin::fingerprint)
    }

    /// The pin that the certificate `der` matches, whatever its validity dates.
    ///
    #[must_use]
    pub fn find(&self, der: &[u8]) -> Option<&Pin> {
        let facts = Facts::read(&CertificateDer::from(der)).ok()?;
        self.find_with(der, facts.fingerprint)
    }

    pub(crate) fn find_with(&self, der: &[u8], fingerprint: Fingerprint) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.matches(der, fingerprint))
    }
}

impl From<Pin> for Pins {
    fn from(pin: Pin) -> Self {
        Self {
            pins: Arc::new([pin]),
            ends: Arc::new([1]),
            validity_dates: ValidityDates::default(),
        }
    }
}

impl From<Fingerprint> for Pins {
    fn from(fingerprint: Fingerprint) -> Self {
        Pin::public_key(fingerprint).into()
    }
}
