//! The three things countersign reads from a certificate: its key and its two dates.
//!
//! rustls does not show the dates, so they are read here, with the `der` crate doing the decoding.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{DateTime, Decode, Header, Reader, SliceReader, Tag, TagNumber};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use crate::fingerprint::Fingerprint;

/// What countersign reads from a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Of its public key.
    pub(crate) fingerprint: Fingerprint,
    /// The first second at which it is valid.
    pub(crate) not_before: SystemTime,
    /// The last second at which it is valid.
    pub(crate) not_after: SystemTime,
}

impl Facts {
    /// Reads `certificate`, which must also be one that rustls can use (version 3, for one).
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, Unusable> {
        // What rustls can't parse would fail later, in the handshake, and less clearly.
        ParsedCertificate::try_from(certificate).map_err(|error| Unusable(error.to_string()))?;
        read_fields(certificate).map_err(|error| Unusable(error.to_string()))
    }
}

/// Why a certificate can't be used, as a clause.
#[derive(Clone, Debug)]
pub(crate) struct Unusable(pub(crate) String);

/// `Certificate ::= SEQUENCE { tbsCertificate, .. }`, RFC 5280, section 4.1.
fn read_fields(certificate: &[u8]) -> der::Result<Facts> {
    let mut outer = SliceReader::new(certificate)?;
    let tbs = {
        let header = Header::decode(&mut outer)?;
        header.tag().assert_eq(Tag::Sequence)?;
        outer.tlv_bytes()?
    };
    let mut tbs = SliceReader::new(tbs)?;
    let header = Header::decode(&mut tbs)?;
    header.tag().assert_eq(Tag::Sequence)?;
    let version = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(0),
    };
    if Tag::peek(&tbs)? == version {
        tbs.tlv_bytes()?;
    }
    for _serial_signature_issuer in 0..3 {
        tbs.tlv_bytes()?;
    }
    let (not_before, not_after) = AnyRef::decode(&mut tbs)?
        .sequence(|validity| Ok::<_, der::Error>((time(validity)?, time(validity)?)))?;
    let _subject = tbs.tlv_bytes()?;
    let fingerprint = Fingerprint::of_public_key(tbs.tlv_bytes()?);
    Ok(Facts {
        fingerprint,
        not_before,
        not_after,
    })
}

/// `Time ::= CHOICE { utcTime, generalTime }`, RFC 5280, section 4.1.2.5.
fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<SystemTime> {
    match Tag::peek(reader)? {
        Tag::UtcTime => Ok(UtcTime::decode(reader)?.to_system_time()),
        _ => Ok(GeneralizedTime::decode(reader)?.to_system_time()),
    }
}

/// `time` as people write it: `2031-02-03 04:05:06 UTC`.
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
            assert!(read_fields(&bytes).is_err());
        }
    }
}
