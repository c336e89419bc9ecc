//! The fingerprint of a public key, which two people may compare over the telephone.

use std::fmt;
use std::str::FromStr;

use countersign_core::Escaped;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The prefix of every fingerprint in text, so that the hash function can change later.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a certificate's SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7).
///
/// It identifies a key, not a certificate: a certificate renewed for the same key keeps its
/// fingerprint. It is **not** what `openssl x509 -fingerprint` prints, which is the hash of the
/// whole certificate. With OpenSSL the same value comes from `openssl x509 -in robot.crt -pubkey
/// -noout | openssl pkey -pubin -outform der | sha256sum`.
///
/// In text it is `sha256:` and 64 lowercase hexadecimal digits. Parsing also accepts uppercase
/// digits and colons between the bytes, and `sha256//` and base64, as `curl --pinnedpubkey` does.
/// The hash of a certificate or of an SSH key, in the form in which tools print it, is an error
/// that says so.
///
/// ```
/// use countersign_endpoint::Fingerprint;
///
/// let text = format!("sha256:{}", "0f".repeat(32));
/// let fingerprint: Fingerprint = text.parse()?;
/// assert_eq!(fingerprint.to_string(), text);
/// assert_eq!(fingerprint, Fingerprint([0x0f; 32]));
/// # Ok::<(), countersign_endpoint::ParseFingerprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(
    /// The 32 bytes of the hash.
    pub [u8; 32],
);

impl Fingerprint {
    /// Returns the fingerprint of a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        Self::of(spki)
    }
}

impl Fingerprint {
    /// Whether a text is meant as a fingerprint, though it may be invalid: it begins with the name
    /// of a hash function, or is the digits of a SHA-256. For programs that take fingerprints and
    /// file names in the same place.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let (name, rest) = text.split_at_checked(3).unwrap_or_default();
        let is_hash = name.eq_ignore_ascii_case("sha") && !rest.starts_with(char::is_alphabetic);
        is_hash || is_bare(text)
    }

    /// Returns the SHA-256 of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why a text is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseFingerprintError {
    /// The text does not begin with `sha256:`.
    #[error(
        "a fingerprint begins with `sha256:` (and is the hash of the public key, not of the \
         whole certificate)"
    )]
    Prefix,
    /// The digits of a SHA-256, without a prefix that says of what.
    #[error(
        "these are the digits of a hash, and not of what; `countersign pin` shows the fingerprint of \
         a certificate's key, which begins with `sha256:`"
    )]
    Bare,
    /// What `openssl x509 -fingerprint` prints: the hash of a whole certificate.
    #[error(
        "this is the hash of a whole certificate, as `openssl x509 -fingerprint` shows it; take that \
         of its key, which `countersign pin` shows, or the certificate's file itself"
    )]
    OfCertificate,
    /// What `ssh-keygen -l` prints: the hash of an SSH key.
    #[error(
        "this is the hash of an SSH key, as `ssh-keygen -l` shows it; take that of a certificate's \
         key, which `countersign pin` shows"
    )]
    OfSshKey,
    /// Something other than a hexadecimal digit or a colon between two bytes.
    #[error(
        "`{}` does not belong in a fingerprint; it has hexadecimal digits only",
        Escaped::new(.0)
    )]
    Character(
        /// The first character that does not belong.
        char,
    ),
    /// Too few or too many digits of base64, or bits left over.
    #[error("a fingerprint in base64 has 43 digits and `=`, and this one has {0}")]
    Base64(
        /// How many digits there are.
        usize,
    ),
    /// Too few or too many digits.
    #[error("a fingerprint has 64 hexadecimal digits, and this one has {0}")]
    Length(
        /// How many digits there are.
        usize,
    ),
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = match Form::of(text) {
            Form::Hexadecimal(digits) => digits,
            Form::Base64(digits) => return base64(digits),
            Form::OfCertificate => return Err(ParseFingerprintError::OfCertificate),
            Form::OfSshKey => return Err(ParseFingerprintError::OfSshKey),
            Form::Bare => return Err(ParseFingerprintError::Bare),
            Form::Other => return Err(ParseFingerprintError::Prefix),
        };
        let mut bytes = [0u8; 32];
        let mut count = 0;
        let mut after_colon = true;
        for character in digits.chars() {
            // A colon stands between two whole bytes, never first and never twice.
            if character == ':' && count % 2 == 0 && !after_colon {
                after_colon = true;
                continue;
            }
            let digit = character
                .to_digit(16)
                .ok_or(ParseFingerprintError::Character(character))?;
            if let Some(byte) = bytes.get_mut(count / 2) {
                *byte = *byte << 4 | u8::try_from(digit).unwrap_or_default();
            }
            count += 1;
            after_colon = false;
        }
        match (count, after_colon) {
            (64, false) => Ok(Self(bytes)),
            (64, true) => Err(ParseFingerprintError::Character(':')),
            _ => Err(ParseFingerprintError::Length(count)),
        }
    }
}

/// The form of a text, according to its beginning.
enum Form<'a> {
    Hexadecimal(&'a str),
    Base64(&'a str),
    OfCertificate,
    OfSshKey,
    Bare,
    Other,
}

impl<'a> Form<'a> {
    fn of(text: &'a str) -> Self {
        let without = |prefix: &str| {
            let (start, rest) = text.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        };
        if let Some(digits) = without("sha256//") {
            return Self::Base64(digits);
        }
        if without("sha256 Fingerprint=").is_some() || without("sha1 Fingerprint=").is_some() {
            return Self::OfCertificate;
        }
        match without(PREFIX) {
            // 43 digits of base64, where a fingerprint would have 64 hexadecimal digits.
            Some(digits) if digits.len() == 43 && digits.bytes().all(is_base64) => Self::OfSshKey,
            Some(digits) => Self::Hexadecimal(digits),
            None if is_bare(text) => Self::Bare,
            None => Self::Other,
        }
    }
}

/// Whether these are the digits of a SHA-256 and nothing else.
fn is_bare(text: &str) -> bool {
    let mut digits = text.chars().filter(|character| *character != ':');
    digits.clone().count() == 64 && digits.all(|digit| digit.is_ascii_hexdigit())
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Decodes 32 bytes in base64: 43 digits of six bits, and optional `=` padding.
fn base64(digits: &str) -> Result<Fingerprint, ParseFingerprintError> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = digits.strip_suffix('=').unwrap_or(digits);
    let mut bits = 0_u32;
    let mut bytes = Vec::with_capacity(32);
    for (count, character) in digits.chars().enumerate() {
        let is_digit = |digit: &u8| char::from(*digit) == character;
        let value = DIGITS.iter().position(is_digit);
        let value = value.ok_or(ParseFingerprintError::Character(character))?;
        bits = (bits << 6 | u32::try_from(value).unwrap_or_default()) & 0xFFFF;
        if count % 4 != 0 {
            let shift = [0, 4, 2, 0][count % 4];
            bytes.push((bits >> shift & 0xFF) as u8);
        }
    }
    let length = digits.len();
    match (<[u8; 32]>::try_from(bytes), bits & 3) {
        (Ok(bytes), 0) if length == 43 => Ok(Fingerprint(bytes)),
        _ => Err(ParseFingerprintError::Base64(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fingerprint {
        Fingerprint(std::array::from_fn(|i| u8::try_from(i * 7 + 1).unwrap()))
    }

    #[test]
    fn text_survives_the_round_trip_in_every_spelling() {
        let text = sample().to_string();
        assert_eq!(text.len(), 71);
        let upper = text.to_uppercase();
        let hex: Vec<String> = sample().0.iter().map(|b| format!("{b:02X}")).collect();
        let colons = format!("sha256:{}", hex.join(":"));
        // The same bytes in base64.
        let curl = "sha256//AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o".to_owned();
        let filled = format!("{curl}=");
        for spelling in [
            text.clone(),
            upper,
            colons,
            curl,
            filled,
            format!("  {text}\n"),
        ] {
            assert_eq!(spelling.parse(), Ok(sample()), "{spelling}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ParseFingerprintError::{
            Bare, Base64, Character, Length, OfCertificate, OfSshKey, Prefix,
        };
        let hex = "ab".repeat(32);
        let base64 = "AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o";
        let colons = "AB:".repeat(31) + "AB";
        for (text, error) in [
            (hex.clone(), Bare),
            (colons.clone(), Bare),
            // The output of OpenSSL 3 and of earlier versions.
            (format!("sha256 Fingerprint={colons}"), OfCertificate),
            (format!("SHA256 Fingerprint={colons}"), OfCertificate),
            (format!("SHA1 Fingerprint={}", &colons[..59]), OfCertificate),
            (format!("SHA256:{base64}"), OfSshKey),
            (format!("sha256//{base64}A"), Base64(44)),
            (format!("sha256//{}", &base64[1..]), Base64(42)),
            (format!("sha256//{}p", &base64[..42]), Base64(43)),
            (format!("sha256//{}-", &base64[..42]), Character('-')),
            (String::new(), Prefix),
            ("sha1:00".into(), Prefix),
            ("sha256:".into(), Length(0)),
            (format!("sha256:{}", &hex[1..]), Length(63)),
            (format!("sha256:{hex}0"), Length(65)),
            (format!("sha256:{}g", &hex[1..]), Character('g')),
            (format!("sha256:{hex}:"), Character(':')),
            (format!("sha256::{hex}"), Character(':')),
            (format!("sha256:a:{hex}"), Character(':')),
            (format!("sha256:{}é", &hex[1..]), Character('é')),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text}");
        }
    }
}
