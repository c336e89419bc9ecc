//! A pin: what this end requires the peer's certificate to match.

use std::fmt;

use rustls::pki_types::CertificateDer;

use crate::fingerprint::Fingerprint;
use crate::identity::read_usable;
use crate::setup_error::{Origin, SetupError};

/// A certificate, byte for byte, or the fingerprint of a public key.
///
/// Names in the certificate, its CA flag and its issuer do not matter: either it is the pinned one,
/// or it is not. A self-signed certificate made by `openssl req -x509` is fine.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin {
    fingerprint: Fingerprint,
    certificate: Option<CertificateDer<'static>>,
}

impl Pin {
    /// Pins exactly the certificate `der`.
    ///
    /// # Errors
    /// [`SetupError::BadCertificate`] if it cannot be read, or if its key is of a kind with which
    /// no connection can be secured.
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
        let facts = read_usable(&certificate, number, origin)?;
        Ok(Self {
            fingerprint: facts.fingerprint,
            certificate: Some(certificate),
        })
    }

    /// Pins a public key, in any certificate.
    #[must_use]
    pub const fn public_key(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            certificate: None,
        }
    }

    /// Returns the fingerprint of the pinned public key, or of the pinned certificate's key.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether the whole certificate must match, not just its public key.
    #[must_use]
    pub const fn is_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Returns the pinned certificate in DER, if a certificate is pinned.
    #[must_use]
    pub fn certificate_der(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Whether `certificate`, whose public key has `fingerprint`, is the pinned one.
    pub(crate) fn matches(&self, certificate: &[u8], fingerprint: Fingerprint) -> bool {
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

/// Whether a pinned certificate's validity dates are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidityDates {
    /// Refuses a certificate outside its validity dates, by this machine's clock.
    #[default]
    Check,
    /// Only the pin decides. For machines without a reliable clock, or for certificates that
    /// cannot be renewed.
    Ignore,
}
