//! Making an identity.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use countersign_endpoint::Fingerprint;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{DnsName, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::error::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The kind of key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on NIST P-256 with SHA-256: accepted by every TLS library.
    #[default]
    P256,
    /// Ed25519 (RFC 8410): smaller and a little faster, but not accepted everywhere.
    Ed25519,
}

/// A builder of an identity: a name, and settings that have a default.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use countersign_certs::{Algorithm, NewIdentity};
///
/// // For a robot whose clock starts in 1970 whenever it is switched on.
/// let identity = NewIdentity::new("robot")
///     .algorithm(Algorithm::Ed25519)
///     .valid_from(SystemTime::UNIX_EPOCH)
///     .generate()?;
/// assert!(identity.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<(), countersign_certs::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewIdentity {
    name: String,
    algorithm: Algorithm,
    begin: Begin,
    end: End,
    pub(crate) authority_flag: bool,
}

/// When validity begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    Ago(Duration),
    At(SystemTime),
}

/// When validity ends.
#[derive(Clone, Copy, Debug)]
enum End {
    In(Duration),
    At(SystemTime),
}

impl NewIdentity {
    /// How far back validity begins by default: one day, for clocks that are behind.
    pub const DEFAULT_BACKDATE: Duration = DAY;
    /// How long an identity is valid from now by default: ten years of 365.25 days.
    pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(315_576_000);
    /// The longest name, in characters: X.509's bound on a common name (RFC 5280, appendix A.1,
    /// `ub-common-name`).
    pub const MAX_NAME: usize = 64;

    /// Creates a builder for an identity called `name`, with the default settings.
    ///
    /// The name becomes the certificate's common name and the name of the files. It also becomes
    /// the certificate's alternative name if it is a DNS name; otherwise that is `localhost`. Pins
    /// do not look at names.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            algorithm: Algorithm::default(),
            begin: Begin::Ago(Self::DEFAULT_BACKDATE),
            end: End::In(Self::DEFAULT_VALIDITY),
            authority_flag: false,
        }
    }

    /// Sets the kind of key, [`Algorithm::P256`] by default.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Begins validity this long before now. Use more for a peer whose clock may be further behind.
    pub fn backdate(mut self, backdate: Duration) -> Self {
        self.begin = Begin::Ago(backdate);
        self
    }

    /// Begins validity at this time. `SystemTime::UNIX_EPOCH` suits a peer whose clock starts in
    /// 1970 until it is set.
    pub fn valid_from(mut self, begin: SystemTime) -> Self {
        self.begin = Begin::At(begin);
        self
    }

    /// Ends validity this long after now.
    pub fn valid_for(mut self, validity: Duration) -> Self {
        self.end = End::In(validity);
        self
    }

    /// Ends validity at this time.
    pub fn valid_until(mut self, end: SystemTime) -> Self {
        self.end = End::At(end);
        self
    }

    /// Makes the key and the certificate.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::BadValidity`], and [`Error::Generation`] if the system provides
    /// no random bytes.
    pub fn generate(&self) -> Result<GeneratedIdentity, Error> {
        // Wiped when it is dropped.
        let key = Zeroizing::new(self.new_key()?);
        self.generate_with(&key)
    }

    fn new_key(&self) -> Result<KeyPair, Error> {
        match self.algorithm {
            Algorithm::P256 => {
                KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(generation)
            }
            Algorithm::Ed25519 => {
                let key = ed25519_key()?;
                let pkcs8 = PrivatePkcs8KeyDer::from(&key[..]);
                KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)
                    .map_err(generation)
            }
        }
    }

    /// Makes the certificate for an existing key.
    pub(crate) fn generate_with(&self, key: &KeyPair) -> Result<GeneratedIdentity, Error> {
        let certificate = self.params()?.self_signed(key).map_err(generation)?;
        Ok(GeneratedIdentity {
            name: self.name.clone(),
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key_pem(key.serialized_der())?,
            key_der: Zeroizing::new(key.serialize_der()),
            fingerprint: Fingerprint::of_public_key(&key.subject_public_key_info()),
        })
    }

    /// Returns the contents of the certificate.
    ///
    /// It is an end entity's certificate and no authority's (`CA:FALSE`): someone who steals the
    /// key gains one identity and can't make more, and rustls refuses an authority's certificate at
    /// the end of a chain. OpenSSL's strict mode requires critical basic constraints, both key
    /// identifiers, and no right to sign certificates without the CA flag. A self-signed
    /// certificate that is itself the trusted one needs neither that right nor the flag.
    pub(crate) fn params(&self) -> Result<CertificateParams, Error> {
        check_name(&self.name)?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = self.validity(SystemTime::now())?;
        params.serial_number = Some(random_serial()?);
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.name.as_str());
        params.subject_alt_names = vec![SanType::DnsName(
            alternative_name(&self.name)
                .try_into()
                .map_err(generation)?,
        )];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        if self.authority_flag {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        Ok(params)
    }

    fn validity(&self, now: SystemTime) -> Result<(OffsetDateTime, OffsetDateTime), Error> {
        let out_of_range = Error::BadValidity {
            why: "it reaches past the years 1970 to 9999",
        };
        let begin = match self.begin {
            // A clock that starts in 1970 can make identities too.
            Begin::Ago(ago) => now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Begin::At(begin) => begin,
        };
        let end = match self.end {
            End::In(validity) => now.checked_add(validity),
            End::At(end) => Some(end),
        };
        let begin = begin.max(SystemTime::UNIX_EPOCH);
        let (Some(begin), Some(end)) = (calendar(begin), end.and_then(calendar)) else {
            return Err(out_of_range);
        };
        if end < begin {
            return Err(Error::BadValidity {
                why: "it ends before it begins",
            });
        }
        Ok((begin, end))
    }
}

/// A new identity in memory: write it to files, or pass it to
/// `countersign_endpoint::Identity::from_pem`.
///
/// The key is wiped from memory when this is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct GeneratedIdentity {
    name: String,
    certificate_pem: String,
    certificate_der: Vec<u8>,
    key_pem: Zeroizing<String>,
    key_der: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
}

impl GeneratedIdentity {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the certificate in PEM, which the peer pins.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Returns the private key in PEM (PKCS#8, without a password).
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Returns the private key in DER (PKCS#8, without a password).
    #[must_use]
    pub fn key_der(&self) -> &[u8] {
        &self.key_der
    }

    /// Returns the fingerprint of the public key, which the peer may pin instead of the
    /// certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Debug for GeneratedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratedIdentity")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.chars().count() > NewIdentity::MAX_NAME {
        "it has more than 64 characters"
    } else if name.contains(['/', '\\', ':']) || name.starts_with('.') {
        "it also names the files, so it has no `/`, `\\` or `:` and does not begin with a dot"
    } else if name.chars().any(char::is_control) || name.trim() != name {
        "it has control characters, or a space at either end"
    } else {
        return Ok(());
    };
    Err(Error::BadName {
        name: name.to_owned(),
        why,
    })
}

/// Returns a new key for Ed25519, which is any 32 random bytes (RFC 8032, section 5.1.5), in the
/// first form of PKCS#8 (RFC 8410, section 7). rcgen would write the newer form (RFC 5958), which
/// includes the public key and which OpenSSL 3.0 and Python versions built on it can't read.
fn ed25519_key() -> Result<Zeroizing<Vec<u8>>, Error> {
    // A sequence of version 0, the algorithm 1.3.101.112, and an octet string in an octet string.
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    // On the heap: an array would leave a copy wherever it is moved from.
    let mut key = Zeroizing::new(vec![0; 48]);
    let (head, seed) = key.split_at_mut(HEAD.len());
    head.copy_from_slice(&HEAD);
    getrandom::fill(seed).map_err(generation)?;
    Ok(key)
}

/// Returns a key in PEM (RFC 7468). rcgen can write it too, but leaves copies behind.
fn key_pem(der: &[u8]) -> Result<Zeroizing<String>, Error> {
    const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
    const END: &str = "-----END PRIVATE KEY-----\n";
    // 48 bytes are a line of 64 characters. The room is reserved at once: text that grew would
    // leave copies too.
    let lines = der.chunks(48);
    let room = BEGIN.len() + lines.len() * 65 + END.len();
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(BEGIN);
    for line in lines {
        let mut encoded = Zeroizing::new([0; 64]);
        text.push_str(Base64::encode(line, encoded.as_mut()).map_err(generation)?);
        text.push('\n');
    }
    text.push_str(END);
    Ok(text)
}

fn alternative_name(name: &str) -> &str {
    // Digits and dots alone would be taken for an IP address, which is another kind of name.
    let dns = DnsName::try_from(name).is_ok() && name.parse::<std::net::IpAddr>().is_err();
    if dns { name } else { "localhost" }
}

/// Returns 16 random bytes, the first between 1 and 127: a positive number of at most 20 bytes, as
/// RFC 5280, section 4.1.2.2 requires, with more than the usual 64 random bits.
pub(crate) fn random_serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(generation)?;
    bytes[0] = (bytes[0] & 0x7f).max(1);
    Ok(SerialNumber::from_slice(&bytes))
}

/// Returns `time` in whole seconds, if a certificate can hold it.
fn calendar(time: SystemTime) -> Option<OffsetDateTime> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    (time.year() <= 9999).then_some(time)
}

pub(crate) fn generation(error: impl fmt::Display) -> Error {
    Error::Generation {
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternative_names_are_dns_names() {
        for (name, expected) in [
            ("robot", "robot"),
            ("robot-7.example.org", "robot-7.example.org"),
            ("My Robot", "localhost"),
            ("Bärbel", "localhost"),
            ("10.0.0.1", "localhost"),
        ] {
            assert_eq!(alternative_name(name), expected, "{name}");
        }
    }

    #[test]
    fn serial_numbers_are_positive_and_differ() {
        let serials: Vec<Vec<u8>> = (0..64)
            .map(|_| random_serial().unwrap().to_bytes())
            .collect();
        assert!(
            serials
                .iter()
                .all(|serial| serial.len() == 16 && (1..128).contains(&serial[0]))
        );
        assert!((1..64).all(|i| !serials[..i].contains(&serials[i])));
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let long = "x".repeat(65);
        for name in [
            "", " robot", "robot\n", "a/b", "a\\b", "c:x", "..", ".hidden", &long,
        ] {
            let error = NewIdentity::new(name).generate().unwrap_err();
            assert!(matches!(error, Error::BadName { .. }), "{name:?}: {error}");
        }
        assert!(NewIdentity::new("x".repeat(64)).generate().is_ok());
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        let epoch = SystemTime::UNIX_EPOCH;
        let new = || NewIdentity::new("robot");
        for bad in [
            new().valid_until(epoch),
            new().valid_for(Duration::from_secs(u64::MAX)),
            new().valid_for(DAY * 365 * 9000),
        ] {
            let error = bad.generate().unwrap_err();
            assert!(matches!(error, Error::BadValidity { .. }), "{error}");
        }
        assert!(
            new()
                .backdate(Duration::from_secs(u64::MAX))
                .generate()
                .is_ok()
        );
        assert!(
            new()
                .valid_from(epoch)
                .valid_until(epoch + DAY)
                .generate()
                .is_ok()
        );
    }

    #[test]
    fn keys_are_written_as_rcgen_writes_them() {
        for algorithm in [Algorithm::P256, Algorithm::Ed25519] {
            let key = NewIdentity::new("robot").algorithm(algorithm).new_key();
            let key = key.unwrap();
            let text = key_pem(key.serialized_der()).unwrap();
            let expected = key.serialize_pem();
            assert!(text.lines().eq(expected.lines()));
            assert!(text.capacity() - text.len() < 65, "it did not grow");
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let identity = NewIdentity::new("robot").generate().unwrap();
        let shown = format!("{identity:?} {identity:#?}");
        let line = identity.key_pem().lines().nth(1).unwrap();
        assert!(!shown.contains(line) && !shown.contains("PRIVATE") && shown.contains("robot"));
    }
}
