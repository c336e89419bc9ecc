//! The certificate verifier that rustls calls on either side: pins and validity dates.
//!
//! There are no other checks here. rustls checks that the peer holds the certificate's private key,
//! with the provider's algorithms, in `verify_tls13_signature`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};

use crate::certificate::{Facts, Unusable};
use crate::error::Reason;
use crate::fingerprint::Fingerprint;
use crate::pin::ValidityDates;
use crate::pins::Pins;

/// Accepts peers that present a pinned certificate and hold its key.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    pub(crate) pins: Pins,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    fn mismatch(&self, certificate: &[u8], presented: Fingerprint) -> PinMismatch {
        let hash = Fingerprint::of(certificate);
        // If the key is pinned, it is with another certificate.
        let same = self.pins.has_key(presented).then_some(presented);
        let others = self.pins.fingerprints().filter(|key| Some(*key) != same);
        PinMismatch {
            presented,
            expected: same.into_iter().chain(others).take(Reason::SHOWN).collect(),
            pinned: self.pins.len(),
            certificate: self.pins.has_key(hash).then_some(hash),
        }
    }

    /// Verifies the first certificate; the others are ignored. Certificates and fingerprints are
    /// public, so comparing them in constant time would hide nothing.
    fn verify(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let facts = Facts::read(certificate).map_err(wrap)?;
        if self
            .pins
            .find_with(certificate, facts.fingerprint)
            .is_none()
        {
            return Err(wrap(self.mismatch(certificate, facts.fingerprint)));
        }
        if let Some(key) = facts.unsupported_key {
            return Err(wrap(Unusable(key.to_string())));
        }
        match self.pins.get_validity_dates() {
            ValidityDates::Check => check_dates(&facts, now),
            ValidityDates::Ignore => Ok(()),
        }
    }
}

/// Wraps an error for rustls.
fn wrap(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// Checks the validity dates, which are both inclusive (RFC 5280, section 4.1.2.5).
fn check_dates(facts: &Facts, time: UnixTime) -> Result<(), Error> {
    let now = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    let unix = |at: std::time::SystemTime| {
        UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default())
    };
    if now > facts.not_after {
        let not_after = unix(facts.not_after);
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    if now < facts.not_before {
        let not_before = unix(facts.not_before);
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    Ok(())
}

/// The peer presented a certificate that is not pinned.
#[derive(Clone, Debug)]
pub(crate) struct PinMismatch {
    pub(crate) presented: Fingerprint,
    pub(crate) expected: Vec<Fingerprint>,
    /// How many pins there are.
    pub(crate) pinned: usize,
    /// The SHA-256 of its whole certificate, if that is pinned as if it were that of a key.
    pub(crate) certificate: Option<Fingerprint>,
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not pinned", self.presented)
    }
}

impl std::error::Error for PinMismatch {}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PinVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
