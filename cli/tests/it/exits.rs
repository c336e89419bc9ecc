//! Exit code 0 means that all is well, at both ends: what happens to either, and what both say.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::{Read, Write};
use std::thread;

use crate::common::{self, Finished, Identities, Running, pipe, run};
use crate::size::leaves_out;

/// What happens to the sender once its first message was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Its input goes on and ends.
    Done,
    /// Its input ends inside a message.
    InputFails,
    /// Its next message is larger than it may send.
    TooLarge,
    /// Its next message is larger than the receiver takes.
    TooLargeForReceiver,
    Signal(&'static str, i32),
    Killed,
}

/// What happens to the receiver then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// Nothing.
    Fine,
    /// Nobody reads its output any more.
    OutputGone,
    Signal(&'static str, i32),
    Killed,
}

const SENDERS: [Sender; 7] = [
    Sender::Done,
    Sender::InputFails,
    Sender::TooLarge,
    Sender::TooLargeForReceiver,
    Sender::Signal("INT", 130),
    Sender::Signal("TERM", 143),
    Sender::Killed,
];

const RECEIVERS: [Receiver; 5] = [
    Receiver::Fine,
    Receiver::OutputGone,
    Receiver::Signal("INT", 130),
    Receiver::Signal("TERM", 143),
    Receiver::Killed,
];

/// Messages in the stream of `--split length`.
fn message(length: u32) -> Vec<u8> {
    let mut framed = length.to_be_bytes().to_vec();
    framed.resize(4 + length as usize, b'x');
    framed
}

/// Both ends, of which one has met with something.
fn ends(
    identities: &Identities,
    listening: &'static str,
    dialect: &str,
    (at_sender, at_receiver): (Sender, Receiver),
) -> (Finished, Finished) {
    // Nobody waits for a peer that was killed.
    let common = ["--dialect", dialect, "--split", "length"];
    let flags = |end: &str, way: [&'static str; 2]| {
        let most = if end == "send" { "1000" } else { "500" };
        let mut flags = common.to_vec();
        flags.extend(way);
        flags.extend(["--max-message", most]);
        flags.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let connecting = if listening == "recv" { "send" } else { "recv" };
    let as_strings = flags(listening, ["--retain", "0"]);
    let as_strs: Vec<&str> = as_strings.iter().map(String::as_str).collect();
    let listener = identities.listen(listening, &as_strs);
    let as_strings = flags(connecting, ["--retry", "never"]);
    let as_strs: Vec<&str> = as_strings.iter().map(String::as_str).collect();
    let opener = identities.connect(&listener, connecting, &as_strs);
    let (mut sender, mut receiver) = match listening {
        "recv" => (opener, listener),
        _ => (listener, opener),
    };
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    input.write_all(&message(3)).unwrap();
    output.read_exact(&mut [0; 7]).unwrap();

    match at_receiver {
        Receiver::Fine => receiver.give_back(output),
        Receiver::OutputGone => drop(output),
        Receiver::Signal(signal, _) => {
            receiver.signal(signal);
            receiver.give_back(output);
            if at_sender == Sender::Done {
                // What comes in time is well.
                receiver.child.wait().unwrap();
            }
        }
        Receiver::Killed => receiver.kill(),
    }
    // It may be gone already, and its input with it.
    let _ = match at_sender {
        Sender::Done => input.write_all(&message(5)),
        Sender::InputFails => input.write_all(&message(5)[..6]),
        Sender::TooLarge => input.write_all(&message(1001)),
        Sender::TooLargeForReceiver => input.write_all(&message(501)),
        Sender::Signal(signal, _) => {
            sender.signal(signal);
            Ok(())
        }
        Sender::Killed => {
            sender.kill();
            Ok(())
        }
    };
    if matches!(at_sender, Sender::Signal(..)) {
        // Its input is still open when it ends.
        let sent = sender.finish();
        drop(input);
        return (sent, receiver.finish());
    }
    drop(input);
    (sender.finish(), receiver.finish())
}

/// Nothing but a stream that is whole ends with 0, and that at both ends.
fn matrix(dialect: &str, listening: &'static str) {
    let identities = Identities::new();
    for at_sender in SENDERS {
        for at_receiver in RECEIVERS {
            let events = (at_sender, at_receiver);
            if dialect == "tlsstream" && at_sender == Sender::TooLargeForReceiver {
                // There is no handshake in which the sender could hear of it: see below.
                continue;
            }
            let (sent, received) = ends(&identities, listening, dialect, events);
            let context = format!(
                "{events:?} {listening}:\nsender {:?}\n{}receiver {:?}\n{}",
                sent.code, sent.stderr, received.code, received.stderr
            );
            if events == (Sender::Done, Receiver::Fine) {
                assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{context}");
                continue;
            }
            assert!(!matches!(received.code, Some(0 | 101)), "{context}");
            if dialect == "tlsstream" && at_sender == Sender::Done {
                // What has arrived is confirmed, and so may be all that there was to send.
                assert_ne!(sent.code, Some(101), "{context}");
                continue;
            }
            assert!(!matches!(sent.code, Some(0 | 101)), "{context}");
            // Where something happens to one alone, it ends with its own code and the other with 1.
            if at_receiver == Receiver::Fine {
                let own = match at_sender {
                    Sender::Signal(_, code) => Some(code),
                    Sender::Killed => None,
                    _ => Some(1),
                };
                assert_eq!((sent.code, received.code), (own, Some(1)), "{context}");
            }
            if at_sender == Sender::Done {
                let own = match at_receiver {
                    Receiver::Signal(_, code) => Some(code),
                    Receiver::Killed => None,
                    _ => Some(1),
                };
                assert_eq!((sent.code, received.code), (Some(1), own), "{context}");
            }
        }
    }
}

#[test]
fn in_countersign_with_a_receiver_that_listens() {
    matrix("countersign", "recv");
}

#[test]
fn in_countersign_with_a_sender_that_listens() {
    matrix("countersign", "send");
}

#[test]
fn in_tlsstream_with_a_receiver_that_listens() {
    matrix("tlsstream", "recv");
}

#[test]
fn in_tlsstream_with_a_sender_that_listens() {
    matrix("tlsstream", "send");
}

/// A receiver that refuses a message ends the connection, and both ends say so.
#[test]
fn a_message_that_a_tlsstream_receiver_does_not_take() {
    let identities = Identities::new();
    let events = (Sender::TooLargeForReceiver, Receiver::Fine);
    let (sent, received) = ends(&identities, "recv", "tlsstream", events);
    sent.expect(1, "sent 2 messages, ");
    received.expect(
        1,
        "the peer has sent a message of 501 bytes where 500 are allowed; raise --max-message\n",
    );
}

/// A sender and a receiver without TLS between which a message has passed, and the two ends of their
/// streams, which stay open as long as they are kept.
fn in_plain_text(dialect: &str) -> (Running, Running, impl Sized) {
    let flags = ["--plaintext", "--dialect", dialect].map(str::to_owned);
    let mut receiver = Running::start(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[]));
    let address = receiver.address.clone().unwrap();
    let mut sender = Running::start(pipe("send", ["--connect", &address], &flags, &[]));
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    input.write_all(b"one").unwrap();
    output.read_exact(&mut [0; 3]).unwrap();
    (sender, receiver, (input, output))
}

/// The tlsstream dialect in plain text has one sign for a stream that is broken off: a message that
/// is not whole.
#[test]
fn a_signal_in_plain_text() {
    for stopped in ["send", "recv"] {
        let (sender, receiver, streams) = in_plain_text("tlsstream");
        let (own, other) = match stopped {
            "send" => {
                sender.signal("INT");
                (sender.finish(), receiver.finish())
            }
            _ => {
                receiver.signal("INT");
                (receiver.finish(), sender.finish())
            }
        };
        own.expect(130, "error: broken off by SIGINT\n");
        other.expect(1, "error: ");
        drop(streams);
    }
}

/// Two ends that speak different dialects: none says 0, whichever listens and whichever sends.
#[test]
fn another_dialect() {
    const TLSSTREAM: &[&str] = &["--dialect", "tlsstream", "--retain", "0"];
    let identities = Identities::new();
    for (listening, connecting) in [("recv", "send"), ("send", "recv")] {
        // The one that listens gets no HELLO, and ends with its connection.
        let listener = identities.listen(listening, TLSSTREAM);
        let opener = identities.connect(&listener, connecting, &["--retry", "never"]);
        opener.finish().expect(3, "both ends use the same dialect");
        // With TLS nothing has come by which it could tell.
        let words = "; the tlsstream dialect has no words for why; see what the other end says\n";
        listener.finish().expect(1, words);

        // The one that listens goes on listening for one that fits.
        let mut listener = identities.listen(listening, &[]);
        let flags = ["--dialect", "tlsstream", "--retry", "never"];
        let mut opener = identities.connect(&listener, connecting, &flags);
        if connecting == "send" {
            opener.feed(b"one");
        }
        opener.finish().expect(1, words);
        listener.wait_for_log("both ends use the same dialect", 1);
        listener.kill();
        listener.finish();
    }
}

/// The same without TLS, which is what would tell the two apart at once.
#[test]
fn another_dialect_in_plain_text() {
    // Side by side, since each waits.
    thread::scope(|scope| {
        scope.spawn(|| dialects_differ("recv", "send"));
        scope.spawn(|| dialects_differ("send", "recv"));
    });
}

fn dialects_differ(listening: &str, connecting: &str) {
    let flags = ["--plaintext".to_owned()];
    let tlsstream = ["--plaintext", "--dialect", "tlsstream"].map(str::to_owned);
    let start =
        |end, place, flags: &[String], more: &[&str]| Running::start(pipe(end, place, flags, more));
    let listener = start(listening, ["--listen", "127.0.0.1:0"], &tlsstream, &[]);
    let address = listener.address.clone().unwrap();
    let more = ["--connect", &address, "--retry", "never"];
    let opener = run(pipe(connecting, [more[0], more[1]], &flags, &more[2..]));
    opener.expect(
        1,
        "both ends must agree on TLS or plain text and on the dialect",
    );
    let told = listener.finish();
    told.expect(1, "the peer broke the protocol");
    told.expect(1, "; check that both ends use the same --dialect\n");

    // It waits for a HELLO for as long as a handshake may take.
    if leaves_out("a listener in plain text that hears another dialect") {
        return;
    }
    let mut listener = start(listening, ["--listen", "127.0.0.1:0"], &flags, &[]);
    let address = listener.address.clone().unwrap();
    let place = ["--connect", &address];
    let mut opener = start(connecting, place, &tlsstream, &["--retry", "never"]);
    if connecting == "send" {
        opener.feed(b"one");
    }
    opener.finish().expect(1, "; see what the other end says\n");
    let words = "both must agree on TLS or plain text and on the dialect";
    listener.wait_for_log(words, 1);
    listener.kill();
    listener.finish();
}

/// What has nothing to do with the other end's dialect is not put down to it.
#[test]
fn known_causes_in_the_tlsstream_dialect() {
    let identities = Identities::new();
    let flags = ["--dialect", "tlsstream", "--split", "length"];
    let is_told = |finished: &Finished, words: &str| {
        finished.expect(1, words);
        let about = finished.stderr.contains("same --dialect");
        assert!(!about, "{}", finished.stderr);
    };
    #[cfg(unix)]
    {
        let robot = identities.flags("robot", "operator");
        let full = pipe("recv", ["--listen", "127.0.0.1:0"], &robot, &flags);
        let receiver = Running::spawn(common::shell("exec \"$@\" > /dev/full", full));
        let mut sender = identities.connect(&receiver, "send", &flags);
        let mut input = sender.stdin();
        input.write_all(b"\0\0\0\x03one").unwrap();
        is_told(
            &receiver.finish(),
            "No space left on device (os error 28)\n",
        );
        is_told(&sender.finish(), "the input had not ended: ");
        drop(input);
    }
    // A third end.
    let listener = identities.listen("recv", &[&flags[..], &["-v"]].concat());
    let mut first = identities.connect(&listener, "send", &flags);
    let input = first.stdin();
    listener.wait_for_log("connected with", 1);
    let mut third = identities.connect(&listener, "send", &flags);
    let others = third.stdin();
    is_told(&third.finish(), "; see what the other end says\n");
    drop(others);
    listener.wait_for_log("away: this pipe has its peer already", 1);
    drop(input);
    first.finish().expect(0, "");
    listener.finish().expect(0, "");
    // A message that the dialect can't carry, and the first at that.
    let receiver = identities.listen("recv", &flags);
    let mut sender = identities.connect(&receiver, "send", &flags);
    sender.feed(b"\0\0\0\0");
    sender.finish().expect(1, "message 1 is empty");
    is_told(&receiver.finish(), "; see what the other end says\n");
}

/// Where there are no files to read again, SIGHUP breaks off in order: without TLS and a handshake the
/// peer would take the end of the connection for that of the stream.
#[cfg(unix)]
#[test]
fn a_hangup_without_files_breaks_off() {
    for dialect in ["countersign", "tlsstream"] {
        let (sender, receiver, streams) = in_plain_text(dialect);
        sender.signal("HUP");
        sender.finish().expect(129, "error: broken off by SIGHUP\n");
        receiver
            .finish()
            .expect(1, "the peer may have had more to send: ");
        drop(streams);
    }
}

/// What `nohup` has started goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let flags = ["--plaintext".to_owned()];
    let listening = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[]);
    let mut command = common::shell("trap '' HUP; exec \"$@\"", listening);
    command.stdout(std::process::Stdio::piped());
    let receiver = Running::spawn(command);
    receiver.signal("HUP");
    let address = receiver.address.clone().unwrap();
    let mut sender = Running::start(pipe("send", ["--connect", &address], &flags, &[]));
    sender.feed(b"one");
    sender.finish().expect(0, "1 handled");
    receiver.finish().expect(0, "received 1 message");
}
