//! What this end requires the peer's certificate to match.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::fingerprint::Fingerprint;
use crate::identity::read_all;
use crate::pem::{Sections, read_file};
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
        let certificate = vec![CertificateDer::from(der.to_vec())];
        let mut pins = from_certificates(certificate, &Origin::Memory("the pinned certificate"))?;
        pins.pop().ok_or(SetupError::NoPins)
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
/// More than one is for the time in which a peer changes its identity: pin the old and the new,
/// let the peer change, drop the old.
///
/// ```
/// use countersign_endpoint::{Fingerprint, Pins, ValidityDates};
///
/// let old = Fingerprint([1; 32]);
/// let new = Fingerprint([2; 32]);
/// let pins = Pins::new([old.into(), new.into()])?.with_validity_dates(ValidityDates::Ignore);
/// assert_eq!(pins.fingerprints().collect::<Vec<_>>(), [old, new]);
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pins {
    pins: Arc<[Pin]>,
    validity_dates: ValidityDates,
}

impl Pins {
    /// The most pins a set may have. Every handshake compares with all of them.
    pub const LIMIT: usize = 64;

    /// A set of `pins`; one given twice counts once. Validity dates are checked.
    ///
    /// # Errors
    /// [`SetupError::NoPins`] and [`SetupError::TooManyPins`].
    pub fn new(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        let mut distinct: Vec<Pin> = Vec::new();
        for pin in pins {
            if distinct.contains(&pin) {
                continue;
            }
            if distinct.len() == Self::LIMIT {
                return Err(SetupError::TooManyPins { limit: Self::LIMIT });
            }
            distinct.push(pin);
        }
        if distinct.is_empty() {
            return Err(SetupError::NoPins);
        }
        Ok(Self {
            pins: distinct.into(),
            validity_dates: ValidityDates::default(),
        })
    }

    /// Reads pins from files. Each holds certificates in PEM, every one of which is a pin, or
    /// fingerprints, one to a line, with empty lines and lines that begin with `#` passed over.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn from_files<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, SetupError> {
        let mut pins = Vec::new();
        for file in files {
            let file = file.as_ref();
            pins.extend(read_text(&read_file(file)?, &file.into())?);
        }
        Self::new(pins)
    }

    /// Reads pins from the text of such a file as [`Pins::from_files`] reads.
    ///
    /// # Errors
    /// A [`SetupError`] that says what is wrong with it.
    pub fn from_text(text: &[u8]) -> Result<Self, SetupError> {
        Self::new(read_text(text, &Origin::Memory("the pins"))?)
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

    /// The pins, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.iter()
    }

    /// The fingerprints of the pins, in the order they were given.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.pins.iter().map(Pin::fingerprint)
    }

    /// The pin that the certificate `der` matches, whatever its validity dates.
    ///
    /// For a link that is up when the pins change: [`crate::Connection::peer_certificate`] is
    /// what to look for among the new ones.
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
            validity_dates: ValidityDates::default(),
        }
    }
}

impl From<Fingerprint> for Pins {
    fn from(fingerprint: Fingerprint) -> Self {
        Pin::public_key(fingerprint).into()
    }
}

fn from_certificates(
    certificates: Vec<CertificateDer<'static>>,
    origin: &Origin,
) -> Result<Vec<Pin>, SetupError> {
    let facts = read_all(&certificates, origin)?;
    let pin = |(facts, certificate): (Facts, _)| Pin {
        fingerprint: facts.fingerprint,
        certificate: Some(certificate),
    };
    Ok(facts.into_iter().zip(certificates).map(pin).collect())
}

fn read_text(text: &[u8], origin: &Origin) -> Result<Vec<Pin>, SetupError> {
    if text.windows(11).any(|window| window == b"-----BEGIN ") {
        let sections = Sections::read(text, origin)?;
        let origin = origin.clone();
        return match (sections.certificates.is_empty(), sections.keys.is_empty()) {
            (false, _) => from_certificates(sections.certificates, &origin),
            (true, true) if !sections.encrypted_key => Err(SetupError::NoCertificate { origin }),
            (true, _) => Err(SetupError::KeyInsteadOfCertificate { origin }),
        };
    }
    let text = String::from_utf8_lossy(text);
    let lines = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (line.trim(), number));
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| match line.parse() {
            Ok(fingerprint) => Ok(Pin::public_key(fingerprint)),
            Err(source) => Err(SetupError::BadFingerprint {
                origin: origin.clone(),
                line: number,
                source,
            }),
        })
        .collect()
}
