//! Identities with every kind of flaw, for tests. They are made when needed and never written to
//! files.
//!
//! This module needs the feature `fixtures`. Each function panics if the system provides no random
//! bytes, since a test has nothing better to do then.

#![allow(
    clippy::missing_panics_doc,
    reason = "said once, at the top of the module"
)]

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::generate::random_serial;
use crate::{Algorithm, GeneratedIdentity, NewIdentity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Only a lack of random bytes can prevent any of this.
const WORKS: &str = "an identity for a test can be made";

/// Creates a flawless identity.
#[must_use]
pub fn good(name: &str) -> GeneratedIdentity {
    NewIdentity::new(name).generate().expect(WORKS)
}

/// Creates a flawless identity with an Ed25519 key.
#[must_use]
pub fn ed25519(name: &str) -> GeneratedIdentity {
    NewIdentity::new(name)
        .algorithm(Algorithm::Ed25519)
        .generate()
        .expect(WORKS)
}

/// Creates an identity that expired yesterday.
#[must_use]
pub fn expired(name: &str) -> GeneratedIdentity {
    let now = SystemTime::now();
    NewIdentity::new(name)
        .backdate(DAY * 365)
        .valid_until(now - DAY)
        .generate()
        .expect(WORKS)
}

/// Creates an identity that is valid from tomorrow on.
#[must_use]
pub fn not_yet_valid(name: &str) -> GeneratedIdentity {
    NewIdentity::new(name)
        .valid_from(SystemTime::now() + DAY)
        .generate()
        .expect(WORKS)
}

/// Creates an identity that is valid for ten more days.
#[must_use]
pub fn expires_soon(name: &str) -> GeneratedIdentity {
    NewIdentity::new(name)
        .valid_for(DAY * 10)
        .generate()
        .expect(WORKS)
}

/// Creates an identity whose certificate has the CA flag, as those of `openssl req -x509`.
#[must_use]
pub fn with_authority_flag(name: &str) -> GeneratedIdentity {
    let mut new = NewIdentity::new(name);
    new.authority_flag = true;
    new.generate().expect(WORKS)
}

/// Creates two certificates for one key: an identity before and after its certificate was renewed.
#[must_use]
pub fn renewed(name: &str) -> (GeneratedIdentity, GeneratedIdentity) {
    let key = KeyPair::generate().expect(WORKS);
    let make = || NewIdentity::new(name).generate_with(&key).expect(WORKS);
    (make(), make())
}

/// Creates a certificate in PEM and a key in PEM that do not belong together.
#[must_use]
pub fn mismatched(name: &str) -> (String, String) {
    let (one, other) = (good(name), good(name));
    (one.certificate_pem().to_owned(), other.key_pem().to_owned())
}

/// A certificate authority for tests.
#[derive(Debug)]
pub struct TestAuthority {
    params: CertificateParams,
    key: KeyPair,
    root_pem: String,
}

/// An identity that an authority certified.
#[derive(Debug)]
pub struct IssuedIdentity {
    /// Its certificate in PEM.
    pub certificate_pem: String,
    /// Its private key in PEM (PKCS#8).
    pub key_pem: String,
}

impl TestAuthority {
    /// Creates an authority.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect(WORKS);
        let mut params = NewIdentity::new(name).params().expect(WORKS);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![];
        let root_pem = params.self_signed(&key).expect(WORKS).pem();
        Self {
            params,
            key,
            root_pem,
        }
    }

    /// Returns the root certificate in PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Certifies a new identity called `name`, for both ends of a connection.
    #[must_use]
    pub fn issue(&self, name: &str) -> IssuedIdentity {
        let key = KeyPair::generate().expect(WORKS);
        let mut params = NewIdentity::new(name).params().expect(WORKS);
        params.serial_number = Some(random_serial().expect(WORKS));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect(WORKS);
        IssuedIdentity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}
