//! What a file of pins may hold, and that nothing in it is passed over that may be meant as a pin.

#![allow(clippy::unwrap_used, reason = "a test")]

use countersign_certs::fixtures;
use countersign_endpoint::{Fingerprint, Pin, Pins, SetupError};

const MARK: &str = "\u{feff}";

/// What a tool writes in front of a certificate.
const HEADING: &str = "Certificate:\n    Data:\n        Signature Algorithm: sha256WithRSA\n\
                       Bag Attributes: <No Attributes>\nsubject=CN=robot\n";

fn read(text: impl AsRef<[u8]>) -> Result<Vec<Pin>, SetupError> {
    Pins::from_text(text.as_ref()).map(|pins| pins.iter().cloned().collect())
}

fn certificate() -> (String, Pin) {
    let made = fixtures::good("robot");
    let pin = Pin::certificate(made.certificate_der()).unwrap();
    (made.certificate_pem().to_owned(), pin)
}

fn line(byte: u8) -> (String, Pin) {
    let fingerprint = Fingerprint([byte; 32]);
    (format!("{fingerprint}\n"), fingerprint.into())
}

/// The text is refused for what its line `number` is, in these words.
#[track_caller]
fn assert_refused(text: &str, number: usize, words: &str) {
    let error = read(text).unwrap_err().to_string();
    let number = format!("line {number}: ");
    assert!(error.contains(&number) && error.contains(words), "{error}");
    for line in text.lines().filter(|line| line.len() == 64) {
        assert!(!error.contains(line), "{error}");
    }
}

#[test]
fn certificates_and_fingerprints_stand_side_by_side() {
    let ((one, one_pin), (two, two_pin)) = (certificate(), certificate());
    let ((three, three_pin), (four, four_pin)) = (line(3), line(4));
    let text = format!("# ours\n\n{three}{one}  # next\n  {four}\n{two}{three}");
    let pins = [three_pin, one_pin, four_pin, two_pin];
    assert_eq!(read(&text).unwrap(), pins);
    assert_eq!(read(text.trim_end()).unwrap(), pins);
    for end in ["\r\n", "\r"] {
        assert_eq!(read(text.replace('\n', end)).unwrap(), pins, "{end:?}");
    }
    // Put one behind the other, with the marks that editors put in front of each.
    let marked = format!("{MARK}{three}{MARK}{one}{MARK}{four}{MARK}{two}");
    assert_eq!(read(marked).unwrap(), pins);
}

/// A file that is cut off while it is written or copied.
#[test]
fn a_cut_is_noticed_unless_it_is_between_two_pins() {
    let ((one, one_pin), (two, two_pin)) = (certificate(), certificate());
    let ((three, three_pin), (four, four_pin)) = (line(3), line(4));
    let parts = [
        (three, three_pin),
        (one, one_pin),
        (four, four_pin),
        (format!("{HEADING}{two}"), two_pin),
    ];
    let mut text = String::new();
    let mut pins = Vec::new();
    for (part, pin) in parts {
        // Between two pins: before the line's end or behind it.
        for at in 0..part.len() - 1 {
            let cut = read(format!("{text}{}", &part[..at]));
            match (at, pins.is_empty()) {
                (0, false) => assert_eq!(cut.unwrap(), pins),
                _ => assert!(cut.is_err(), "{cut:?} of {:?}", &part[..at]),
            }
        }
        pins.push(pin);
        text += &part;
        assert_eq!(read(text.trim_end()).unwrap(), pins);
    }
    // And what comes behind a cut does not make it good.
    for at in 1..text.len() - 1 {
        let (cut, (next, next_pin)) = (&text[..at], line(5));
        if let Ok(found) = read(format!("{cut}{next}")) {
            let whole = read(cut).unwrap();
            assert_eq!(found, [&whole[..], &[next_pin]].concat(), "{cut}");
        }
    }
}

#[test]
fn text_stands_in_front_of_certificates_only() {
    let ((one, one_pin), (three, three_pin)) = (certificate(), line(3));
    let text = format!("{three}{HEADING}{one}{HEADING}# and\n\n{one}");
    assert_eq!(read(text).unwrap(), [three_pin, one_pin]);
    let words = "neither a fingerprint";
    assert_refused("this is not a pin\n", 1, words);
    assert_refused(&format!("{three}this is not a pin\n"), 2, words);
    assert_refused(&format!("this is not a pin\n{three}{one}"), 1, words);
    let behind = one.lines().count() + 1;
    assert_refused(&format!("{one}this is not a pin\n"), behind, words);
    assert_refused(&format!("{one}{HEADING}"), behind, words);
    // Which GnuTLS writes, for what it has of a certificate.
    assert_refused(&format!("Fingerprint:\n\t{three}{one}"), 1, words);
}

#[test]
fn what_looks_like_a_pin_is_not_taken_for_text() {
    let (one, _) = certificate();
    for (text, words) in [
        ("sha256:12", "this one has 2"),
        ("SHA256 Fingerprint=AB:CD", "hash of a whole certificate"),
        ("sha265:12", "begins with `sha256:`"),
        ("SHA-256:12", "begins with `sha256:`"),
        (&"ab".repeat(32), "the digits of a hash"),
        (&["AB"; 32].join(":"), "the digits of a hash"),
        ("-", "half a BEGIN or END line"),
        ("-----BEGIN ", "half a BEGIN or END line"),
        ("-----BEGIN CERTIFICATE----", "half a BEGIN or END line"),
        (" -----BEGIN CERTIFICATE-----", "half a BEGIN or END line"),
        ("-----END CERTIFICATE-----", "half a BEGIN or END line"),
    ] {
        assert_refused(&format!("# one\n{text}\n{one}"), 2, words);
    }
    // Two files; the first does not end its last line.
    let half = one.trim_end();
    let last = one.lines().count();
    assert_refused(
        &format!("{half}{one}"),
        last,
        "not the END of the section before",
    );
    assert_refused(
        &one.replacen("-----END", "-----BEGIN", 1),
        last,
        "not the END",
    );
    let cut = &one[..one.len() / 2];
    assert_refused(&format!("{cut}{one}"), 1, "not base64");
    let lines = cut.lines().count();
    assert_refused(&format!("{cut}\n{one}"), lines + 1, "not the END");
    let broken = one.replacen("MI", "*I", 1);
    assert_refused(&broken, 1, "not base64");
    assert_refused(&one[..one.len() - 3], last, "not the END");
    assert_refused(cut, 1, "no END line");
}

#[test]
fn other_sections_are_refused_and_keys_not_quoted() {
    let (one, _) = certificate();
    let key = fixtures::good("robot").key_pem().to_owned();
    let behind = one.lines().count() + 1;
    let words = "a private key does not belong among pins";
    for kind in [
        "PRIVATE",
        "RSA PRIVATE",
        "ENCRYPTED PRIVATE",
        "OPENSSH PRIVATE",
    ] {
        let key = key.replace("PRIVATE", kind);
        assert_refused(&key, 1, words);
        assert_refused(&format!("{one}{key}"), behind, words);
        assert_refused(&format!("{key}{one}"), 1, words);
        assert_refused(&format!("{one} {key}"), behind, words);
        let end = behind + key.lines().count() - 1;
        assert_refused(&format!("{one}x{key}"), end, words);
    }
    for kind in [
        "PUBLIC KEY",
        "CERTIFICATE REQUEST",
        "X509 CRL",
        "TRUSTED CERTIFICATE",
        "",
    ] {
        let other = one.replace("CERTIFICATE", kind);
        assert_refused(&format!("{one}{other}"), behind, "is no certificate");
        assert_refused(&format!("{other}{one}"), 1, "is no certificate");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let ((one, one_pin), (three, three_pin)) = (certificate(), line(3));
    assert_eq!(read(format!("{MARK}{three}")).unwrap(), [three_pin]);
    assert_eq!(read(format!("{MARK}{one}")).unwrap(), [one_pin]);
    assert!(matches!(read(MARK), Err(SetupError::NoPins)));
    let made = fixtures::good("robot");
    let [certificate, key] =
        [made.certificate_pem(), made.key_pem()].map(|pem| format!("{MARK}{pem}"));
    let identity = countersign_endpoint::Identity::from_pem(certificate.as_bytes(), key.as_bytes());
    assert_eq!(identity.unwrap().fingerprint(), made.fingerprint());
}
