//! Errors before there is any connection: of files, identities, pins and settings.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use countersign_core::Escaped;
use thiserror::Error;

use crate::certificate::USABLE_KEYS;
use crate::fingerprint::ParseFingerprintError;

/// The source of something that was read, as error messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Bytes in memory; the text says which.
    Memory(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => shown(path).fmt(f),
            Self::Memory(what) => f.write_str(what),
        }
    }
}

/// Escapes a path for display.
pub(crate) fn shown(path: &Path) -> Escaped<impl fmt::Display> {
    Escaped::whole(path.display())
}

/// Returns advice about a file that cannot be read, if there is any.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; check its owner and mode",
        io::ErrorKind::IsADirectory => "; name a file in it",
        _ => "",
    }
}

impl From<&Path> for Origin {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// An error of an identity, a pin or a setting that must be fixed on this machine.
///
/// Every message is one line, names the file if there is one, and says what to change. No
/// message ever contains a byte of a private key.
#[derive(Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no such file.
    #[error("{}: no such file; correct the path", shown(.path))]
    NotFound {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The file exists and cannot be read.
    #[error("{}: cannot be read ({source}){}", shown(.path), advice(.source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is too long for a certificate or key file.
    #[error("{}: longer than {limit} bytes, so not a certificate or key file", shown(.path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The longest file that is read, in bytes.
        limit: u64,
    },
    /// There are PEM markers, and the text between them is damaged.
    #[error("{origin}: damaged PEM ({}); copy the file again, in text mode", Escaped::new(.detail))]
    BadPem {
        /// Where it was read from.
        origin: Origin,
        /// What is damaged.
        detail: String,
    },
    /// A certificate was expected, and a private key is there instead.
    #[error(
        "{origin}: holds a private key and no certificate; are the certificate file and the key \
         file swapped?"
    )]
    KeyInsteadOfCertificate {
        /// Where it was read from.
        origin: Origin,
    },
    /// There is no certificate.
    #[error("{origin}: holds no certificate; it needs a PEM section `BEGIN CERTIFICATE`")]
    NoCertificate {
        /// Where it was read from.
        origin: Origin,
    },
    /// A private key was expected, and a certificate is there instead.
    #[error(
        "{origin}: holds a certificate and no private key; are the certificate file and the key \
         file swapped?"
    )]
    CertificateInsteadOfKey {
        /// Where it was read from.
        origin: Origin,
    },
    /// There is no private key.
    #[error("{origin}: holds no private key; it needs a PEM section `BEGIN PRIVATE KEY`")]
    NoKey {
        /// Where it was read from.
        origin: Origin,
    },
    /// There is more than one private key, so it is ambiguous.
    #[error("{origin}: holds {count} private keys; leave the one of the certificate")]
    SeveralKeys {
        /// Where it was read from.
        origin: Origin,
        /// How many there are.
        count: usize,
    },
    /// The private key needs a password.
    #[error(
        "{origin}: the private key is encrypted with a password; store it without one (`openssl \
         pkey -in FILE -out NEW`) and keep the file readable by its owner alone"
    )]
    EncryptedKey {
        /// Where it was read from.
        origin: Origin,
    },
    /// The private key is of a kind that cannot be used, or damaged.
    #[error(
        "{origin}: this private key cannot be used ({}); take {USABLE_KEYS}",
        Escaped::new(.detail)
    )]
    UnsupportedKey {
        /// Where it was read from.
        origin: Origin,
        /// What is wrong with it.
        detail: String,
    },
    /// The certificate cannot be used, or is damaged.
    #[error(
        "{origin}: certificate number {number} cannot be used ({}); have its owner make a new one",
        Escaped::new(.detail)
    )]
    BadCertificate {
        /// Where it was read from.
        origin: Origin,
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "{key}: this private key does not belong to the certificate in {certificate}; take the \
         two files that were made together"
    )]
    KeyMismatch {
        /// Where the certificate was read from.
        certificate: Origin,
        /// Where the key was read from.
        key: Origin,
    },
    /// The key belongs to a certificate that does not come first.
    #[error(
        "{certificate}: the key's own certificate is number {number} and must come first, those \
         that certify it after it"
    )]
    ChainOrder {
        /// Where the certificates were read from.
        certificate: Origin,
        /// Which one the key belongs to, counted from 1.
        number: usize,
    },
    /// There are more certificates than an identity may have.
    #[error("{origin}: holds {count} certificates; an identity has at most {limit}")]
    ChainTooLong {
        /// Where they were read from.
        origin: Origin,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The set of pins is empty, so no peer could ever connect.
    #[error("there is no pin; name the peer's certificate or its fingerprint")]
    NoPins,
    /// A file of a peer's pins contains none.
    #[error("{}: holds no pin; it needs certificates in PEM, or lines of fingerprints", shown(.path))]
    EmptyPinFile {
        /// The file.
        path: PathBuf,
    },
    /// The list of peers is empty.
    #[error(
        "{origin}: lists no peer; it needs lines of a name and its pins, which are fingerprints or \
         `file:` with the path of a certificate"
    )]
    EmptyPeerList {
        /// Where it was read from.
        origin: Origin,
    },
    /// A plain connection has no identity and no pins to replace.
    #[error("a plain connection has no identity and no pins that could be replaced")]
    Plaintext,
    /// There are more pins than a peer may have.
    #[error("a peer has at most {limit} pins; remove those of its identities no longer in use")]
    TooManyPinsOfOne {
        /// How many there may be.
        limit: usize,
    },
    /// The word is not a valid peer name, or the name is for several peers.
    #[error(
        "`{}` can't name a peer; a name is one word, without blanks, and is one peer's",
        Escaped::new(.name)
    )]
    BadPeerName {
        /// The word.
        name: String,
    },
    /// Two peers have the same name, or a peer has two names.
    #[error(
        "`{}` can't be told from another peer: the two have a name or a key in common; give each key \
         to one peer, and each peer one name",
        Escaped::new(.name)
    )]
    AmbiguousPeer {
        /// The name.
        name: String,
    },
    /// A line in a list of peers is invalid.
    #[error("{origin}: line {line}: {}", Escaped::whole(.problem))]
    BadPeer {
        /// Where it was read from.
        origin: Origin,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it, for display.
        problem: String,
    },
    /// Each certificate in a text of pins certifies another one of them.
    #[error(
        "{origin}: each certificate in it is the issuer of another, so none is a peer's own; take the \
         peer's, without those that certify it"
    )]
    NoLeaf {
        /// Where it was read from.
        origin: Origin,
    },
    /// There are more pins than a set may have.
    #[error("there are more than {limit} pins; remove those of identities no longer in use")]
    TooManyPins {
        /// How many there may be.
        limit: usize,
    },
    /// A line that looks like a fingerprint is invalid.
    #[error("{origin}: line {line}: {source}")]
    BadFingerprint {
        /// Where it was read from.
        origin: Origin,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: ParseFingerprintError,
    },
    /// There is a private key in a text of pins, where it is of no use and other users may read it.
    #[error(
        "{origin}: line {line}: a private key does not belong among pins; are the certificate file \
         and the key file swapped?"
    )]
    KeyAmongPins {
        /// Where it was read from.
        origin: Origin,
        /// Which line it begins with, counted from 1.
        line: usize,
    },
    /// There is a PEM section in a text of pins that is neither a certificate nor a private key.
    #[error(
        "{origin}: line {line}: this PEM section is no certificate; pins are sections `BEGIN \
         CERTIFICATE` and fingerprints"
    )]
    SectionAmongPins {
        /// Where it was read from.
        origin: Origin,
        /// Which line it begins with, counted from 1.
        line: usize,
    },
    /// A line in a text of pins is neither a pin nor the description of a certificate that follows.
    #[error(
        "{origin}: line {line}: neither a fingerprint, which begins with `sha256:`, nor a \
         certificate or the text in front of one; remove it, or put `#` in front"
    )]
    NotAPin {
        /// Where it was read from.
        origin: Origin,
        /// Which line, counted from 1.
        line: usize,
    },
    /// The authority has no root certificate.
    #[error("there is no certificate of an authority; name at least one")]
    NoRoots,
    /// The expected name of the server's certificate is invalid.
    #[error("`{}` is neither a DNS name nor an IP address", Escaped::new(.name))]
    BadServerName {
        /// The name.
        name: String,
    },
    /// A protocol name for ALPN is empty or too long (RFC 7301, section 3.1).
    #[error("a protocol name for ALPN has 1 to 255 bytes, and this one has {length}")]
    BadProtocolName {
        /// How many bytes it has.
        length: usize,
    },
    /// There is no cryptographic provider: neither feature of this crate is enabled, and none is
    /// installed.
    #[error(
        "TLS has no cryptography: turn on the feature `aws-lc-rs` or `ring`, or install a provider for rustls \
         first (`CryptoProvider::install_default`)"
    )]
    NoProvider,
    /// The TLS library refused the settings.
    #[error("the TLS library refused the settings: {}", Escaped::new(.detail))]
    Refused {
        /// The library's error.
        detail: String,
    },
}

countersign_core::debug_as_display!(SetupError);
