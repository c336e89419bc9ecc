//! Connections to Python's `ssl`, as the Python original uses it, and identities that OpenSSL
//! made. Both are taken from the search path; without them the tests say so and pass, but not
//! where the environment variable `CI` is set.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::{End, Node, certificate_pin, security, shake};
use countersign_certs::{Overwrite, fixtures};
use countersign_endpoint::{Identity, Pins, Reason, Security};

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

/// Shakes hands over standard input and output, says hello, and echoes one message.
const PYTHON: &str = r"
import os, ssl, sys
role, own, peer = sys.argv[1:4]
server = role == 'server'
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_REQUIRED
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(own + '.crt', own + '.key')
context.load_verify_locations(peer + '.crt')
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_side=server)

def flush():
    data = outgoing.read()
    while data:
        data = data[os.write(1, data):]

def do(action):
    while True:
        try:
            result = action()
            flush()
            return result
        except ssl.SSLWantReadError:
            flush()
            data = os.read(0, 65536)
            if data:
                incoming.write(data)
            else:
                incoming.write_eof()
        except ssl.SSLError:
            flush()
            raise

do(tls.do_handshake)
do(lambda: tls.write(b'hello'))
message = do(lambda: tls.read(65536))
do(lambda: tls.write(message))
do(tls.unwrap)
";

struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Python {
    fn start(role: &str, directory: &Path, own: &str, peer: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", PYTHON, role])
            .arg(directory.join(own))
            .arg(directory.join(peer))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    /// Carries bytes until `done`, or until Python has ended, which is the end of the transport.
    fn carry(&mut self, end: &mut End, done: impl Fn(&End) -> bool) {
        let mut buffer = vec![0; 65536];
        loop {
            let wire = end.depart();
            if let Some(stdin) = &mut self.stdin {
                // Python may have gone; then reading says so.
                let _ = stdin.write_all(&wire).and_then(|()| stdin.flush());
            }
            if done(end) {
                return;
            }
            let count = self.stdout.read(&mut buffer).unwrap();
            if count == 0 {
                return end.eof();
            }
            end.arrive(&buffer[..count]);
        }
    }

    fn finish(mut self) -> (bool, String) {
        drop(self.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

fn ends(security: &Security) -> [(&'static str, End); 2] {
    [
        ("server", End::connect(security)),
        ("client", End::accept(security)),
    ]
}

#[test]
fn python_and_we_talk_in_either_role() {
    if !have("python3") {
        return;
    }
    for (robot, station) in [
        (fixtures::good("robot"), fixtures::good("station")),
        (
            fixtures::ed25519("robot"),
            fixtures::with_authority_flag("station"),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        for identity in [&robot, &station] {
            identity.write(directory.path(), Overwrite::No).unwrap();
        }
        for (role, mut end) in ends(&security(&robot, certificate_pin(&station))) {
            let mut python = Python::start(role, directory.path(), "station", "robot");
            python.carry(&mut end, |end| end.data == b"hello");
            assert!(end.error.is_none(), "{}", end.message());
            assert_eq!(end.secured, Some(Some(station.fingerprint())));
            end.data.clear();
            end.send(b"a message for the echo");
            python.carry(&mut end, |end| end.ended);
            assert_eq!(end.data, b"a message for the echo");
            end.connection.close();
            python.carry(&mut end, |_| true);
            let (success, said) = python.finish();
            assert!(success, "{said}");
        }
    }
}

#[test]
fn python_and_we_refuse_each_other() {
    if !have("python3") {
        return;
    }
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let stranger = fixtures::good("stranger");
    let directory = tempfile::tempdir().unwrap();
    for identity in [&robot, &station, &stranger] {
        identity.write(directory.path(), Overwrite::No).unwrap();
    }
    let start = |role: &str, peer: &str| Python::start(role, directory.path(), "station", peer);
    // Python trusts another certificate.
    for (role, mut end) in ends(&security(&robot, certificate_pin(&station))) {
        let mut python = start(role, "stranger");
        python.carry(&mut end, |end| end.error.is_some());
        let error = end.error.unwrap();
        let Reason::RefusedByPeer { ours, .. } = error.reason() else {
            panic!("{error:?}")
        };
        assert_eq!(*ours, robot.fingerprint());
        assert!(!python.finish().0);
    }
    // We pin another certificate: Python learns of it by an alert.
    for (role, mut end) in ends(&security(&robot, certificate_pin(&stranger))) {
        let mut python = start(role, "robot");
        python.carry(&mut end, |end| end.error.is_some());
        assert!(matches!(
            end.error.unwrap().reason(),
            Reason::PinMismatch { .. }
        ));
        let (success, said) = python.finish();
        assert!(
            !success && said.to_lowercase().contains("certificate unknown"),
            "{said}"
        );
    }
}

/// What people make by hand: flagged as an authority, in every form of key that OpenSSL writes.
#[test]
fn identities_that_openssl_made() {
    if !have("openssl") {
        return;
    }
    let peer = fixtures::good("peer");
    let directory = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for new_key in [&p256[..], &["-newkey", "rsa:2048"], &["-newkey", "ed25519"]] {
        let mut make = vec![
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=robot",
        ];
        make.extend_from_slice(new_key);
        make.extend_from_slice(&["-keyout", "robot.key", "-out", "robot.crt"]);
        openssl(&make);
        // SEC1 for P-256, PKCS#1 for RSA; Ed25519 knows PKCS#8 only.
        let traditional = !new_key.contains(&"ed25519");
        if traditional {
            openssl(&[
                "pkey",
                "-traditional",
                "-in",
                "robot.key",
                "-out",
                "old.key",
            ]);
        }
        let certificate = directory.path().join("robot.crt");
        for key in ["robot.key", "old.key"]
            .into_iter()
            .take(1 + usize::from(traditional))
        {
            let identity =
                Identity::from_pem_files(&certificate, directory.path().join(key)).unwrap();
            let pins = Pins::from_files([&certificate]).unwrap();
            let ours = Security::tls(identity, peer.fingerprint())
                .alpn::<&str>([])
                .build()
                .unwrap();
            for (left, right) in [
                shake(&ours, &security(&peer, pins.clone()), usize::MAX),
                shake(&security(&peer, pins.clone()), &ours, 1),
            ] {
                assert!(
                    left.error.is_none() && right.error.is_none(),
                    "{}",
                    left.message()
                );
            }
        }
        let locked = ["pkey", "-aes256", "-passout", "pass:x", "-in", "robot.key"];
        for form in [&[][..], &["-traditional"]]
            .into_iter()
            .take(1 + usize::from(traditional))
        {
            openssl(&[&locked[..], form, &["-out", "locked.key"]].concat());
            let locked = directory.path().join("locked.key");
            let error = Identity::from_pem_files(&certificate, locked).unwrap_err();
            assert!(error.to_string().contains("encrypted"), "{error}");
        }
    }
}

/// A pinned key in a certificate that TLS 1.3 does not take is no stranger's, and no damaged one.
#[test]
fn a_peer_with_a_certificate_of_version_1_is_told_what_is_wrong() {
    if !have("openssl") || !have("python3") {
        return;
    }
    let robot = fixtures::good("robot");
    let directory = tempfile::tempdir().unwrap();
    robot.write(directory.path(), Overwrite::No).unwrap();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(directory.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    openssl("req -x509 -nodes -subj /CN=station -newkey rsa:2048 -keyout station.key -out new.crt");
    openssl("req -new -subj /CN=station -key station.key -out station.csr");
    openssl("x509 -req -in station.csr -signkey station.key -out station.crt");
    let pin = Pins::from_files([directory.path().join("new.crt")]).unwrap();
    let pin = pin.fingerprints().next().unwrap();
    for (role, mut end) in ends(&security(&robot, pin)) {
        let mut python = Python::start(role, directory.path(), "station", "robot");
        python.carry(&mut end, |end| end.error.is_some());
        let error = end.error.unwrap();
        let is_unusable = matches!(error.reason(), Reason::PeerCertificateUnusable { .. });
        assert!(is_unusable, "{error}");
        assert!(error.to_string().contains("version 1 of X.509"), "{error}");
        assert!(!python.finish().0);
    }
}
