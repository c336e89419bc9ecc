//! Identities, pins, authorities and fingerprints, in PEM, DER and text.
//!
//! Input: one byte for what is read, then the text, or for two things in DER the length of the
//! first in two bytes, the first, and the second.

use countersign_endpoint::{Authority, Fingerprint, Identity, Pin, Pins, SetupError};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::input::byte;

/// Tries one input.
pub fn check(mut input: &[u8]) {
    match byte(&mut input) % 8 {
        0 => pins(input),
        1 => identity(Identity::from_pem(input, input), input),
        2 => {
            let (certificate, key) = two(input);
            identity(Identity::from_pem(certificate, key), key);
        }
        3 => {
            let (certificate, key) = two(input);
            identity(Identity::from_der(certificate, key), key);
        }
        4 => authority(input),
        5 => certificate(input),
        6 => fingerprint(input),
        _ => find(input),
    }
}

/// Cuts an input in two.
fn two(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else {
        return (input, &[]);
    };
    rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()))
}

fn pins(text: &[u8]) {
    let pins = match Pins::from_text(text) {
        Ok(pins) => pins,
        Err(error) => return said(&error, text),
    };
    let all: Vec<Pin> = pins.iter().cloned().collect();
    assert!((1..=Pins::LIMIT).contains(&all.len()));
    for (at, pin) in all.iter().enumerate() {
        assert!(!all[..at].contains(pin), "one pin twice");
        assert_eq!(pin.fingerprint().to_string().parse(), Ok(pin.fingerprint()));
    }
    let is_key =
        |line: &[u8]| line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----");
    let mut lines = text.split(|byte| matches!(byte, b'\n' | b'\r'));
    assert!(!lines.any(is_key), "a private key among pins");
    let marked = Pins::from_text(&[b"\xef\xbb\xbf", text].concat()).expect("a mark more");
    assert!(marked.iter().eq(pins.iter()), "a mark makes a difference");
    let again = Pins::new(all).expect("as many as before");
    assert!(again.fingerprints().eq(pins.fingerprints()));
    // What was read as fingerprints can be written and read again.
    if pins.iter().all(|pin| !pin.is_certificate()) {
        let lines: Vec<String> = pins.fingerprints().map(|pin| format!("{pin}\n")).collect();
        let again = Pins::from_text(lines.concat().as_bytes()).expect("written by us");
        assert!(again.fingerprints().eq(pins.fingerprints()));
    }
}

fn identity(result: Result<Identity, SetupError>, key: &[u8]) {
    let identity = match result {
        Ok(identity) => identity,
        Err(error) => return said(&error, key),
    };
    let pin = Pin::certificate(identity.certificate_der()).expect("an identity's certificate");
    assert_eq!(pin.fingerprint(), identity.fingerprint());
    let pins = Pins::from(pin.clone());
    assert_eq!(pins.find(identity.certificate_der()), Some(&pin));
    for warning in identity.warnings() {
        assert!(!warning.to_string().is_empty());
    }
    keeps_secret(&format!("{identity:?}"), key);
}

fn authority(pem: &[u8]) {
    match Authority::from_pem(pem) {
        Ok(authority) => drop(authority.expecting_server("robot.example")),
        Err(error) => said(&error, pem),
    }
    if let Ok(name) = std::str::from_utf8(pem)
        && let Ok(authority) = Authority::from_pem(ROOT.as_bytes())
        && let Err(error) = authority.expecting_server(name)
    {
        assert!(!error.to_string().is_empty());
    }
}

/// A certificate, for what can be tried only with one.
const ROOT: &str = include_str!("root.pem");

fn certificate(der: &[u8]) {
    let pin = match Pin::certificate(der) {
        Ok(pin) => pin,
        Err(error) => return said(&error, der),
    };
    assert!(pin.is_certificate());
    assert_eq!(Pins::from(pin.clone()).find(der), Some(&pin));
    // Another reader finds the same key, where it finds one.
    if let Ok((rest, certificate)) = X509Certificate::from_der(der) {
        assert!(rest.is_empty(), "bytes behind a certificate that is pinned");
        let key = certificate.public_key().raw;
        // If a key has something after its last field, the other reader shows only the fields.
        if is_whole(key) {
            assert_eq!(pin.fingerprint(), Fingerprint::of_public_key(key));
        }
    }
}

/// Whether the length that a sequence in DER says is that of what follows.
fn is_whole(der: &[u8]) -> bool {
    match *der {
        [0x30, length, ref rest @ ..] if length < 0x80 => rest.len() == usize::from(length),
        [0x30, 0x81, length, ref rest @ ..] => rest.len() == usize::from(length),
        [0x30, 0x82, high, low, ref rest @ ..] => {
            rest.len() == usize::from(u16::from_be_bytes([high, low]))
        }
        _ => false,
    }
}

fn fingerprint(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match text.parse::<Fingerprint>() {
        Ok(fingerprint) => {
            let digits = |text: &str| -> String {
                let text = text.to_lowercase();
                let text = text.trim().strip_prefix("sha256:").map(str::to_owned);
                text.expect("a prefix")
                    .chars()
                    .filter(|c| *c != ':')
                    .collect()
            };
            let written = fingerprint.to_string();
            assert_eq!(digits(&written), digits(text));
            assert_eq!(written.parse(), Ok(fingerprint));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// No certificate that a peer shows is found among pins that don't have it.
fn find(der: &[u8]) {
    let root = Pins::from_text(ROOT.as_bytes()).expect("a certificate");
    let other = Pins::from(Fingerprint([0; 32]));
    assert_eq!(other.find(der), None);
    if let Some(found) = root.find(der) {
        assert_eq!(Ok(found), Pin::certificate(der).as_ref().map_err(|_| ()));
    }
}

/// An error says something, and nothing of a key.
fn said(error: &SetupError, input: &[u8]) {
    let text = format!("{error} {error:?}");
    assert!(!error.to_string().is_empty());
    keeps_secret(&text, input);
}

/// No line of what may be a key is in the text.
fn keeps_secret(text: &str, input: &[u8]) {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    for line in String::from_utf8_lossy(input).lines().map(str::trim) {
        if line.len() >= 24 && line.chars().all(is_base64) {
            assert!(!text.contains(line), "{text}");
        }
    }
}
