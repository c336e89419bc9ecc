//! Secure streams with Python's ssl module and with OpenSSL's programs at the other end. Where they
//! are missing the tests say so and are skipped, but not where `CI` is set.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use countersign_core::Role;
use countersign_tests::on_std::Std;
use countersign_tests::on_tokio::Tokio;
use countersign_tests::pair::{IDENTITIES, loopback, payload};
use countersign_tests::python::{folder, have};
use countersign_tests::secure::{Backend, Made, Pair};
use countersign_tests::{Transport, watch};
use tempfile::TempDir;

const BACKENDS: [&dyn Backend; 2] = [&Tokio, &Std];

/// How many bytes `secure_peer.py` expects after its line.
const BULK: usize = 200_000;

/// Another program, with files of the identity of end `own` and of its peer's certificate.
struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    _files: TempDir,
}

impl Program {
    /// Starts what `command` makes of the paths of its certificate, its key, and its peer's
    /// certificate.
    fn start(own: usize, command: impl FnOnce(&Path, &Path, &Path) -> Command) -> Self {
        let files = TempDir::new().unwrap();
        let file = |name: &str, content: &str| -> PathBuf {
            let path = files.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let certificate = file("own.crt", IDENTITIES[own].certificate_pem());
        let key = file("own.key", IDENTITIES[own].key_pem());
        let peer = file("peer.crt", IDENTITIES[1 - own].certificate_pem());
        let mut child = command(&certificate, &key, &peer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            _files: files,
        }
    }

    /// Reads lines until one begins with `start`: the rest of it.
    fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        let mut complaint = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaint)
            .unwrap();
        panic!("no line with {start}: {complaint}");
    }

    /// Where the program listens. It prints either the port alone or the whole address.
    fn address(&mut self, start: &str) -> SocketAddr {
        let said = self.line(start);
        let port = said.rsplit(':').next().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    fn assert_content(mut self) {
        drop(self.stdin.take());
        let mut complaint = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaint)
            .unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {complaint}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only after a failure does it still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(own: usize, arguments: &[&str]) -> Program {
    Program::start(own, |certificate, key, peer| {
        let mut command = Command::new("python3");
        command.arg(folder().join("secure_peer.py")).args(arguments);
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
        command.arg("--peer").arg(peer);
        command
    })
}

fn openssl(own: usize, arguments: &[&str]) -> Program {
    Program::start(own, |certificate, key, peer| {
        let mut command = Command::new("openssl");
        command
            .args(arguments)
            .args(["-tls1_3", "-verify_return_error", "-cert"]);
        command
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .arg("-CAfile")
            .arg(peer);
        command
    })
}

/// Our end, which is the opener or the acceptor.
fn secured(backend: &dyn Backend, socket: TcpStream, role: Role) -> Made {
    let pair = Pair {
        client: &Std,
        server: &Std,
        transport: Transport::Tls,
    };
    let [client, server] = pair.setups();
    let setup = if role == Role::Opener { client } else { server };
    let stream = backend.over(socket, role, &setup, &[]).unwrap();
    let peer = &IDENTITIES[usize::from(role == Role::Opener)];
    assert_eq!(stream.peer(), Some(peer.fingerprint()));
    stream
}

/// What `secure_peer.py` expects of us, up to the end of our direction.
fn talk(stream: &mut Made) {
    stream.write_all(b"hello\n").unwrap();
    stream.flush().unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "HELLO\n");
    let bulk = payload(BULK, 1);
    stream.write_all(&bulk).unwrap();
    stream.flush().unwrap();
    let mut back = vec![0; BULK];
    stream.read_exact(&mut back).unwrap();
    assert!(back.iter().rev().eq(&bulk), "not what was sent, in reverse");
    stream.write_all(b"until\0the rest").unwrap();
    stream.flush().unwrap();
}

fn assert_asyncio(stream: &mut Made, mut peer: Program) {
    talk(stream);
    stream.close().unwrap();
    assert_eq!(peer.line("GOT"), "6 8");
    peer.assert_content();
}

#[test]
fn asyncio_connects() {
    if !have("python3", "--version") {
        return;
    }
    for backend in BACKENDS {
        watch(move || {
            let listener = TcpListener::bind(loopback()).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let peer = python(0, &["--connect", &address]);
            let mut stream = secured(backend, listener.accept().unwrap().0, Role::Acceptor);
            assert_asyncio(&mut stream, peer);
        });
    }
}

#[test]
fn asyncio_listens() {
    if !have("python3", "--version") {
        return;
    }
    for backend in BACKENDS {
        watch(move || {
            let mut peer = python(1, &["--listen", "127.0.0.1:0"]);
            let socket = TcpStream::connect(peer.address("LISTENING")).unwrap();
            let mut stream = secured(backend, socket, Role::Opener);
            assert_asyncio(&mut stream, peer);
        });
    }
}

/// Python's blocking sockets go on sending after our direction has ended.
fn assert_half_closed(stream: &mut Made, mut peer: Program) {
    talk(stream);
    stream.shutdown().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"one more word");
    stream.close().unwrap();
    assert_eq!(peer.line("GOT"), "6 8");
    peer.assert_content();
}

#[test]
fn python_secures_an_open_connection() {
    if !have("python3", "--version") {
        return;
    }
    for backend in BACKENDS {
        watch(move || {
            let mut peer = python(1, &["--upgrade", "--listen", "127.0.0.1:0"]);
            let mut socket = TcpStream::connect(peer.address("LISTENING")).unwrap();
            socket.write_all(b"secured?\n").unwrap();
            let mut answer = [0; 3];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"go\n");
            let mut stream = secured(backend, socket, Role::Opener);
            assert_half_closed(&mut stream, peer);

            let listener = TcpListener::bind(loopback()).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let peer = python(0, &["--upgrade", "--connect", &address]);
            let mut socket = listener.accept().unwrap().0;
            let mut question = [0; 9];
            socket.read_exact(&mut question).unwrap();
            assert_eq!(&question, b"secured?\n");
            socket.write_all(b"go\n").unwrap();
            let mut stream = secured(backend, socket, Role::Acceptor);
            assert_half_closed(&mut stream, peer);
        });
    }
}

#[test]
fn openssl_listens() {
    if !have("openssl", "version") {
        return;
    }
    for backend in BACKENDS {
        watch(move || {
            let arguments = ["s_server", "-accept", "127.0.0.1:0", "-Verify", "1", "-rev"];
            let mut peer = openssl(1, &arguments);
            let socket = TcpStream::connect(peer.address("ACCEPT")).unwrap();
            let mut stream = secured(backend, socket, Role::Opener);
            for (said, answer) in [("hello\n", "olleh\n"), ("again\n", "niaga\n")] {
                stream.write_all(said.as_bytes()).unwrap();
                stream.flush().unwrap();
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                assert_eq!(line, answer);
            }
            stream.close().unwrap();
        });
    }
}

#[test]
fn openssl_connects() {
    if !have("openssl", "version") {
        return;
    }
    for backend in BACKENDS {
        watch(move || {
            let listener = TcpListener::bind(loopback()).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut peer = openssl(0, &["s_client", "-quiet", "-connect", &address]);
            let mut stream = secured(backend, listener.accept().unwrap().0, Role::Acceptor);
            peer.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert_eq!(line, "hello\n");
            stream.write_all(b"and good day\n").unwrap();
            stream.flush().unwrap();
            assert_eq!(peer.line("and"), "good day");
            stream.close().unwrap();
            peer.assert_content();
        });
    }
}
