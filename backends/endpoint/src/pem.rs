//! Reads PEM and DER, with errors that say what is in the file instead.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::setup_error::{Origin, SetupError};

/// The longest file that is read, in bytes: far more than the largest bundle in use.
pub(crate) const FILE_LIMIT: u64 = 1 << 20;

/// The mark that some editors put in front of UTF-8 text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a whole file of at most `limit` bytes into memory that is wiped when it is dropped, since
/// it may contain a key.
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
    // The length of a pipe is unknown.
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
    // Allocated at once: growing the vector would leave copies of a key behind.
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

/// The sections of a PEM text.
#[derive(Default)]
pub(crate) struct Sections {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Wiped when they are dropped, also if an error follows.
    pub(crate) keys: Vec<Zeroizing<PrivateKeyDer<'static>>>,
    /// There is a private key with a password.
    pub(crate) encrypted_key: bool,
}

impl Sections {
    /// Collects the sections of `pem`; other kinds of section are ignored.
    pub(crate) fn read(pem: &[u8], origin: &Origin) -> Result<Self, SetupError> {
        let pem = pem.strip_prefix(BYTE_ORDER_MARK).unwrap_or(pem);
        let contains = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
        let mut sections = Self {
            // The first marks an encrypted key in PKCS#8 (RFC 5958), the second in OpenSSL's old
            // format (RFC 1421), whose header lines the PEM reader would reject as damaged.
            encrypted_key: contains(b"BEGIN ENCRYPTED PRIVATE KEY")
                || contains(b"Proc-Type: 4,ENCRYPTED"),
            ..Self::default()
        };
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = match section {
                Ok(section) => section,
                Err(_) if sections.encrypted_key => continue,
                // The reader's error could quote a line of a key, so it is not passed on.
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

/// Describes `error` without quoting any of the input.
pub(crate) fn describe(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "a section has no END line",
        Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be decoded",
    }
}
