//! The fingerprint of a public key: what two people compare over the telephone.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use countersign_core::Escaped;
use thiserror::Error;

/// What every fingerprint in text begins with, so that the hash function can change one day.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a certificate's SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7).
///
/// It names a key, not a certificate: a certificate renewed for the same key keeps its
/// fingerprint. It is **not** what `openssl x509 -fingerprint` prints, which is the hash of the
/// whole certificate. With OpenSSL the same value comes from
/// `openssl x509 -in robot.crt -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`.
///
/// In text it is `sha256:` and 64 lowercase hexadecimal digits. Parsing also takes uppercase
/// digits and colons between the bytes.
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
    /// The fingerprint of a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
        Self(bytes)
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
    /// Something other than a hexadecimal digit or a colon between two bytes.
    #[error(
        "`{}` does not belong in a fingerprint; it has hexadecimal digits only",
        Escaped::new(.0)
    )]
    Character(
        /// The first character that does not belong.
        char,
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
        let digits = match text.get(..PREFIX.len()) {
            Some(start) if start.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            _ => return Err(ParseFingerprintError::Prefix),
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
        for spelling in [text.clone(), upper, colons, format!("  {text}\n")] {
            assert_eq!(spelling.parse(), Ok(sample()), "{spelling}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ParseFingerprintError::{Character, Length, Prefix};
        let hex = "ab".repeat(32);
        for (text, error) in [
            (hex.clone(), Prefix),
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
