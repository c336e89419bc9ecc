//! Planted secrets, and the search for them in output.

use std::fmt::Write as _;

/// The beginning of a payload, which must be found nowhere.
pub const PAYLOAD: &[u8] = b"planted-payload-\xE2\x9C\x93-7f3a";

/// Returns a payload with this number.
#[must_use]
pub fn payload(number: usize) -> Vec<u8> {
    [PAYLOAD, number.to_string().as_bytes()].concat()
}

/// The shortest piece of a secret that counts as found, in bytes.
const PIECE: usize = 8;

/// The forms in which bytes can appear in a text: as they are, escaped, in hexadecimal digits of
/// either case with and without separators, as a list of numbers, and in base64.
fn forms(secret: &[u8]) -> Vec<String> {
    let list = |write: &dyn Fn(&mut String, u8), between: &str| {
        let mut text = String::new();
        for (at, byte) in secret.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { between });
            write(&mut text, *byte);
        }
        text
    };
    let lower = |text: &mut String, byte| write!(text, "{byte:02x}").expect("a string");
    let upper = |text: &mut String, byte| write!(text, "{byte:02X}").expect("a string");
    let prefixed = |text: &mut String, byte| write!(text, "0x{byte:02x}").expect("a string");
    let decimal = |text: &mut String, byte| write!(text, "{byte}").expect("a string");
    let mut forms = vec![
        secret.escape_ascii().to_string(),
        list(&lower, ""),
        list(&lower, ":"),
        list(&lower, " "),
        list(&upper, ""),
        list(&upper, ":"),
        list(&prefixed, ", "),
        list(&decimal, ", "),
        list(&decimal, ","),
        // One number to a line, as `{:#?}` has them, with their indentation taken away.
        list(&decimal, ",\n"),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.push(text.to_owned());
    }
    forms
}

/// Fails if any piece of a secret is in a text, in any form.
#[track_caller]
pub fn assert_without(text: &str, what: &str, secret: &[u8]) {
    let flat: String = text
        .lines()
        .map(str::trim_start)
        .fold(String::new(), |mut flat, line| {
            flat.push_str(line);
            flat.push('\n');
            flat
        });
    for piece in secret.windows(PIECE.min(secret.len())) {
        for form in forms(piece) {
            assert!(!flat.contains(&form), "{what} is in the text as {form}");
        }
    }
}

/// Fails if a line of a PEM section is in a text.
#[track_caller]
pub fn assert_without_pem(text: &str, what: &str, pem: &str) {
    for line in pem.lines().filter(|line| !line.starts_with("-----")) {
        let line = &line[..line.len().min(24)];
        assert!(!text.contains(line), "{what} is in the text as {line}");
    }
}
