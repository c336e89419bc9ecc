//! `countersign pin`: shows fingerprints.

use std::fs;
use std::path::Path;

use countersign_tokio::endpoint::{Fingerprint, Pins};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

use crate::args::PinArgs;
use crate::exit::Failure;

/// Prints one line for each certificate and each fingerprint in the files.
///
/// # Errors
/// A file that can't be used as a pin.
pub fn run(args: &PinArgs) -> Result<(), Failure> {
    for path in &args.file {
        for line in describe(path)? {
            println!("{line}");
        }
    }
    Ok(())
}

/// The file as pins, a line each: what `--peer` would make of it is what is shown.
fn describe(path: &Path) -> Result<Vec<String>, Failure> {
    let pins = Pins::from_files([path])?;
    let file = path.display();
    let text = fs::read(path).map_err(|error| Failure::files(format!("{file}: {error}")))?;
    let mut lines = Vec::new();
    for pem in Pem::iter_from_buffer(&text).flatten() {
        if let Some(pin) = pins.find(&pem.contents) {
            let facts = facts(&pem.contents);
            lines.push(line(pin.fingerprint(), &format!("{facts}, {file}")));
        }
    }
    if lines.is_empty() {
        let fingerprints = pins.fingerprints();
        lines.extend(fingerprints.map(|found| line(found, &format!("listed in {file}"))));
    }
    Ok(lines)
}

fn line(fingerprint: Fingerprint, what: &str) -> String {
    format!("{fingerprint}  {what}")
}

/// The certificate's name and dates. It is not judged here, so what can't be read is left out.
fn facts(der: &[u8]) -> String {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return "name and dates unreadable".to_owned();
    };
    let validity = certificate.validity();
    let from = validity.not_before.to_datetime().date();
    let to = validity.not_after.to_datetime().date();
    let now = match validity.is_valid() {
        true => "",
        false => " (not now!)",
    };
    format!("{}, valid {from} to {to}{now}", name(&certificate))
}

/// What the certificate calls its owner. Whoever made it chose that, so control characters, with
/// which a terminal could be made to show something else, are escaped.
fn name(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject();
    let mut names = subject
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    let name = names
        .next()
        .map_or_else(|| subject.to_string(), str::to_owned);
    name.escape_debug().to_string()
}
