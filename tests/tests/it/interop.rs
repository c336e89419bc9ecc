//! Against the Python peer of the `tlsstream` dialect, which has its TLS from OpenSSL and checks
//! certificates to the letter.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::process::Command;

use countersign_core::{
    Bytes, ChannelConfig, CloseMode, Config, Dialect, EndReason, PeerMisbehaved, ReceiveChannel,
    SendChannel, Verdict,
};
use countersign_tests::backend::{Backend, Link};
use countersign_tests::on_std::Std;
use countersign_tests::on_tokio::Tokio;
use countersign_tests::pair::payload;
use countersign_tests::python::{self, Job, Outcome, Peer};
use countersign_tests::size::leaves_out;
use countersign_tests::{Pair, Transport, watch};

/// A message that fits into one TLS record together with its length.
const ONE_RECORD: usize = 16_384 - "16378!".len();

fn messages() -> Vec<Vec<u8>> {
    let lengths = [1, ONE_RECORD, 64 * 1024, 1 << 20, 2];
    lengths.map(|length| payload(length, length)).into()
}

fn declare(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel).dialect(Dialect::TlsStream)
}

fn send() -> Config {
    declare(SendChannel::new("data"))
}

fn receive() -> Config {
    declare(ReceiveChannel::new("data"))
}

/// Which end connects.
#[derive(Clone, Copy)]
enum Opener {
    Python,
    Ours,
}

/// Starts a Python peer and links with it.
fn meet(pair: &Pair, opener: Opener, config: Config, job: Job<'_>) -> (Box<dyn Link>, Peer) {
    match opener {
        Opener::Python => {
            let listener = pair.listen(config);
            let peer = Peer::connecting(pair.transport, listener.address(), job);
            (listener.accept().unwrap(), peer)
        }
        Opener::Ours => {
            let (peer, address) = Peer::listening(pair.transport, job);
            (pair.connect(address, config).unwrap(), peer)
        }
    }
}

fn assert_content(outcome: &Outcome, said: &str) {
    assert!(outcome.status.success(), "{}", outcome.complaint);
    assert_eq!(outcome.said, said);
}

fn python_sends(pair: &Pair, opener: Opener) {
    let messages = messages();
    let (link, peer) = meet(pair, opener, receive(), Job::Send(&messages));
    let got = link.receiver("data").unwrap().take_all();
    assert!(got == messages, "what was sent is not what came");
    let report = link.ended();
    assert!(report.is_orderly(), "{report}");
    assert_content(&peer.wait(), "CONFIRMED 5");
}

fn python_receives(pair: &Pair, opener: Opener) {
    let (link, peer) = meet(pair, opener, send(), Job::Receive(&[]));
    let sender = link.sender("data").unwrap();
    let receipts: Vec<_> = messages()
        .into_iter()
        .map(|message| sender.give(message))
        .collect();
    for receipt in receipts {
        assert!(receipt.wait().is_handled());
    }
    let report = link.close(CloseMode::Drain);
    assert!(report.is_orderly(), "{report}");
    let outcome = peer.wait();
    assert_content(&outcome, "RECEIVED 5");
    assert!(
        outcome.received == messages(),
        "what was sent is not what came"
    );
}

fn wrong_confirmation(pair: &Pair, opener: Opener) {
    let (link, peer) = meet(pair, opener, send(), Job::Receive(&["--confirm", "NO!"]));
    let verdict = link.sender("data").unwrap().deliver("message");
    assert_eq!(verdict, Verdict::Unknown);
    let reason = link.ended().end.unwrap();
    let wrong = EndReason::Peer(PeerMisbehaved::StreamConfirmation);
    assert_eq!(*reason.reason(), wrong);
    let _ = peer.wait();
}

fn leaves_midway(pair: &Pair, opener: Opener) {
    let (link, peer) = meet(pair, opener, send(), Job::Receive(&["--drop-after", "2"]));
    let sender = link.sender("data").unwrap();
    // All at once, since the peer may leave before a third call.
    let mut three = ["message"; 3].map(Bytes::from).into();
    let verdicts = sender.send_batch(&mut three).unwrap().wait();
    assert_eq!(verdicts.to_string(), "1 handled, 1 withdrawn, 1 unknown");
    let reason = link.ended().end.unwrap();
    assert!(matches!(reason.reason(), EndReason::Lost(_)), "{reason}");
    assert_content(&peer.wait(), "RECEIVED 2");
}

/// The original takes what one read gives for the whole payload. A message that fits into one TLS
/// record with its length arrives whole all the same. [STREAM-13]
fn original_read(pair: &Pair, opener: Opener) {
    let (link, peer) = meet(pair, opener, send(), Job::Receive(&["--original-read"]));
    let sender = link.sender("data").unwrap();
    let lengths = [1, 100, ONE_RECORD, 2, ONE_RECORD, ONE_RECORD - 1];
    for length in lengths {
        assert!(sender.deliver(payload(length, 0)).is_handled());
    }
    assert!(link.close(CloseMode::Drain).is_orderly());
    let outcome = peer.wait();
    assert_content(&outcome, "RECEIVED 6");
    let got: Vec<_> = outcome.received.iter().map(Vec::len).collect();
    assert_eq!(got, lengths);
}

fn run(backend: &'static dyn Backend, transport: Transport, scenario: fn(&Pair, Opener)) {
    if !python::have("python3", "--version") {
        return;
    }
    watch(move || {
        let pair = Pair {
            client: backend,
            server: backend,
            transport,
        };
        scenario(&pair, Opener::Python);
        scenario(&pair, Opener::Ours);
    });
}

macro_rules! interop {
    ($($name:ident: $backend:expr, $transport:expr, { $($scenario:ident,)* })*) => {
        $(
            mod $name {
                use super::{Std, Tokio, Transport};
                $(
                    #[test]
                    fn $scenario() {
                        // Each backend is named in one of the modules only.
                        let _ = (Std, Tokio);
                        super::run(&$backend, $transport, super::$scenario);
                    }
                )*
            }
        )*
    };
}

interop! {
    std_in_plain: Std, Transport::Plain,
        { python_sends, python_receives, wrong_confirmation, leaves_midway, }
    std_with_tls: Std, Transport::Tls,
        { python_sends, python_receives, wrong_confirmation, leaves_midway, original_read, }
    tokio_in_plain: Tokio, Transport::Plain,
        { python_sends, python_receives, wrong_confirmation, leaves_midway, }
    tokio_with_tls: Tokio, Transport::Tls,
        { python_sends, python_receives, wrong_confirmation, leaves_midway, original_read, }
}

/// The Python peer's own tests.
#[test]
fn the_python_peers_own_tests() {
    if leaves_out("the Python peer's own tests")
        || !python::have("python3", "--version")
        || !python::have("openssl", "version")
    {
        return;
    }
    let output = Command::new("python3")
        .args(["-m", "unittest", "discover"])
        .current_dir(python::folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
