//! Reads a text of pins: fingerprints and certificates, in any order.
//!
//! Ignoring a pin would end the links of its peer, so anything that cannot be told from part of a
//! pin is an error. Tools write a description of a certificate before it, and nowhere else; such
//! text is ignored there (RFC 7468, section 5.2).

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::names;
use crate::fingerprint::{Fingerprint, ParseFingerprintError};
use crate::pem::{self, BYTE_ORDER_MARK, FILE_LIMIT, describe};
use crate::pin::Pin;
use crate::setup_error::{Origin, SetupError};

/// Reads a file of one peer's pins, which must contain at least one.
pub(crate) fn read_file(file: &Path) -> Result<Vec<Pin>, SetupError> {
    let pins = read(&pem::read_file(file, FILE_LIMIT)?, &file.into())?;
    if pins.is_empty() {
        let path = file.to_owned();
        return Err(SetupError::EmptyPinFile { path });
    }
    Ok(pins)
}

/// Reads all of `text`.
pub(crate) fn read(text: &[u8], origin: &Origin) -> Result<Vec<Pin>, SetupError> {
    let file = PinFile {
        text,
        origin,
        next: 0,
        certificates: 0,
    };
    let pins = file.read()?;
    let found = pins.len();
    let leaves = without_issuers(pins);
    if leaves.is_empty() && found > 0 {
        return Err(SetupError::NoLeaf {
            origin: origin.clone(),
        });
    }
    leaves
        .into_iter()
        .map(|found| match found {
            Found::Key(fingerprint) => Ok(fingerprint.into()),
            Found::Certificate(certificate, number) => {
                Pin::of_certificate(certificate, number, origin)
            }
        })
        .collect()
}

/// A candidate for a pin.
enum Found {
    Key(Fingerprint),
    /// A certificate, and its number in the file, counted from 1.
    Certificate(CertificateDer<'static>, usize),
}

/// Removes the certificates that certify another one of these: of a chain, the leaf is the pin. A
/// certificate that names itself as its issuer certifies no other, so the certificates of a key and
/// of its successor, which have the same name, are both kept.
fn without_issuers(mut found: Vec<Found>) -> Vec<Found> {
    let names = |found: &Found| match found {
        Found::Certificate(certificate, _) => {
            names(certificate).map(|names| names.map(<[u8]>::to_vec))
        }
        Found::Key(_) => None,
    };
    let issuers: HashSet<Vec<u8>> = found
        .iter()
        .filter_map(names)
        .filter_map(|[issuer, subject]| (issuer != subject).then_some(issuer))
        .collect();
    found.retain(|found| names(found).is_none_or(|[_, subject]| !issuers.contains(&subject)));
    found
}

struct PinFile<'a> {
    text: &'a [u8],
    origin: &'a Origin,
    /// The offset of the next line.
    next: usize,
    /// How many certificates were read.
    certificates: usize,
}

/// A line and its offset. A line that is not UTF-8, of which this is a copy, cannot be part of a
/// PEM key, so the copy need not be wiped.
struct Line<'a> {
    start: usize,
    text: Cow<'a, str>,
}

impl<'a> PinFile<'a> {
    fn read(mut self) -> Result<Vec<Found>, SetupError> {
        let mut pins = Vec::new();
        // The offset of text that must be followed by a certificate.
        let mut heading = None;
        while let Some(line) = self.line() {
            let text = line.text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with('-') {
                pins.push(self.section(&line)?);
                heading = None;
                continue;
            }
            match (text.parse::<Fingerprint>(), heading) {
                (Ok(fingerprint), None) => pins.push(Found::Key(fingerprint)),
                // A tool's description of a certificate may contain fingerprints, which may be of
                // other things.
                (Ok(_), Some(heading)) => return Err(self.not_a_pin(heading)),
                (Err(source), _) if Fingerprint::is_meant(text) => {
                    return Err(self.bad_fingerprint(line.start, source));
                }
                (Err(_), _) => heading = heading.or(Some(line.start)),
            }
        }
        heading.map_or(Ok(pins), |start| Err(self.not_a_pin(start)))
    }

    /// Takes the next line. Like the PEM reader's, lines end with LF, CR or both.
    fn line(&mut self) -> Option<Line<'a>> {
        let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        // Also in the middle: files may have been concatenated.
        let mut line = &rest[..length];
        while let Some(unmarked) = line.strip_prefix(BYTE_ORDER_MARK) {
            line = unmarked;
        }
        let start = self.next + length - line.len();
        self.next += length + 1;
        let text = String::from_utf8_lossy(line);
        Some(Line { start, text })
    }

    /// Reads the section that begins with `begin`, a line that starts with a dash.
    fn section(&mut self, begin: &Line<'_>) -> Result<Found, SetupError> {
        let (origin, line) = (self.origin.clone(), self.number(begin.start));
        if begin.text.contains("PRIVATE KEY") {
            return Err(SetupError::KeyAmongPins { origin, line });
        }
        let label = begin.text.strip_prefix("-----BEGIN ");
        match label.and_then(|label| label.trim_end().strip_suffix("-----")) {
            Some("CERTIFICATE") => {}
            Some(_) => return Err(SetupError::SectionAmongPins { origin, line }),
            None => return Err(self.damaged(begin.start, "half a BEGIN or END line")),
        }
        loop {
            let Some(line) = self.line() else {
                return Err(self.damaged(begin.start, "this section has no END line"));
            };
            match line.text.trim_end() {
                "-----END CERTIFICATE-----" => break,
                text if text.trim_start().starts_with('-') => {
                    return Err(self.damaged(line.start, "not the END of the section before"));
                }
                _ => {}
            }
        }
        let end = self.next.min(self.text.len());
        let certificate = CertificateDer::from_pem_slice(&self.text[begin.start..end])
            .map_err(|error| self.damaged(begin.start, describe(&error)))?;
        self.certificates += 1;
        Ok(Found::Certificate(certificate, self.certificates))
    }

    /// Returns the number of the line that begins at `start`, counted from 1.
    fn number(&self, start: usize) -> usize {
        let before = &self.text[..start];
        let count = |end| before.iter().filter(|byte| **byte == end).count();
        count(b'\n').max(count(b'\r')) + 1
    }

    fn damaged(&self, start: usize, what: &str) -> SetupError {
        SetupError::BadPem {
            origin: self.origin.clone(),
            detail: format!("line {}: {what}", self.number(start)),
        }
    }

    fn not_a_pin(&self, start: usize) -> SetupError {
        SetupError::NotAPin {
            origin: self.origin.clone(),
            line: self.number(start),
        }
    }

    fn bad_fingerprint(&self, start: usize, source: ParseFingerprintError) -> SetupError {
        SetupError::BadFingerprint {
            origin: self.origin.clone(),
            line: self.number(start),
            source,
        }
    }
}
