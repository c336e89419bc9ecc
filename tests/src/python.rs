//! Runs the Python peer of the `tlsstream` dialect, in `tests/python`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::Transport;
use crate::pair::IDENTITIES;

/// Returns whether a program is installed. If it is not, the test says so and is skipped; in CI,
/// where the output of tests is not read, that is a failure.
#[must_use]
pub fn have(program: &str, argument: &str) -> bool {
    let run = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let missing = match run {
        Ok(status) if status.success() => return true,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "`{program} {argument}` is needed in CI: {missing}"
    );
    println!("skipped: `{program} {argument}` does not run: {missing}");
    false
}

/// Returns the folder of the Python programs.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// A running Python peer.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    folder: TempDir,
}

/// The results of a Python peer.
#[derive(Debug)]
pub struct Outcome {
    /// How it exited.
    pub status: ExitStatus,
    /// Its last line for programs, `CONFIRMED n` or `RECEIVED n`.
    pub said: String,
    /// What it complained of.
    pub complaint: String,
    /// The messages that it received.
    pub received: Vec<Vec<u8>>,
}

/// The task of a Python peer.
#[derive(Clone, Copy, Debug)]
pub enum Job<'a> {
    /// Sends these.
    Send(&'a [Vec<u8>]),
    /// Receives, with these further arguments.
    Receive(&'a [&'a str]),
}

impl Peer {
    /// Starts a peer that connects. Its identity is the opener's of [`IDENTITIES`].
    #[must_use]
    pub fn connecting(transport: Transport, to: SocketAddr, job: Job<'_>) -> Self {
        Self::start(transport, &["--connect", &to.to_string()], 0, job)
    }

    /// Starts a peer that listens. Returns its address too. Its identity is the acceptor's of
    /// [`IDENTITIES`].
    #[must_use]
    pub fn listening(transport: Transport, job: Job<'_>) -> (Self, SocketAddr) {
        let mut peer = Self::start(transport, &["--listen", "127.0.0.1:0"], 1, job);
        let mut line = String::new();
        peer.stdout.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("LISTENING ").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        (peer, address)
    }

    fn start(transport: Transport, end: &[&str], own: usize, job: Job<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let mut command = Command::new("python3");
        command.arg(self::folder().join("tlsstream_peer.py"));
        match job {
            Job::Send(messages) => {
                let messages = file("messages", &encode(messages));
                command.args(["send", "--messages"]).arg(messages);
            }
            Job::Receive(arguments) => {
                let out = folder.path().join("received");
                command.args(["recv", "--out"]).arg(out).args(arguments);
            }
        }
        command.args(end);
        if transport == Transport::Tls {
            let (own, peer) = (&IDENTITIES[own], &IDENTITIES[1 - own]);
            for (option, name, pem) in [
                ("--key", "own.key", own.key_pem()),
                ("--cert", "own.crt", own.certificate_pem()),
                ("--peer", "peer.crt", peer.certificate_pem()),
            ] {
                command.arg(option).arg(file(name, pem.as_bytes()));
            }
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdout,
            folder,
        }
    }

    /// Waits until it has ended.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        let mut complaint = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut complaint).unwrap();
        let status = self.child.wait().unwrap();
        let received = fs::read(self.folder.path().join("received")).unwrap_or_default();
        Outcome {
            status,
            said: said.trim().to_owned(),
            complaint,
            received: decode(&received),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Only after a failure does it still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encode(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&(message.len() as u64).to_be_bytes());
        bytes.extend_from_slice(message);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap();
        messages.push(rest[..length].to_vec());
        bytes = &rest[length..];
    }
    messages
}
