//! This end's identity: a private key and its certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::certificate::{Facts, Unusable, utc};
use crate::crypto;
use crate::fingerprint::Fingerprint;
use crate::pem::{FILE_LIMIT, Sections, read_file};
use crate::setup_error::{Origin, SetupError, shown};

/// A private key and its certificate, with which this end authenticates.
///
/// The certificate may be followed by those that certify it, which are sent too, for a peer that
/// trusts an authority; a peer with pins checks the first only. There are at most
/// [`Identity::MAX_CHAIN`] certificates in all, with the key's certificate first.
///
/// Keys may be in PKCS#8, SEC1 or PKCS#1, without a password: P-256, P-384, P-521, Ed25519, and
/// RSA of 2048 to 8192 bits. Cloning is cheap. `Debug` shows the fingerprint, never the key.
///
/// ```no_run
/// use countersign_endpoint::Identity;
///
/// let identity = Identity::from_pem_files("robot.crt", "robot.key")?;
/// for warning in identity.warnings() {
///     eprintln!("warning: {warning}");
/// }
/// println!("we are {}", identity.fingerprint());
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    facts: Facts,
    /// The key's file, if other users could read it when it was loaded.
    exposed: Option<PathBuf>,
}

impl Identity {
    /// The most certificates an identity may have: the key's, and seven that certify it.
    pub const MAX_CHAIN: usize = 8;

    /// Reads the certificate and the private key from two PEM files, which may be the same file.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what to do: files that are missing,
    /// unreadable, swapped, damaged, encrypted, of an unsupported kind, or that do not belong
    /// together.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, SetupError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let certificate_pem = read_file(certificate, FILE_LIMIT)?;
        let key_pem = read_file(key, FILE_LIMIT)?;
        let mut identity =
            Self::from_pem_at(&certificate_pem, &certificate.into(), &key_pem, &key.into())?;
        identity.exposed = exposed(key).then(|| key.to_owned());
        Ok(identity)
    }

    /// Takes the certificate and the private key as PEM text.
    ///
    /// # Errors
    /// As for [`Identity::from_pem_files`], except for the files.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        let certificate_origin = Origin::Memory("the certificate text");
        let key_origin = Origin::Memory("the private key text");
        Self::from_pem_at(certificate, &certificate_origin, key, &key_origin)
    }

    /// Takes the certificate and the private key in DER, the key in PKCS#8, SEC1 or PKCS#1.
    ///
    /// # Errors
    /// As for [`Identity::from_pem_files`], except for the files.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        let origin = Origin::Memory("the certificate");
        let key_origin = Origin::Memory("the private key");
        // This borrows the caller's bytes, so there is no copy to wipe.
        let key = PrivateKeyDer::try_from(key).map_err(|detail| SetupError::UnsupportedKey {
            origin: key_origin.clone(),
            detail: detail.to_owned(),
        })?;
        Self::assemble(
            vec![certificate.to_vec().into()],
            &origin,
            &key,
            &key_origin,
        )
    }

    fn from_pem_at(
        certificate: &[u8],
        certificate_origin: &Origin,
        key: &[u8],
        key_origin: &Origin,
    ) -> Result<Self, SetupError> {
        let Sections {
            certificates,
            keys,
            encrypted_key,
        } = Sections::read(certificate, certificate_origin)?;
        let key_is_there = !keys.is_empty() || encrypted_key;
        if certificates.is_empty() {
            let origin = certificate_origin.clone();
            return Err(match key_is_there {
                true => SetupError::KeyInsteadOfCertificate { origin },
                false => SetupError::NoCertificate { origin },
            });
        }
        let key = only_key(Sections::read(key, key_origin)?, key_origin)?;
        Self::assemble(certificates, certificate_origin, &key, key_origin)
    }

    fn assemble(
        certificates: Vec<CertificateDer<'static>>,
        certificate_origin: &Origin,
        key: &PrivateKeyDer<'_>,
        key_origin: &Origin,
    ) -> Result<Self, SetupError> {
        let count = certificates.len();
        if count > Self::MAX_CHAIN {
            let (origin, limit) = (certificate_origin.clone(), Self::MAX_CHAIN);
            return Err(SetupError::ChainTooLong {
                origin,
                count,
                limit,
            });
        }
        let facts = read_all(&certificates, certificate_origin)?;
        // First, since the certificate tells which kind of key it is.
        read_usable(&certificates[0], 1, certificate_origin)?;
        // The TLS library's error only describes how it parses keys.
        let key = crypto::signing_key(key)?.ok_or_else(|| SetupError::UnsupportedKey {
            origin: key_origin.clone(),
            detail: "it is damaged, or of a kind with which no connection can be secured"
                .to_owned(),
        })?;
        let public = key
            .public_key()
            .map(|spki| Fingerprint::of_public_key(&spki));
        match facts
            .iter()
            .position(|facts| Some(facts.fingerprint) == public)
        {
            Some(0) => {}
            Some(index) => {
                let (certificate, number) = (certificate_origin.clone(), index + 1);
                return Err(SetupError::ChainOrder {
                    certificate,
                    number,
                });
            }
            None => {
                let (certificate, key) = (certificate_origin.clone(), key_origin.clone());
                return Err(SetupError::KeyMismatch { certificate, key });
            }
        }
        let certified = Arc::new(CertifiedKey::new(certificates, key));
        Ok(Self {
            certified,
            facts: facts[0],
            exposed: None,
        })
    }

    /// Returns the fingerprint of this identity's public key, which the peer may pin.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// Returns the certificate in DER, without those that certify it.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.certified
            .cert
            .first()
            .map_or(&[], |certificate| certificate.as_ref())
    }

    /// Returns problems that do not prevent the use of the identity, by this machine's clock: show
    /// them to the user.
    #[must_use]
    pub fn warnings(&self) -> Vec<IdentityWarning> {
        self.warnings_at(SystemTime::now())
    }

    /// Returns the warnings of [`Identity::warnings`] that apply at `now`.
    #[must_use]
    pub fn warnings_at(&self, now: SystemTime) -> Vec<IdentityWarning> {
        let Facts {
            not_before,
            not_after,
            ..
        } = self.facts;
        let exposed = self
            .exposed
            .iter()
            .map(|path| IdentityWarning::KeyExposed { path: path.clone() });
        let date = if now > not_after {
            Some(IdentityWarning::Expired { not_after })
        } else if now < not_before {
            Some(IdentityWarning::NotYetValid { not_before })
        } else if not_after
            .duration_since(now)
            .is_ok_and(|left| left < EXPIRES_SOON)
        {
            Some(IdentityWarning::ExpiresSoon { not_after })
        } else {
            None
        };
        exposed.chain(date).collect()
    }

    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// How long before a certificate expires there is a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint())
            .field("certificates", &self.certified.cert.len())
            .finish_non_exhaustive()
    }
}

/// A problem of an identity that still works and should be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityWarning {
    /// Other users may read the private key's file (Unix only).
    KeyExposed {
        /// The key's file.
        path: PathBuf,
    },
    /// The certificate is no longer valid: a peer that checks dates refuses it.
    Expired {
        /// The last second at which it was valid.
        not_after: SystemTime,
    },
    /// The certificate is not valid yet, or this machine's clock is behind.
    NotYetValid {
        /// The first second at which it is valid.
        not_before: SystemTime,
    },
    /// The certificate expires in less than 30 days.
    ExpiresSoon {
        /// The last second at which it is valid.
        not_after: SystemTime,
    },
}

impl fmt::Display for IdentityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyExposed { path } => {
                let path = shown(path);
                write!(
                    f,
                    "{path}: other users can read this private key; run `chmod 600 {path}`"
                )
            }
            Self::Expired { not_after } => {
                let date = utc(*not_after);
                write!(f, "our certificate expired on {date}; make a new identity")
            }
            Self::NotYetValid { not_before } => {
                let date = utc(*not_before);
                write!(
                    f,
                    "our certificate is not valid before {date}; check this machine's clock"
                )
            }
            Self::ExpiresSoon { not_after } => {
                let date = utc(*not_after);
                write!(
                    f,
                    "our certificate expires on {date}; make a new identity before then"
                )
            }
        }
    }
}

/// Returns the only private key in `sections`.
fn only_key(
    sections: Sections,
    origin: &Origin,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, SetupError> {
    let Sections {
        certificates,
        mut keys,
        encrypted_key,
    } = sections;
    let origin = origin.clone();
    match (keys.len(), encrypted_key, certificates.is_empty()) {
        (1, false, _) => keys.pop().ok_or(SetupError::NoKey { origin }),
        (0 | 1, true, _) => Err(SetupError::EncryptedKey { origin }),
        (0, false, false) => Err(SetupError::CertificateInsteadOfKey { origin }),
        (0, false, true) => Err(SetupError::NoKey { origin }),
        (count, ..) => Err(SetupError::SeveralKeys { origin, count }),
    }
}

/// Reads every certificate, so that a damaged one is detected here and not by the peer.
fn read_all(
    certificates: &[CertificateDer<'_>],
    origin: &Origin,
) -> Result<Vec<Facts>, SetupError> {
    let numbered = certificates.iter().zip(1..);
    numbered
        .map(|(certificate, number)| read_one(certificate, number, origin))
        .collect()
}

/// Reads certificate number `number` in `origin`.
fn read_one(
    certificate: &CertificateDer<'_>,
    number: usize,
    origin: &Origin,
) -> Result<Facts, SetupError> {
    Facts::read(certificate).map_err(|unusable| bad(unusable, number, origin))
}

/// As [`read_one`], for a certificate whose key must be usable.
pub(crate) fn read_usable(
    certificate: &CertificateDer<'_>,
    number: usize,
    origin: &Origin,
) -> Result<Facts, SetupError> {
    Facts::read_usable(certificate).map_err(|unusable| bad(unusable, number, origin))
}

fn bad(unusable: Unusable, number: usize, origin: &Origin) -> SetupError {
    SetupError::BadCertificate {
        origin: origin.clone(),
        number,
        detail: unusable.0,
    }
}

/// Whether other users may read `file`.
#[cfg(unix)]
fn exposed(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Returns false: only Unix modes are checked, not access lists.
#[cfg(not(unix))]
fn exposed(_file: &Path) -> bool {
    false
}
