//! Reading PEM and DER, with errors that say what is in the file instead.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::setup_error::{Origin, SetupError};

/// The longest file that is read, in bytes: far more than the largest bundle in use.
pub(crate) const FILE_LIMIT: u64 = 1 << 20;

/// What some editors put in front of a text to say that it is UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a whole file of `limit` bytes at most into memory that is wiped when it is dropped, since it
/// may hold a key.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, SetupError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => SetupError::NotFound {
            path: path.to_owned(),
        },
        _ => SetupError::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // A pipe doesn't say how much will come.
    let length = if metadata.is_file() {
        metadata.len()
    } else {
        limit
    };
    let too_long = || SetupError::TooLong {
        path: path.to_owned(),
        limit,
    };
    if length > limit {
        return Err(too_long());
    }
    // All of it at once: a vector that grew would leave copies of a key behind.
    let capacity = usize::try_from(length).unwrap_or_default().max(16 * 1024);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 1));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}

/// What a PEM text holds.
#[derive(Default)]
pub(crate) struct Sections {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Wiped when they are dropped, also with an error that comes after them.
    pub(crate) keys: Vec<Zeroizing<PrivateKeyDer<'static>>>,
    /// There is a private key with a password.
    pub(crate) encrypted_key: bool,
}

impl Sections {
    /// Sorts the sections of `pem`; other kinds of section are passed over.
    pub(crate) fn read(pem: &[u8], origin: &Origin) -> Result<Self, SetupError> {
        let pem = pem.strip_prefix(BYTE_ORDER_MARK).unwrap_or(pem);
        let contains = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
        let mut sections = Self {
            // The first is PKCS#8's way of saying so (RFC 5958), the second OpenSSL's old one
            // (RFC 1421), whose header lines the PEM reader would take for damage.
            encrypted_key: contains(b"BEGIN ENCRYPTED PRIVATE KEY")
                || contains(b"Proc-Type: 4,ENCRYPTED"),
            ..Self::default()
        };
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = match section {
                Ok(section) => section,
                Err(_) if sections.encrypted_key => continue,
                // The reader's own words could quote a line of a key, so they are not passed on.
                Err(error) => {
                    return Err(SetupError::BadPem {
                        origin: origin.clone(),
                        detail: describe(&error).to_owned(),
                    });
                }
            };
            match kind {
                SectionKind::Certificate => sections.certificates.push(der.into()),
                SectionKind::PrivateKey
                | SectionKind::RsaPrivateKey
                | SectionKind::EcPrivateKey => {
                    let key = PrivateKeyDer::from_pem(kind, der).map(Zeroizing::new);
                    sections.keys.extend(key);
                }
                _ => {}
            }
        }
        Ok(sections)
    }
}

/// `error` without any of the text it happened in.
pub(crate) fn describe(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "a section has no END line",
        Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be decoded",
    }
}
