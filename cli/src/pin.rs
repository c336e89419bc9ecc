//! `countersign pin`: shows fingerprints.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use countersign::{Escaped, Fingerprint, Pins};
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode};

use crate::args::PinArgs;
use crate::exit::Failure;
use crate::security::not_a_list;
use crate::stdio;

/// Prints one line for each certificate and each fingerprint in the files.
///
/// # Errors
/// A file can't be used as a pin, or standard output can't be written.
pub fn run(args: &PinArgs) -> Result<(), Failure> {
    let mut out = stdio::output()?;
    for path in &args.file {
        let mut text = describe(path)?.join("\n");
        text.push('\n');
        if let Err(error) = out.write_all(text.as_bytes()) {
            return stdio::finish(Err(error));
        }
    }
    Ok(())
}

/// Returns the pins of the file, a line each, as `--peer` reads them.
fn describe(path: &Path) -> Result<Vec<String>, Failure> {
    let pins = Pins::from_files([path])
        .map_err(|error| not_a_list(error).unwrap_or_else(Failure::from))?;
    let file = Escaped::whole(path.display());
    let lines = pins.iter().map(|pin| match pin.certificate_der() {
        Some(certificate) => line(
            pin.fingerprint(),
            &format!("{}, {file}", facts(certificate)),
        ),
        None => line(pin.fingerprint(), &format!("listed in {file}")),
    });
    Ok(lines.collect())
}

fn line(fingerprint: Fingerprint, what: &str) -> String {
    format!("{fingerprint}  {what}")
}

/// Returns the certificate's name and dates. It is not judged here, so what can't be read is left
/// out.
fn facts(der: &[u8]) -> String {
    let Ok(certificate) = Certificate::from_der(der) else {
        return "name and dates unreadable".to_owned();
    };
    let validity = certificate.tbs_certificate().validity();
    let (from, to) = (validity.not_before, validity.not_after);
    let now = SystemTime::now();
    let now = match from.to_system_time() <= now && now <= to.to_system_time() {
        true => "",
        false => " (not now!)",
    };
    let (from, to) = (day(from.to_date_time()), day(to.to_date_time()));
    format!("{}, valid {from} to {to}{now}", name(&certificate))
}

fn day(time: DateTime) -> String {
    let (year, month, day) = (time.year(), time.month(), time.day());
    format!("{year}-{month:02}-{day:02}")
}

/// Returns the name of the certificate's owner. The certificate's author chose it, so control
/// characters, which could make a terminal show something else, are escaped.
fn name(certificate: &Certificate) -> String {
    let subject = certificate.tbs_certificate().subject();
    let common = subject.common_name().ok().flatten();
    let name = common.map_or_else(|| subject.to_string(), |name| name.value().into_owned());
    Escaped::new(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The author of a certificate chose the name in it, and may have chosen it to attack a
    /// terminal.
    #[test]
    fn names_are_shown_and_not_obeyed() {
        // No code of the project makes such a name, so it is put into a certificate afterwards.
        let (good, bad) = (b"ro#[2Jbot~ok", b"ro\x1b[2Jbot\nok");
        let made = countersign_certs::NewIdentity::new("ro#[2Jbot~ok");
        let mut certificate = made.generate().unwrap().certificate_der().to_vec();
        for at in 0..certificate.len() - good.len() {
            let part = &mut certificate[at..at + good.len()];
            if part == good {
                part.copy_from_slice(bad);
            }
        }
        let shown = facts(&certificate);
        assert!(
            shown.starts_with(r"ro\u{1b}[2Jbot\nok, valid 20"),
            "{shown:?}"
        );
    }
}
