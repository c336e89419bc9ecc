//! Certificates and pins with which no connection can be secured, which are reported before there
//! is one, and texts that look like a pin and are none.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{certificate_pin, security, shake};
use countersign_certs::fixtures::{self, TestAuthority};
use countersign_endpoint::{Blame, Fingerprint, Identity, Pins, Reason, SetupError};

/// OpenSSL in a folder; `None` where it is missing, unless `CI` is set.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "openssl is missing");
            eprintln!("skipped: openssl is missing");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn run(&self, arguments: &str) -> String {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(self.0.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Identity, SetupError> {
    Identity::from_pem_files(certificate, key)
}

#[test]
fn keys_that_can_sign_no_handshake_are_refused_when_they_are_loaded() {
    let Some(openssl) = OpenSsl::new() else {
        return;
    };
    openssl.run(
        "req -x509 -nodes -days 30 -subj /CN=good -newkey ed25519 -keyout good.key -out good.crt",
    );
    let good = openssl.path("good.crt");
    for (new_key, is) in [
        ("rsa:1024", "RSA of 1024 bits"),
        ("ed448", "Ed448"),
        ("rsa-pss -pkeyopt rsa_keygen_bits:2048", "RSA for PSS alone"),
        (
            "ec -pkeyopt ec_paramgen_curve:secp256k1",
            "the curve secp256k1",
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-224",
            "a kind that is unknown",
        ),
    ] {
        openssl.run(&format!(
            "req -x509 -nodes -days 30 -subj /CN=robot -newkey {new_key} -keyout robot.key -out \
             robot.crt"
        ));
        let (certificate, key) = (openssl.path("robot.crt"), openssl.path("robot.key"));
        let error = Pins::from_files([&certificate]).unwrap_err().to_string();
        assert!(
            error.contains(is) && error.contains("take P-256"),
            "{error}"
        );
        let error = load(&certificate, &key).unwrap_err().to_string();
        let takes = "take P-256, P-384, P-521, Ed25519, or RSA of 2048 to 8192 bits";
        assert!(error.contains(is) && error.contains(takes), "{error}");
        // And where the certificate is of another key.
        let error = load(&good, &key).unwrap_err().to_string();
        assert!(
            error.ends_with(takes) && !error.contains("parse"),
            "{error}"
        );
    }
    // The smallest that is of use.
    for new_key in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-521", "ed25519"] {
        openssl.run(&format!(
            "req -x509 -nodes -days 30 -subj /CN=robot -newkey {new_key} -keyout robot.key -out \
             robot.crt"
        ));
        let certificate = openssl.path("robot.crt");
        assert!(Pins::from_files([&certificate]).is_ok());
        assert!(load(&certificate, &openssl.path("robot.key")).is_ok());
    }
}

#[test]
fn a_certificate_of_version_1_is_called_that() {
    let Some(openssl) = OpenSsl::new() else {
        return;
    };
    openssl
        .run("req -new -nodes -subj /CN=robot -newkey rsa:2048 -keyout robot.key -out robot.csr");
    openssl.run("x509 -req -in robot.csr -signkey robot.key -days 30 -out robot.crt");
    let certificate = openssl.path("robot.crt");
    let errors = [
        Pins::from_files([&certificate]).unwrap_err(),
        load(&certificate, &openssl.path("robot.key")).unwrap_err(),
    ];
    for error in errors.map(|error| error.to_string()) {
        assert!(error.contains("version 1 of X.509"), "{error}");
        assert!(!error.contains("UnsupportedCertVersion"), "{error}");
    }
}

#[test]
fn the_hash_of_a_certificate_is_told_from_that_of_its_key() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let digest = certificate_hash(robot.certificate_der());
    let on_station = security(&station, digest);
    for connecting in [true, false] {
        let on_robot = security(&robot, certificate_pin(&station));
        let (station_end, robot_end) = if connecting {
            shake(&on_station, &on_robot, usize::MAX)
        } else {
            let (robot_end, station_end) = shake(&on_robot, &on_station, usize::MAX);
            (station_end, robot_end)
        };
        let error = station_end.error.unwrap();
        let (presented, pinned) = (robot.fingerprint(), digest);
        assert_eq!(
            *error.reason(),
            Reason::CertificateHashPinned { presented, pinned }
        );
        assert_eq!(error.blame(), Blame::Refused);
        let words = error.to_string();
        assert!(words.ends_with(&format!("pin {presented}")), "{words}");
        assert!(words.contains("whole certificate"), "{words}");
        let refused = robot_end.error.unwrap();
        assert!(matches!(refused.reason(), Reason::RefusedByPeer { .. }));
    }
    // The line as OpenSSL prints it says so itself, and is none from the start.
    let line = format!("sha256 Fingerprint={}", colons(digest));
    let error = Pins::from_text(line.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("hash of a whole certificate"), "{error}");
}

/// As `openssl x509 -fingerprint -sha256` computes it.
fn certificate_hash(certificate: &[u8]) -> Fingerprint {
    Fingerprint::of_public_key(certificate)
}

fn colons(fingerprint: Fingerprint) -> String {
    let bytes: Vec<_> = fingerprint
        .0
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

#[test]
fn openssl_prints_what_is_told_apart() {
    let Some(openssl) = OpenSsl::new() else {
        return;
    };
    let robot = fixtures::good("robot");
    std::fs::write(openssl.path("robot.crt"), robot.certificate_pem()).unwrap();
    let line = openssl.run("x509 -in robot.crt -noout -fingerprint -sha256");
    let digits = colons(certificate_hash(robot.certificate_der()));
    assert_eq!(line.trim().split_once('=').unwrap().1, digits);
    let error = Pins::from_text(line.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("hash of a whole certificate"), "{error}");
}

#[test]
fn of_a_chain_the_leaf_is_the_pin() {
    let authority = TestAuthority::new("authority");
    let (robot, other) = (authority.issue("robot"), authority.issue("other"));
    let leaf = |pem: &str| {
        Pins::from_text(pem.as_bytes())
            .unwrap()
            .fingerprints()
            .next()
    };
    let (leaf, other_leaf) = (leaf(&robot.certificate_pem), leaf(&other.certificate_pem));
    let root = authority.root_pem();
    for chain in [
        format!("{}{root}", robot.certificate_pem),
        format!("{root}{}", robot.certificate_pem),
        format!("{0}{root}{0}{root}", robot.certificate_pem),
    ] {
        let pins = Pins::from_text(chain.as_bytes()).unwrap();
        assert!(pins.fingerprints().eq(leaf), "{pins:?}");
    }
    // Two chains one behind the other are two pins, and a fingerprint counts beside them.
    let (one, two) = (&robot.certificate_pem, &other.certificate_pem);
    let print = Fingerprint([7; 32]);
    let text = format!("{one}{root}{print}\n{two}{root}");
    let pins = Pins::from_text(text.as_bytes()).unwrap();
    assert!(
        pins.fingerprints()
            .eq([leaf.unwrap(), print, other_leaf.unwrap()])
    );
    // The root alone is a pin, since it can be a peer's certificate.
    assert_eq!(Pins::from_text(root.as_bytes()).unwrap().len(), 1);
    // A key and its successor have the same name, and neither certifies the other.
    let (old, new) = (fixtures::good("robot"), fixtures::good("robot"));
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    let both = Pins::from_text(both.as_bytes()).unwrap();
    assert!(
        both.fingerprints()
            .eq([old.fingerprint(), new.fingerprint()])
    );
}
