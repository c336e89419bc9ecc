//! The fields that countersign reads from a certificate: its key, its two dates, and its names.
//!
//! rustls does not expose them, so they are read here, with the `der` crate for decoding.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, UintRef, UtcTime};
use der::{DateTime, Decode, Header, Reader, SliceReader, Tag, TagNumber};
use rustls::pki_types::{CertificateDer, alg_id};
use rustls::server::ParsedCertificate;

use crate::fingerprint::Fingerprint;

/// The fields that countersign uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The fingerprint of its public key.
    pub(crate) fingerprint: Fingerprint,
    /// Why rustls supports no signature of its key, if so.
    pub(crate) unsupported_key: Option<UnsupportedKey>,
    /// The first second at which it is valid.
    pub(crate) not_before: SystemTime,
    /// The last second at which it is valid.
    pub(crate) not_after: SystemTime,
}

impl Facts {
    /// Reads `certificate`, which rustls must be able to parse too.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, Unusable> {
        let fields = Fields::read(certificate).map_err(|error| Unusable(error.to_string()))?;
        if fields.version < 3 {
            return Err(Unusable(format!(
                "it is of version {} of X.509, and TLS 1.3 takes version 3, which OpenSSL makes \
                 where there is an extension, `-addext basicConstraints=CA:FALSE` say",
                fields.version
            )));
        }
        // A certificate that rustls cannot parse would fail later, in the handshake, and with a
        // less clear error.
        ParsedCertificate::try_from(certificate).map_err(|error| Unusable(error.to_string()))?;
        Ok(fields.facts)
    }

    /// As [`Facts::read`], but the certificate's key must be usable as well.
    pub(crate) fn read_usable(certificate: &CertificateDer<'_>) -> Result<Self, Unusable> {
        let facts = Self::read(certificate)?;
        match facts.unsupported_key {
            Some(key) => Err(Unusable(key.to_string())),
            None => Ok(facts),
        }
    }
}

/// Returns the names in a certificate, in DER: of its issuer, and of its subject.
pub(crate) fn names(certificate: &[u8]) -> Option<[&[u8]; 2]> {
    let fields = Fields::read(certificate).ok()?;
    Some([fields.issuer, fields.subject])
}

/// Why a certificate cannot be used, as a clause.
#[derive(Clone, Debug)]
pub(crate) struct Unusable(pub(crate) String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// A public key whose signatures rustls does not support in TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKey {
    /// RSA with this number of bits.
    Rsa(usize),
    RsaPss,
    Ed448,
    Secp256k1,
    Other,
}

/// The kinds of keys that can be used, for error messages.
pub(crate) const USABLE_KEYS: &str = "P-256, P-384, P-521, Ed25519, or RSA of 2048 to 8192 bits";

/// The sizes of RSA keys that rustls supports, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

impl fmt::Display for UnsupportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its key is ")?;
        match self {
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits")?,
            Self::RsaPss => f.write_str("RSA for PSS alone")?,
            Self::Ed448 => f.write_str("Ed448")?,
            Self::Secp256k1 => f.write_str("on the curve secp256k1")?,
            Self::Other => f.write_str("of a kind that is unknown here")?,
        }
        write!(
            f,
            ", with which no connection can be secured; take {USABLE_KEYS}"
        )
    }
}

/// The fields of a certificate that are read.
struct Fields<'a> {
    /// The version of X.509, counted from 1.
    version: u8,
    issuer: &'a [u8],
    subject: &'a [u8],
    facts: Facts,
}

impl<'a> Fields<'a> {
    /// Reads a `Certificate ::= SEQUENCE { tbsCertificate, .. }`, RFC 5280, section 4.1.
    fn read(certificate: &'a [u8]) -> der::Result<Self> {
        let mut outer = SliceReader::new(certificate)?;
        let mut tbs = SliceReader::new(sequence(&mut outer)?)?;
        sequence_header(&mut tbs)?;
        let explicit = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(0),
        };
        let version = match Tag::peek(&tbs)? == explicit {
            true => {
                let mut inner = SliceReader::new(tbs.tlv_bytes()?)?;
                Header::decode(&mut inner)?;
                u8::decode(&mut inner)?.saturating_add(1)
            }
            false => 1,
        };
        for _serial_and_signature in 0..2 {
            tbs.tlv_bytes()?;
        }
        let issuer = tbs.tlv_bytes()?;
        let (not_before, not_after) = AnyRef::decode(&mut tbs)?
            .sequence(|validity| Ok::<_, der::Error>((time(validity)?, time(validity)?)))?;
        let subject = tbs.tlv_bytes()?;
        let spki = tbs.tlv_bytes()?;
        let facts = Facts {
            fingerprint: Fingerprint::of_public_key(spki),
            unsupported_key: unsupported_key(spki)?,
            not_before,
            not_after,
        };
        Ok(Self {
            version,
            issuer,
            subject,
            facts,
        })
    }
}

/// Takes a SEQUENCE with its header.
fn sequence<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    sequence_header(reader)?;
    reader.tlv_bytes()
}

/// Takes the header of a SEQUENCE.
fn sequence_header(reader: &mut SliceReader<'_>) -> der::Result<()> {
    Header::decode(reader)?.tag().assert_eq(Tag::Sequence)?;
    Ok(())
}

/// Returns why the key of a `SubjectPublicKeyInfo ::= SEQUENCE { algorithm, subjectPublicKey }`,
/// RFC 5280, section 4.1.2.7, is useless, if it is.
fn unsupported_key(spki: &[u8]) -> der::Result<Option<UnsupportedKey>> {
    /// The object identifier of RSASSA-PSS, RFC 4055, section 3.1.
    const RSA_PSS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
    let mut reader = SliceReader::new(spki)?;
    sequence_header(&mut reader)?;
    let algorithm = AnyRef::decode(&mut reader)?.value();
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        let key = BitStringRef::decode(&mut reader)?;
        let mut key = SliceReader::new(key.raw_bytes())?;
        sequence_header(&mut key)?;
        let bits = bits(UintRef::decode(&mut key)?.as_bytes());
        return Ok((!RSA_BITS.contains(&bits)).then_some(UnsupportedKey::Rsa(bits)));
    }
    let usable = [
        alg_id::ECDSA_P256,
        alg_id::ECDSA_P384,
        alg_id::ECDSA_P521,
        alg_id::ED25519,
        alg_id::ML_DSA_44,
        alg_id::ML_DSA_65,
        alg_id::ML_DSA_87,
    ];
    Ok(match algorithm {
        known if usable.iter().any(|usable| usable.as_ref() == known) => None,
        ed448 if ed448 == alg_id::ED448.as_ref() => Some(UnsupportedKey::Ed448),
        curve if curve == alg_id::ECDSA_P256K1.as_ref() => Some(UnsupportedKey::Secp256k1),
        pss if pss.starts_with(RSA_PSS) => Some(UnsupportedKey::RsaPss),
        _ => Some(UnsupportedKey::Other),
    })
}

/// Returns how many bits a number has, without leading zeros.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => {
            let zeros = usize::try_from(number[first].leading_zeros()).unwrap_or_default();
            (number.len() - first) * 8 - zeros
        }
        None => 0,
    }
}

/// Reads a `Time ::= CHOICE { utcTime, generalTime }`, RFC 5280, section 4.1.2.5.
fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<SystemTime> {
    match Tag::peek(reader)? {
        Tag::UtcTime => Ok(UtcTime::decode(reader)?.to_system_time()),
        _ => Ok(GeneralizedTime::decode(reader)?.to_system_time()),
    }
}

/// Formats `time` for display: `2031-02-03 04:05:06 UTC`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    DateTime::from_unix_duration(Duration::from_secs(seconds)).map_or_else(
        |_| format!("{seconds} seconds after 1970"),
        |time| time.to_string().replace('T', " ").replace('Z', " UTC"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_people_write_them() {
        assert_eq!(utc(UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
        let time = UNIX_EPOCH + Duration::from_secs(1_927_857_906);
        assert_eq!(utc(time), "2031-02-03 04:05:06 UTC");
        assert!(utc(UNIX_EPOCH + Duration::from_secs(1 << 60)).ends_with("after 1970"));
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic() {
        for len in 0..64 {
            let bytes = vec![0x30; len];
            assert!(Facts::read(&CertificateDer::from(bytes.as_slice())).is_err());
            assert!(Fields::read(&bytes).is_err());
        }
    }
}
