//! No private key stays in memory where `docs/secrets.md` says that it is wiped: a process that had
//! one is looked through, all that it can write to.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use countersign_certs::{GeneratedIdentity, Overwrite, fixtures};
use countersign_endpoint::Identity;
use countersign_tests::watch;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

/// The shortest piece of a key that counts as found, in bytes of the secret number and in
/// characters of its text: 128 bits.
const PIECE: usize = 16;
const TEXT_PIECE: usize = 24;
const LINE: usize = 64;

/// A secret number in one of the forms that it has in memory.
struct Form {
    name: &'static str,
    pieces: BTreeSet<Vec<u8>>,
}

impl Form {
    fn new(name: &'static str, pieces: impl Iterator<Item = Vec<u8>>) -> Self {
        let pieces: BTreeSet<_> = pieces.collect();
        assert!(!pieces.is_empty(), "{name}");
        Self { name, pieces }
    }

    fn is_in(&self, memory: &[u8]) -> bool {
        let length = self.pieces.first().unwrap().len();
        let mut begins = [false; 256];
        for piece in &self.pieces {
            begins[usize::from(piece[0])] = true;
        }
        let mut windows = memory.windows(length);
        windows.any(|window| begins[usize::from(window[0])] && self.pieces.contains(window))
    }
}

const NUMBER: &str = "the number";
const LIMBS: &str = "the number as the library has it";
const LINES: &str = "text with its line ends";
const BASE64: &str = "text without line ends";

/// Where the secret number is in PKCS#8, by the length of that.
fn secret_range(der: &[u8]) -> std::ops::Range<usize> {
    match der.len() {
        138 => 36..68,
        48 => 16..48,
        length => panic!("another form of PKCS#8: {length} bytes"),
    }
}

/// What a key looks like in memory. Pieces of its text all have at least ten characters of the
/// secret number.
fn forms(der: &[u8], pem: &str) -> [Form; 4] {
    let range = secret_range(der);
    let secret = &der[range.clone()];
    let windows =
        |bytes: &[u8]| -> Vec<Vec<u8>> { bytes.windows(PIECE).map(<[u8]>::to_vec).collect() };
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let (begin, end) = (range.start.div_ceil(3) * 4, range.end / 3 * 4);
    let joined = body.as_bytes()[begin..end].windows(TEXT_PIECE);
    // As it is in the file, a line's end in the middle of each.
    let text = pem.as_bytes();
    let first = pem.find('\n').unwrap() + 1;
    let place = |at: usize| first + at + at / LINE;
    let around = &text[place(begin)..place(end - 1) + 4];
    let broken = around
        .windows(TEXT_PIECE)
        .filter(|piece| piece[2..TEXT_PIECE - 2].contains(&b'\n'));
    [
        Form::new(NUMBER, windows(secret).into_iter()),
        Form::new(LIMBS, windows(&reversed).into_iter()),
        Form::new(LINES, broken.map(<[u8]>::to_vec)),
        Form::new(BASE64, joined.map(<[u8]>::to_vec)),
    ]
}

/// Calls `look` with all that a process can write to.
fn look_through(process: u32, mut look: impl FnMut(&[u8])) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut looked_at = 0;
    for map in maps.lines() {
        let mut fields = map.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.read_exact_at(&mut bytes, from).unwrap();
        look(&bytes);
        looked_at += bytes.len();
    }
    println!("{looked_at} bytes");
}

/// What the PEM decoder of another library leaves behind: `docs/secrets.md`.
const DECODERS: &[&str] = &[BASE64];
const NOTHING: &[&str] = &[];

/// A process that has a key, and what may be left of it.
struct Holder<'a> {
    case: &'static str,
    folder: &'a Path,
    arguments: &'a [&'a str],
    left: &'static [&'static str],
}

impl Holder<'_> {
    /// What was found of a key, at each moment that the process reported.
    fn run(&self, key: &dyn Fn() -> [Form; 4]) -> Vec<(String, BTreeSet<&'static str>)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_key-holder"));
        command.arg(self.case).arg(self.folder).args(self.arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut answers = process.stdin.take().unwrap();
        let mut moments = Vec::new();
        for told in BufReader::new(process.stdout.take().unwrap()).lines() {
            let (key, mut found) = (key(), BTreeSet::new());
            look_through(process.id(), |bytes| {
                let in_it = key.iter().filter(|form| form.is_in(bytes));
                found.extend(in_it.map(|form| form.name));
            });
            moments.push((told.unwrap(), found));
            answers.write_all(b"\n").unwrap();
        }
        assert!(process.wait().unwrap().success());
        println!("{} {:?}: {moments:?}", self.case, self.arguments);
        moments
    }

    /// The key is found while the process has it, and nothing is once it no longer has it.
    fn check(&self, key: &dyn Fn() -> [Form; 4]) {
        let moments = self.run(key);
        assert_eq!(moments.last().unwrap().0, "gone");
        for (told, found) in &moments {
            let what = format!("{} {:?}, {told}", self.case, self.arguments);
            match told.as_str() {
                "held" => assert!(found.contains(NUMBER) || found.contains(LIMBS), "{what}"),
                "gone" => {
                    let mut left = found.iter().filter(|form| !self.left.contains(form));
                    assert_eq!(left.next(), None, "{what}");
                }
                _ => panic!("{what}"),
            }
        }
    }
}

/// A key in files of every kind, and another.
struct Files {
    folder: tempfile::TempDir,
    own: GeneratedIdentity,
}

impl Files {
    fn new(own: GeneratedIdentity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let next = fixtures::good("next");
        for identity in [&own, &next] {
            identity.write(folder.path(), Overwrite::No).unwrap();
        }
        let files = Self { folder, own };
        let (certificate, key) = (files.own.certificate_pem(), files.own.key_pem());
        files.add("own.key.der", files.own.key_der());
        files.add("own.crt.der", files.own.certificate_der());
        files.add("both", padded(&format!("{key}{certificate}")));
        files.add("two", format!("{key}{}", next.key_pem()));
        // What is wrong comes behind the key.
        let odd = "-----BEGIN PRIVATE KEY-----\nA*\n-----END PRIVATE KEY-----\n";
        files.add("odd", format!("{key}{odd}"));
        files.add("half", &key[..key.len() - 20]);
        let locked = odd.replace(" PRIVATE", " ENCRYPTED PRIVATE");
        files.add("locked", format!("{key}{locked}"));
        files.add("odd.crt", certificate.replacen("MII", "AAA", 1));
        files.add("chain.crt", certificate.repeat(Identity::MAX_CHAIN + 1));
        let turned = format!("{}{certificate}", next.certificate_pem());
        files.add("turned.crt", turned);
        let mut unknown = files.own.key_der().to_vec();
        // The version of PKCS#8.
        let version = if unknown[1] < 0x80 { 4 } else { 5 };
        unknown[version] = 9;
        files.add("unknown.der", unknown);
        files
    }

    fn add(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), contents).unwrap();
    }

    /// A pipe that a text comes through.
    fn pipe(&self, name: &str, text: String) {
        let pipe = self.folder.path().join(name);
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        thread::spawn(move || fs::write(pipe, text).unwrap());
    }

    fn check(&self, case: &'static str, arguments: &[&str], left: &'static [&'static str]) {
        let holder = Holder {
            case,
            folder: self.folder.path(),
            arguments,
            left,
        };
        holder.check(&|| forms(self.own.key_der(), self.own.key_pem()));
    }
}

/// With so much behind it that what holds it all is large, and a little in front.
fn padded(text: &str) -> String {
    let line = "# nothing\n";
    format!("{}{text}{}", line.repeat(800), line.repeat(30_000))
}

fn with_keys_of_all_kinds(work: fn(&Files)) {
    watch(move || {
        for own in [fixtures::good("own"), fixtures::ed25519("own")] {
            work(&Files::new(own));
        }
    });
}

#[test]
fn a_key_that_is_left_is_found() {
    with_keys_of_all_kinds(|files| {
        for (name, expected) in [
            ("own.key", [BASE64, LINES].as_slice()),
            ("own.key.der", &[NUMBER]),
        ] {
            let holder = Holder {
                case: "left",
                folder: files.folder.path(),
                arguments: &[name],
                left: NOTHING,
            };
            let moments = holder.run(&|| forms(files.own.key_der(), files.own.key_pem()));
            let found: Vec<_> = moments[0].1.iter().copied().collect();
            for form in expected {
                assert!(found.contains(form), "{name}: {found:?}");
            }
        }
    });
}

#[test]
fn a_loaded_key_goes_with_the_last_that_has_it() {
    with_keys_of_all_kinds(|files| {
        let own = ["own.crt", "own.key"];
        files.check("files", &own, DECODERS);
        files.check("files", &["both", "both"], DECODERS);
        files.check("text", &own, DECODERS);
        files.check("der", &["own.crt.der", "own.key.der"], NOTHING);
        files.check("link", &own, DECODERS);
        let replaced = ["own.crt", "own.key", "next.crt", "next.key"];
        files.check("replaced", &replaced, DECODERS);
        files.pipe("short", files.own.key_pem().to_owned());
        files.check("files", &["own.crt", "short"], DECODERS);
        files.pipe("long", padded(files.own.key_pem()));
        files.check("files", &["own.crt", "long"], DECODERS);
    });
}

#[test]
fn a_key_that_is_refused_is_wiped_before_it_is_said() {
    with_keys_of_all_kinds(|files| {
        for [certificate, key] in [
            ["next.crt", "own.key"],
            ["odd.crt", "own.key"],
            ["chain.crt", "own.key"],
            ["turned.crt", "own.key"],
            ["own.key", "own.key"],
            ["own.crt", "two"],
            ["own.crt", "odd"],
            ["own.crt", "half"],
            ["own.crt", "locked"],
        ] {
            files.check("refused", &[certificate, key], DECODERS);
        }
        files.check("refused der", &["own.crt.der", "unknown.der"], NOTHING);
        for file in ["own.key", "both", "odd"] {
            files.check("pins", &[file], NOTHING);
        }
    });
}

#[test]
fn a_new_key_is_wiped_when_nobody_has_it() {
    watch(|| {
        for kind in ["p256", "ed25519"] {
            let folder = tempfile::tempdir().unwrap();
            let holder = Holder {
                case: "generate",
                folder: folder.path(),
                arguments: &[kind],
                left: NOTHING,
            };
            // Only the file tells which key it was.
            holder.check(&|| {
                let pem = fs::read_to_string(folder.path().join("new.key")).unwrap();
                let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
                forms(der.secret_pkcs8_der(), &pem)
            });
        }
    });
}
