//! `countersign pipe` when connections are lost, peers come back, and others come.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use crate::common::{Identities, Running, pipe};
use crate::size::leaves_out;
use countersign_cli::proxy::Proxy;

fn address(listener: &Running) -> SocketAddr {
    let address = listener.address.as_deref().unwrap();
    address.parse().unwrap()
}

fn proxy(listener: &Running) -> Proxy {
    Proxy::to(address(listener)).unwrap()
}

/// An operator's pipe that connects through a proxy.
fn through(
    identities: &Identities,
    proxy: &Proxy,
    direction: &'static str,
    more: &[&str],
) -> Running {
    let flags = identities.flags("operator", "robot");
    let address = proxy.address().to_string();
    Running::start(pipe(direction, ["--connect", &address], &flags, more))
}

/// A listening pipe, one that connects to it through a proxy, and which of the two sends.
fn both(
    identities: &Identities,
    listening: &'static str,
    more: &[&str],
) -> (Running, Proxy, Running) {
    let listener = identities.listen(listening, more);
    let proxy = proxy(&listener);
    let connecting = match listening {
        "send" => "recv",
        _ => "send",
    };
    let opener = through(identities, &proxy, connecting, more);
    (listener, proxy, opener)
}

/// A stream of lines, each another.
fn lines(block: usize) -> String {
    let mut text = String::new();
    for number in 0..2000 {
        writeln!(text, "{block}.{number} {}", "x".repeat(90)).unwrap();
    }
    text
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    let total = if leaves_out("more than two cuts of each end") {
        2
    } else {
        6
    };
    let identities = Identities::new();
    for listening in ["recv", "send"] {
        let (listener, proxy, opener) = both(&identities, listening, &["--split", "lines"]);
        let (mut sender, mut receiver) = match listening {
            "send" => (listener, opener),
            _ => (opener, listener),
        };
        receiver.collect();
        let mut input = sender.stdin();
        let mut stream = String::new();
        let mut cuts = 0;
        for block in 0..total {
            let block = lines(block);
            // What comes next is cut, be it a message, or a handshake after the cut before.
            proxy.cut_next();
            input.write_all(block.as_bytes()).unwrap();
            cuts += 1;
            proxy.wait_for_cuts(cuts);
            stream.push_str(&block);
        }
        drop(input);
        let (sent, received) = (sender.finish(), receiver.finish());
        let count = total * 2000;
        sent.expect(0, &format!("sent {count} messages, "));
        sent.expect(0, &format!(": {count} handled\n"));
        received.expect(0, &format!("received {count} messages, "));
        assert!(
            received.stdout == stream.as_bytes(),
            "the stream was changed"
        );
        let (opener, acceptor) = match listening {
            "send" => (received.stderr, sent.stderr),
            _ => (sent.stderr, received.stderr),
        };
        assert!(opener.contains("; connecting again\n"), "{opener}");
        assert!(
            acceptor.contains("; waiting for the peer to return\n"),
            "{acceptor}"
        );
        for log in [opener, acceptor] {
            assert!(log.contains("warning: connected again"), "{log}");
        }
    }
}

#[test]
fn long_messages_survive_cuts_in_their_middle() {
    let identities = Identities::new();
    let (mut receiver, proxy, mut sender) = both(&identities, "recv", &["--split", "length"]);
    receiver.collect();
    let mut input = sender.stdin();
    let mut stream = Vec::new();
    for cut in 1..=5_u32 {
        let message: Vec<u8> = (0..2_000_000_u32)
            .map(|at| (at.wrapping_mul(at + cut) >> 7) as u8)
            .collect();
        let start = stream.len();
        stream.extend(2_000_000_u32.to_be_bytes());
        stream.extend(message);
        proxy.cut_next();
        input.write_all(&stream[start..]).unwrap();
        proxy.wait_for_cuts(cut.into());
    }
    drop(input);
    let sent = sender.finish();
    sent.expect(0, "sent 5 messages, 10000000 bytes: 5 handled");
    let received = receiver.finish();
    received.expect(0, "received 5 messages, 10000000 bytes");
    assert!(received.stdout == stream, "the messages were changed");
}

#[test]
fn the_first_connection_is_waited_for() {
    let identities = Identities::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let flags = identities.flags("operator", "robot");
    let mut sender = Running::start(pipe("send", ["--connect", &address], &flags, &[]));
    sender.feed(b"one\n");
    sender.wait_for_log(&format!("warning: no connection: {address}: "), 1);
    let flags = identities.flags("robot", "operator");
    let receiver = Running::start(pipe("recv", ["--listen", &address], &flags, &[]));
    sender.finish().expect(0, "1 handled");
    receiver.finish().expect(0, "received 1 message");
}

/// Sends one line and waits for it at the other end.
fn pass(input: &mut impl Write, output: &mut impl Read, line: &str) {
    input.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut found = vec![0; line.len() + 1];
    output.read_exact(&mut found).unwrap();
    assert_eq!(found, format!("{line}\n").as_bytes());
}

#[test]
fn others_are_turned_away_and_never_mixed_in() {
    let identities = Identities::new();
    let mut receiver = identities.listen("recv", &[]);
    let mut sender = identities.connect(&receiver, "send", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    let mut other = identities.connect(&receiver, "send", &[]);
    let mut stdin = other.stdin();
    stdin.write_all(b"other\n").unwrap();
    receiver.wait_for_log("away: this pipe has its peer already", 1);
    let turned_away = "the peer broke off: it has its peer already\n";
    other.finish().expect(1, turned_away);
    drop(stdin);
    pass(&mut input, &mut output, "two");
    drop(input);
    sender.finish().expect(0, "2 handled");
    receiver.finish().expect(0, "received 2 messages");

    let mut sender = identities.listen("send", &[]);
    let mut receiver = identities.connect(&sender, "recv", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    for retry in ["never", "forever"] {
        let other = identities
            .connect(&sender, "recv", &["--retry", retry])
            .finish();
        // It must not take this for the end of the stream.
        let words = format!("the peer may have had more to send: {turned_away}");
        other.expect(1, &words);
        assert_eq!(other.stdout, b"");
    }
    pass(&mut input, &mut output, "two");
    drop(input);
    sender.finish().expect(0, "2 handled");
    receiver.finish().expect(0, "received 2 messages");
}

#[test]
fn a_listener_that_was_restarted_does_not_know_the_session() {
    let identities = Identities::new();
    let flags = identities.flags("robot", "operator");

    let mut receiver = identities.listen("recv", &[]);
    let address = receiver.address.clone().unwrap();
    let mut sender = identities.connect(&receiver, "send", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    receiver.kill();
    sender.wait_for_log("; connecting again", 1);
    // It waits, and what comes meanwhile is for the session that is over.
    input.write_all(b"two\n").unwrap();
    let restarted = Running::start(pipe("recv", ["--listen", &address], &flags, &[]));
    let sent = sender.finish();
    sent.expect(
        1,
        "the session is lost: the peer does not know the session any more",
    );
    assert!(!sent.stderr.contains("2 handled"), "{}", sent.stderr);
    // The new one got nothing of an old stream.
    let received = restarted.finish();
    received.expect(1, "received 0 messages");
    received.expect(
        1,
        "the peer has lost what was under way; start both again\n",
    );
    assert_eq!(received.stdout, b"");
    receiver.finish();

    let mut sender = identities.listen("send", &[]);
    let address = sender.address.clone().unwrap();
    let mut receiver = identities.connect(&sender, "recv", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    sender.kill();
    receiver.wait_for_log("; connecting again", 1);
    let mut restarted = Running::start(pipe("send", ["--listen", &address], &flags, &[]));
    let mut again = restarted.stdin();
    again.write_all(b"one\n").unwrap();
    let received = receiver.finish();
    received.expect(1, "the peer may have had more to send: the session is lost");
    received.expect(1, "received 1 message");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    restarted.finish().expect(
        1,
        "the peer has lost what was under way; start both again\n",
    );
    drop((input, again));
    sender.finish();
}

#[test]
fn attempts_have_a_limit_when_a_peer_is_gone() {
    let identities = Identities::new();
    for retry in ["2", "50ms"] {
        let mut receiver = identities.listen("recv", &[]);
        let mut sender = identities.connect(&receiver, "send", &["--retry", retry]);
        let (mut input, mut output) = (sender.stdin(), receiver.stdout());
        pass(&mut input, &mut output, "one");
        receiver.kill();
        let sent = sender.finish();
        sent.expect(1, "; connecting again\n");
        sent.expect(1, ": no connection: 127.0.0.1:");
        receiver.finish();
        drop(input);
    }
}

/// The end that connects is killed and started again while the other waits for it: both are told,
/// also the one that would otherwise try for ever.
#[test]
fn a_peer_that_was_restarted_is_not_taken_for_the_one_that_is_away() {
    let identities = Identities::new();
    let began_anew = "the session is lost: the peer began anew; it may have restarted";
    let session_over = "the peer waited for an earlier start of this end, ";
    let mut receiver = identities.listen("recv", &[]);
    let mut sender = identities.connect(&receiver, "send", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    sender.kill();
    receiver.wait_for_log("; waiting for the peer to return", 1);
    let mut restarted = identities.connect(&receiver, "send", &[]);
    let mut again = restarted.stdin();
    again.write_all(b"one\n").unwrap();
    let received = receiver.finish();
    received.expect(1, began_anew);
    received.expect(1, "received 1 message");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    let sent = restarted.finish();
    sent.expect(1, session_over);
    sent.expect(1, "; start both again\n");
    drop(again);
    sender.finish();

    let mut sender = identities.listen("send", &[]);
    let mut receiver = identities.connect(&sender, "recv", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    receiver.kill();
    sender.wait_for_log("; waiting for the peer to return", 1);
    let received = identities.connect(&sender, "recv", &[]).finish();
    received.expect(1, session_over);
    assert_eq!(received.stdout, b"");
    let sent = sender.finish();
    sent.expect(1, began_anew);
    // Handled, or unknown where the receiver was killed before it could say so.
    sent.expect(1, "sent 1 message, 4 bytes: 1 ");
    drop((input, receiver.finish()));
}

/// Without an identity nobody can be told from the peer that is away.
#[test]
fn a_stranger_ends_no_pipe_in_plain_text() {
    let plain = ["--plaintext".to_owned()];
    let mut receiver = Running::start(pipe("recv", ["--listen", "127.0.0.1:0"], &plain, &[]));
    let address = receiver.address.clone().unwrap();
    let network = proxy(&receiver);
    let place = network.address();
    let through = place.to_string();
    let mut sender = Running::start(pipe("send", ["--connect", &through], &plain, &[]));
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    drop(network);
    receiver.wait_for_log("; waiting for the peer to return", 1);
    let mut other = Running::start(pipe("send", ["--connect", &address], &plain, &[]));
    let stdin = other.stdin();
    other.finish().expect(1, "it has its peer already");
    // It comes back when the network does.
    let network = loop {
        match Proxy::at(place, self::address(&receiver)) {
            Ok(network) => break network,
            Err(_) => std::thread::yield_now(),
        }
    };
    pass(&mut input, &mut output, "two");
    drop((input, stdin));
    sender.finish().expect(0, "2 handled");
    receiver.finish().expect(0, "received 2 messages");
    drop(network);
}

#[test]
fn the_tlsstream_dialect_ends_with_its_connection() {
    let identities = Identities::new();
    let flags = ["--dialect", "tlsstream", "--split", "lines"];
    let (mut receiver, proxy, mut sender) = both(&identities, "recv", &flags);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    pass(&mut input, &mut output, "one");
    proxy.cut_next();
    let long = "x".repeat(10_000);
    input.write_all(long.as_bytes()).unwrap();
    input.write_all(b"\n").unwrap();
    let sent = sender.finish();
    sent.expect(1, "of 2 messages, 1 may have been handled or not: ");
    // Nothing is said of what is not done.
    assert!(!sent.stderr.contains("connecting again"), "{}", sent.stderr);
    sent.expect(1, "1 handled, 1 unknown");
    receiver
        .finish()
        .expect(1, "the peer may have had more to send: ");
    drop(input);
}

#[cfg(unix)]
#[test]
fn signals_are_heard_without_a_connection() {
    let identities = Identities::new();
    // Before there ever was one.
    let flags = identities.flags("operator", "robot");
    let sender = Running::start(pipe("send", ["--connect", "127.0.0.1:1"], &flags, &[]));
    sender.wait_for_log("trying again", 1);
    sender.signal("TERM");
    sender
        .finish()
        .expect(143, "error: broken off by SIGTERM\n");

    // Once closes in order, as soon as there is a connection again; twice ends at once.
    for again in [true, false] {
        let (mut receiver, proxy, mut sender) = both(&identities, "recv", &["-v"]);
        let (mut input, mut output) = (sender.stdin(), receiver.stdout());
        pass(&mut input, &mut output, "one");
        let place = proxy.address();
        drop(proxy);
        sender.wait_for_log("; connecting again", 1);
        receiver.wait_for_log("; waiting for the peer to return", 1);
        sender.signal("INT");
        sender.wait_for_log("asked to stop", 1);
        if again {
            let proxy = Proxy::at(place, address(&receiver)).unwrap();
            sender
                .finish()
                .expect(130, "sent 1 message, 4 bytes: 1 handled");
            let received = receiver.finish();
            received.expect(1, "received 1 message");
            received.expect(1, "the peer broke off: it was ended by SIGINT\n");
            drop(proxy);
        } else {
            sender.signal("INT");
            let sent = sender.finish();
            assert_eq!(sent.code, Some(130), "{}", sent.stderr);
            receiver.signal("INT");
            receiver.wait_for_log("asked to stop", 1);
            receiver.signal("INT");
            assert_eq!(receiver.finish().code, Some(130));
        }
        drop(input);
    }
}
