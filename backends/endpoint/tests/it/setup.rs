//! Identities and pins from files, and what is said when they are not as they should be.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{certificate_pin, identity, security, shake};
use countersign_certs::{GeneratedIdentity, Overwrite, fixtures};
use countersign_endpoint::{
    Authority, Fingerprint, Identity, IdentityWarning, Pin, Pins, Security, SetupError,
};

struct Files {
    directory: tempfile::TempDir,
    robot: GeneratedIdentity,
}

impl Files {
    fn new() -> Self {
        let (directory, robot) = (tempfile::tempdir().unwrap(), fixtures::good("robot"));
        robot.write(directory.path(), Overwrite::No).unwrap();
        Self { directory, robot }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn add(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    fn load(&self, certificate: &str, key: &str) -> Result<Identity, SetupError> {
        Identity::from_pem_files(self.path(certificate), self.path(key))
    }
}

/// The error is one line that names `file` and contains each of `words`.
fn assert_says(result: Result<impl std::fmt::Debug, SetupError>, file: &Path, words: &[&str]) {
    let line = result.unwrap_err().to_string();
    assert!(line.contains(&file.display().to_string()), "{line}");
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
}

#[test]
fn an_identity_comes_from_files_text_and_der() {
    let files = Files::new();
    let robot = &files.robot;
    let from_text = Identity::from_pem(
        robot.certificate_pem().as_bytes(),
        robot.key_pem().as_bytes(),
    );
    for loaded in [files.load("robot.crt", "robot.key"), from_text] {
        let loaded = loaded.unwrap();
        assert_eq!(loaded.fingerprint(), robot.fingerprint());
        assert_eq!(loaded.certificate_der(), robot.certificate_der());
        assert_eq!(loaded.warnings(), []);
    }
    assert_eq!(identity(robot).fingerprint(), robot.fingerprint());
    // Both in one file, with the line ends of another system and text around.
    let both = format!("robot\n{}{}", robot.key_pem(), robot.certificate_pem());
    files.add("both.pem", both.replace('\n', "\r\n"));
    assert!(files.load("both.pem", "both.pem").is_ok());
}

#[test]
fn wrong_files_are_named_with_what_to_do() {
    let files = Files::new();
    let other = fixtures::ed25519("other");
    let path = |name: &str| files.path(name);
    assert_says(
        files.load("none.crt", "robot.key"),
        &path("none.crt"),
        &["no such file"],
    );
    assert_says(
        files.load("robot.crt", "none.key"),
        &path("none.key"),
        &["no such file"],
    );
    assert_says(
        files.load("robot.key", "robot.crt"),
        &path("robot.key"),
        &["swapped"],
    );
    assert_says(
        files.load("robot.crt", "robot.crt"),
        &path("robot.crt"),
        &["swapped"],
    );
    assert_says(
        files.load(".", "robot.key"),
        &path("."),
        &["cannot be read"],
    );

    let empty = files.add("empty", "");
    assert_says(
        files.load("empty", "robot.key"),
        &empty,
        &["no certificate"],
    );
    assert_says(
        files.load("robot.crt", "empty"),
        &empty,
        &["no private key"],
    );

    let key = files.add("other.key", other.key_pem());
    let mismatch = files.load("robot.crt", "other.key");
    assert_says(mismatch, &key, &["does not belong", "robot.crt"]);

    let (certificate, key) = fixtures::mismatched("robot");
    let mismatch = Identity::from_pem(certificate.as_bytes(), key.as_bytes());
    assert!(matches!(mismatch, Err(SetupError::KeyMismatch { .. })));

    let keys = files.add(
        "keys",
        format!("{}{}", files.robot.key_pem(), other.key_pem()),
    );
    assert_says(files.load("robot.crt", "keys"), &keys, &["2 private keys"]);

    let damaged = files.robot.key_pem().replace("-----END", "----END");
    let damaged = files.add("damaged", damaged);
    assert_says(
        files.load("robot.crt", "damaged"),
        &damaged,
        &["damaged PEM"],
    );

    let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let odd = files.add("odd", odd);
    assert_says(files.load("robot.crt", "odd"), &odd, &["cannot be used"]);

    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd = files.add("odd", odd);
    assert_says(
        files.load("odd", "robot.key"),
        &odd,
        &["number 1", "cannot be used"],
    );
}

#[test]
fn a_file_is_read_up_to_its_limit_and_no_further() {
    const LIMIT: usize = 1 << 20;
    let files = Files::new();
    let padded = |pem: &str, length: usize| "x".repeat(length - pem.len() - 1) + "\n" + pem;
    let (certificate, key) = (files.robot.certificate_pem(), files.robot.key_pem());
    files.add("full.crt", padded(certificate, LIMIT));
    files.add("full.key", padded(key, LIMIT));
    let loaded = files.load("full.crt", "full.key").unwrap();
    assert_eq!(loaded.fingerprint(), files.robot.fingerprint());

    let long = files.add("long.crt", padded(certificate, LIMIT + 1));
    let words = ["longer than", "1048576"];
    assert_says(files.load("long.crt", "robot.key"), &long, &words);
    assert_says(Pins::from_files([&long]), &long, &words);
    let long = files.add("long.key", padded(key, LIMIT + 1));
    assert_says(files.load("robot.crt", "long.key"), &long, &words);
}

/// Where a file's length says nothing, the limit holds for what comes out of it.
#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_read_up_to_the_limit() {
    let files = Files::new();
    let endless = Path::new("/dev/zero");
    let words = ["longer than"];
    assert_says(files.load("/dev/zero", "robot.key"), endless, &words);
    assert_says(files.load("robot.crt", "/dev/zero"), endless, &words);
    assert_says(Pins::from_files([endless]), endless, &words);
}

#[test]
fn encrypted_keys_are_recognised_in_both_forms() {
    let files = Files::new();
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\
               \nAAAA\n-----END EC PRIVATE KEY-----\n";
    for text in [new, old] {
        let path = files.add("locked.key", text);
        let words = ["encrypted", "openssl pkey"];
        assert_says(files.load("robot.crt", "locked.key"), &path, &words);
        assert_says(files.load("locked.key", "robot.key"), &path, &["swapped"]);
    }
}

#[test]
fn a_chain_begins_with_the_keys_own_certificate() {
    let files = Files::new();
    let (own, other) = (files.robot.certificate_pem(), fixtures::good("other"));
    files.add("right.crt", format!("{own}{}", other.certificate_pem()));
    let loaded = files.load("right.crt", "robot.key").unwrap();
    assert_eq!(loaded.certificate_der(), files.robot.certificate_der());
    // And a peer with a pin looks at the first one only.
    let ours = Security::tls(loaded, other.fingerprint())
        .build()
        .unwrap()
        .without_alpn();
    let (left, right) = shake(&ours, &security(&other, certificate_pin(&files.robot)), 100);
    assert!(left.error.is_none() && right.error.is_none());

    let wrong = files.add("wrong.crt", format!("{}{own}", other.certificate_pem()));
    assert_says(
        files.load("wrong.crt", "robot.key"),
        &wrong,
        &["number 2", "first"],
    );
    files.add("longest.crt", own.repeat(Identity::MAX_CHAIN));
    let longest = files.load("longest.crt", "robot.key").unwrap();
    let longest = Security::tls(longest, other.fingerprint());
    let longest = longest.build().unwrap().without_alpn();
    let pinning = security(&other, files.robot.fingerprint());
    let (left, right) = shake(&longest, &pinning, usize::MAX);
    assert!(left.error.is_none() && right.secured.is_some());
    let long = files.add("long.crt", own.repeat(Identity::MAX_CHAIN + 1));
    assert_says(
        files.load("long.crt", "robot.key"),
        &long,
        &["9 certificates", "at most 8"],
    );
}

#[test]
fn warnings_are_given() {
    let own = |generated: GeneratedIdentity| identity(&generated).warnings();
    assert!(matches!(
        own(fixtures::expired("x"))[..],
        [IdentityWarning::Expired { .. }]
    ));
    assert!(matches!(
        own(fixtures::not_yet_valid("x"))[..],
        [IdentityWarning::NotYetValid { .. }]
    ));
    assert!(matches!(
        own(fixtures::expires_soon("x"))[..],
        [IdentityWarning::ExpiresSoon { .. }]
    ));
    assert_eq!(own(fixtures::good("x")), []);
    for warning in own(fixtures::expired("x")) {
        assert!(warning.to_string().contains(" UTC"), "{warning}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(files.path("robot.key"), fs::Permissions::from_mode(mode)).unwrap();
        let warnings = files.load("robot.crt", "robot.key").unwrap().warnings();
        assert_eq!(!warnings.is_empty(), warned, "{mode:o}");
        for warning in warnings {
            assert!(warning.to_string().contains("chmod 600"), "{warning}");
        }
    }
}

#[test]
fn pins_come_from_certificates_and_from_lines() {
    let files = Files::new();
    let other = fixtures::good("other");
    let (own, other_pem) = (files.robot.certificate_pem(), other.certificate_pem());
    let both = files.add("both.crt", format!("{own}{other_pem}"));
    let pins = Pins::from_files([both]).unwrap();
    let fingerprints = [files.robot.fingerprint(), other.fingerprint()];
    assert_eq!(pins.fingerprints().collect::<Vec<_>>(), fingerprints);
    assert!(pins.iter().all(Pin::is_certificate));
    assert_eq!(pins.find(other.certificate_der()), pins.iter().nth(1));
    assert_eq!(pins.find(fixtures::good("x").certificate_der()), None);
    assert_eq!(pins.find(b"rubbish"), None);

    let lines = format!(
        "# the robot\n\n  {}\n{}\n",
        fingerprints[0], fingerprints[1]
    );
    let lines = files.add("pins", lines);
    let pins = Pins::from_files([&lines, &lines]).unwrap();
    assert_eq!(pins.fingerprints().collect::<Vec<_>>(), fingerprints);
    assert!(!pins.iter().any(Pin::is_certificate));
    assert_eq!(pins.find(other.certificate_der()), pins.iter().nth(1));
}

#[test]
fn wrong_pins_are_named() {
    let files = Files::new();
    let key = files.path("robot.key");
    assert_says(Pins::from_files([&key]), &key, &["private key", "swapped"]);
    let missing = files.path("missing");
    assert_says(Pins::from_files([&missing]), &missing, &["no such file"]);
    let lines = files.add("lines", "# comment\nsha256:12\n");
    assert_says(
        Pins::from_files([&lines]),
        &lines,
        &["line 2", "64", "this one has 2"],
    );
    assert!(matches!(Pins::from_text(b"\n"), Err(SetupError::NoPins)));
    assert!(matches!(Pins::new([]), Err(SetupError::NoPins)));
    assert!(matches!(
        Pin::certificate(b"x"),
        Err(SetupError::BadCertificate { .. })
    ));
}

#[test]
fn the_number_of_pins_is_bounded() {
    let pin = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        Pin::public_key(Fingerprint(key))
    };
    let all = 0..Pins::LIMIT;
    let most = Pins::new(all.clone().chain(all).map(pin)).unwrap();
    assert_eq!(most.len(), Pins::LIMIT);
    let above = [
        Pins::new((0..=Pins::LIMIT).map(pin)),
        most.and(&pin(Pins::LIMIT).into()),
    ];
    for error in above.map(Result::unwrap_err) {
        let limit = matches!(error, SetupError::TooManyPins { limit: Pins::LIMIT });
        assert!(limit, "{error}");
    }
    let of_one = Pins::of_one_peer((0..Pins::PER_PEER).map(pin)).unwrap();
    assert_eq!(of_one.peers().count(), 1);
    // The last of these makes one peer of two.
    let merged = [0, Pins::PER_PEER].map(pin);
    for error in [
        Pins::of_one_peer((0..=Pins::PER_PEER).map(pin)),
        of_one.and(&Pins::of_one_peer(merged).unwrap()),
    ]
    .map(Result::unwrap_err)
    {
        let limit = matches!(
            error,
            SetupError::TooManyPinsOfOne {
                limit: Pins::PER_PEER
            }
        );
        assert!(limit, "{error}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let robot = fixtures::good("robot");
    let builder = || Security::tls(identity(&robot), robot.fingerprint());
    let longest = builder().alpn(["x".repeat(255)]).build().unwrap();
    let (left, right) = shake(&longest, &longest, usize::MAX);
    assert!(left.secured.is_some() && right.secured.is_some());
    for name in ["", &"x".repeat(256)] {
        let error = builder().alpn([name]).build().unwrap_err();
        assert!(
            matches!(error, SetupError::BadProtocolName { .. }),
            "{error}"
        );
    }
    assert!(matches!(
        Authority::from_pem(b""),
        Err(SetupError::NoCertificate { .. })
    ));
    assert!(matches!(
        Authority::from_files([""; 0]),
        Err(SetupError::NoRoots)
    ));
    let authority = Authority::from_pem(robot.certificate_pem().as_bytes()).unwrap();
    let error = authority.expecting_server("not a name").unwrap_err();
    assert!(matches!(error, SetupError::BadServerName { .. }), "{error}");
}

/// `Debug` and `Display` of everything that ever saw a key, in every spelling a key may leak in.
#[test]
fn nothing_shows_the_key() {
    let files = Files::new();
    let robot = &files.robot;
    let trust = Pins::from(certificate_pin(&fixtures::good("peer")));
    let ours = Security::tls(identity(robot), trust.clone());
    let built = ours.clone().key_log(true).build().unwrap();
    let mut shown = format!(
        "{robot:?} {robot:#?} {:?} {:#?}",
        identity(robot),
        identity(robot)
    );
    shown += &format!("{trust:?} {ours:?} {ours:#?} {built:?} {built:#?}");
    let (left, right) = shake(&built, &built, usize::MAX);
    shown += &format!("{:?} {:?} {:?}", left.connection, left.error, right.error);
    shown += &format!("{} {}", left.message(), right.message());

    let key = robot.key_pem();
    let half: String = key.chars().take(key.len() / 2).collect();
    files.add("half.key", &half);
    files.add("torn.key", key.replacen('M', "-----BEGIN", 1));
    files.add("starred.key", key.replacen("MIG", "*IG", 1));
    files.add("double.key", format!("{key}{key}"));
    files.add("as.crt", key);
    for (certificate, key) in [
        ("robot.crt", "half.key"),
        ("robot.crt", "torn.key"),
        ("robot.crt", "starred.key"),
        ("robot.crt", "double.key"),
        ("as.crt", "robot.key"),
        ("half.key", "robot.key"),
        ("starred.key", "robot.key"),
    ] {
        let error = files.load(certificate, key).unwrap_err();
        shown += &format!("{error} {error:?} {error:#?}");
        let error = Pins::from_files([files.path(key)]).unwrap_err();
        shown += &format!("{error} {error:?} {error:#?}");
    }

    // The secret number itself, after PKCS#8's fixed beginning.
    let secret = &robot.key_der()[36..68];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal: Vec<String> = secret[..4].iter().map(ToString::to_string).collect();
    assert!(!shown.to_lowercase().contains(&hex[..12]));
    assert!(!shown.contains(&decimal.join(", ")));
    assert!(!shown.contains(&decimal.join(",\n")));
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        for window in line.as_bytes().windows(12).skip(1) {
            assert!(
                !shown.contains(std::str::from_utf8(window).unwrap()),
                "{shown}"
            );
        }
    }
}
