//! The certificates in the hands of OpenSSL and Python, at their strictest.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use countersign_certs::{GeneratedIdentity, Overwrite, fixtures};

/// Whether `program` is there. In CI it has to be.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("-V").output().is_ok()
        || Command::new(program).arg("version").output().is_ok();
    if !there {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is missing, and CI is set"
        );
        eprintln!("skipped: {program} is missing");
    }
    there
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (output.stdout, output.stderr);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn identities() -> [GeneratedIdentity; 4] {
    [
        fixtures::good("robot"),
        fixtures::ed25519("station"),
        fixtures::good("My Robot"),
        fixtures::with_authority_flag("openssl-like"),
    ]
}

#[test]
fn openssl_takes_a_certificate_as_its_own_authority() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for identity in identities() {
        let files = identity.write(directory.path(), Overwrite::No).unwrap();
        for purpose in ["sslserver", "sslclient"] {
            let mut command = Command::new("openssl");
            command.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]);
            run(command.arg(&files.certificate).arg(&files.certificate));
        }
    }
}

#[test]
fn openssl_reads_what_we_say_is_in_it() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let files = fixtures::good("robot")
        .write(directory.path(), Overwrite::No)
        .unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-text", "-in"]);
    let text = run(command.arg(&files.certificate));
    for expected in [
        "CN = robot",
        "DNS:robot",
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
        "X509v3 Key Usage: critical",
        "Digital Signature",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "prime256v1",
    ] {
        // Newer versions write names without the spaces.
        let found = text.contains(expected) || text.contains(&expected.replace(" = ", "="));
        assert!(found, "no {expected} in {text}");
    }
    assert!(!text.contains("Certificate Sign"), "{text}");
}

#[test]
fn openssl_agrees_on_the_fingerprint() {
    if !have("openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for identity in identities() {
        let files = identity.write(directory.path(), Overwrite::No).unwrap();
        let spki = directory.path().join("spki.der");
        let mut command = Command::new("openssl");
        command.args(["pkey", "-pubout", "-outform", "der", "-in"]);
        run(command.arg(&files.key).arg("-out").arg(&spki));
        let hash = run(Command::new("openssl")
            .args(["dgst", "-sha256", "-r"])
            .arg(&spki));
        assert_eq!(
            format!("sha256:{}", &hash[..64]),
            identity.fingerprint().to_string()
        );
    }
}

/// Two contexts as the Python original makes them, each of which loads the other's certificate as
/// its authority, and the strict checks that Python 3.13 turns on by default.
const PYTHON: &str = r"
import ssl, sys
own, peer = sys.argv[1:3]
PARTIAL = getattr(ssl, 'VERIFY_X509_PARTIAL_CHAIN', 0x80000)
for flags in (0, ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_STRICT | PARTIAL):
    ends = []
    for role, me, other in ((ssl.PROTOCOL_TLS_SERVER, own, peer), (ssl.PROTOCOL_TLS_CLIENT, peer, own)):
        context = ssl.SSLContext(role)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= flags
        context.load_cert_chain(me + '.crt', me + '.key')
        context.load_verify_locations(other + '.crt')
        ends.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ends[0].wrap_bio(up, down, server_side=True)
    client = ends[1].wrap_bio(down, up, server_side=False)
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert server.getpeercert(True) and client.getpeercert(True)
    assert server.version() == client.version() == 'TLSv1.3'
";

#[test]
fn python_takes_a_certificate_as_its_own_authority() {
    if !have("python3") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let all = identities();
    for identity in &all {
        identity.write(directory.path(), Overwrite::No).unwrap();
    }
    let stem = |identity: &GeneratedIdentity| directory.path().join(identity.name());
    for (own, peer) in all.iter().zip(all.iter().cycle().skip(1)) {
        run(Command::new("python3")
            .args(["-c", PYTHON])
            .arg(stem(own))
            .arg(stem(peer)));
    }
}
