//! What the program says and how it ends when something is wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use crate::common::{Identities, Running, pipe, run};

/// Flags of the robot with something left out or changed.
fn without(flags: &[String], flag: &str) -> Vec<String> {
    let at = flags.iter().position(|found| found == flag);
    let at = at.expect("it is there");
    let mut flags = flags.to_vec();
    flags.drain(at..at + 2);
    flags
}

#[test]
fn command_lines_that_make_no_sense() {
    let identities = Identities::new();
    let flags = identities.flags("robot", "operator");
    let listen = ["--listen", "127.0.0.1:0"];
    let both = ["--connect", "127.0.0.1:1"];
    let none: [String; 0] = [];
    for (args, words) in [
        (pipe("send", listen, &flags, &both), "cannot be used with"),
        (pipe("send", listen, &none, &[]), "--cert"),
        (
            pipe("send", listen, &without(&flags, "--peer"), &[]),
            "--peer",
        ),
        (
            pipe("send", listen, &without(&flags, "--key"), &[]),
            "--key",
        ),
        (
            pipe("send", listen, &flags, &["--plaintext"]),
            "--plaintext",
        ),
        (
            pipe("send", ["--listen", "here"], &flags, &[]),
            "'here' has no port",
        ),
        (
            pipe("send", ["--connect", "https://robot:4433"], &flags, &[]),
            "is a URL",
        ),
        (
            pipe("send", ["--connect", "me@robot:4433"], &flags, &[]),
            "has a user",
        ),
        (
            pipe("send", ["--listen", ":4433"], &flags, &[]),
            "[::]:4433",
        ),
        (
            pipe("send", ["--listen", "*:4433"], &flags, &[]),
            "all addresses of this machine are [::]:4433, those of IPv4 0.0.0.0:4433",
        ),
        (pipe("send", ["--connect", ""], &flags, &[]), "is empty"),
        (
            pipe("send", ["--connect", "256.1.1.1:80"], &flags, &[]),
            "no host can have the name in '256.1.1.1:80'",
        ),
        (
            pipe("send", ["--connect", "robot:0"], &flags, &[]),
            "port 0",
        ),
        (
            pipe("send", ["--connect", "fe80::1:4433"], &flags, &[]),
            "brackets",
        ),
        (
            pipe("send", listen, &flags, &["--peer", "sha256:12"]),
            "64 hexadecimal",
        ),
        (
            pipe("send", listen, &flags, &["--split", "words"]),
            "--split",
        ),
        (
            pipe("send", listen, &flags, &["--max-message", "0"]),
            "--max-message",
        ),
        (
            pipe("send", listen, &flags, &["--expire-after", "soon"]),
            "--expire-after",
        ),
        (
            pipe("send", listen, &flags, &["--expire-after", "0"]),
            "with 0 every message is late before it is sent",
        ),
        (
            pipe("send", both, &flags, &["--retry", "soon"]),
            "neither `forever`, `never`, a number",
        ),
        (pipe("send", both, &flags, &["--retry", "0"]), "say `never`"),
        (
            pipe("recv", both, &flags, &["--retry", "0s"]),
            "say `never`",
        ),
        (
            pipe("recv", listen, &flags, &["--retry", "never"]),
            "cannot be used with",
        ),
        (
            pipe("recv", listen, &flags, &["--retain", "soon"]),
            "--retain",
        ),
        (pipe("recv", listen, &flags, &["--retain", "-1s"]), "'-1'"),
        (
            pipe("send", both, &flags, &["--retain", "1s"]),
            "cannot be used with",
        ),
        (pipe("recv", listen, &flags, &["--latest"]), "--latest"),
        (pipe("recv", listen, &flags, &["-q", "-v"]), "--verbose"),
        (
            pipe("send", listen, &flags, &["--channel", &"x".repeat(65)]),
            "64 bytes",
        ),
    ] {
        run(args).expect(2, words);
    }
    let mut place = pipe("send", listen, &flags, &[]);
    place.drain(2..4);
    run(place).expect(2, "--listen");
    run(["demo", "--fps", "0"]).expect(2, "--fps");
}

#[test]
fn a_name_is_listened_on_at_all_of_its_addresses() {
    let plain = ["--plaintext".to_owned()];
    let mut receiver = Running::start(pipe("recv", ["--listen", "localhost:0"], &plain, &[]));
    let listens = receiver.address.take().expect("it says where");
    let listens: SocketAddr = listens.parse().expect("an address");
    let all = ("localhost", listens.port()).to_socket_addrs();
    for address in all.expect("every machine has it") {
        // The name may have an address that the machine has not.
        if TcpListener::bind((address.ip(), 0)).is_ok() {
            TcpStream::connect(address).expect("it listens there");
        }
    }
    receiver.kill();
}

#[test]
fn a_name_that_is_not_found_is_named() {
    // No server is asked for it: no part of a name is so long.
    let address = format!("{}:4433", "x".repeat(64));
    let args = pipe(
        "recv",
        ["--connect", &address],
        &["--plaintext".to_owned()],
        &["--retry", "never"],
    );
    run(args).expect(1, &format!("{address}: "));
}

#[test]
fn files_that_cannot_be_used() {
    let identities = Identities::new();
    let listen = ["--listen", "127.0.0.1:0"];
    let file = |name: &str| identities.file(name);
    let flags = |cert: &str, key: &str, peer: &str| {
        [
            "--cert",
            &file(cert),
            "--key",
            &file(key),
            "--peer",
            &file(peer),
        ]
        .map(str::to_owned)
    };
    for (flags, words) in [
        (
            flags("robot.crt", "robot.key", "nobody.crt"),
            "nobody.crt: no such file",
        ),
        (
            flags("robot.crt", "nobody.key", "operator.crt"),
            "nobody.key: no such file",
        ),
        (flags("robot.key", "robot.crt", "operator.crt"), "swapped"),
        (
            flags("robot.crt", "operator.key", "operator.crt"),
            "does not belong",
        ),
        (
            flags("robot.crt", "robot.key", "operator.key"),
            "operator.key",
        ),
    ] {
        run(pipe("recv", listen, &flags, &[])).expect(4, words);
    }
    let flags = identities.flags("robot", "operator");
    let log = identities.file("nowhere/log");
    let args = pipe("recv", listen, &flags, &["--log-file", &log]);
    let finished = run(args);
    finished.expect(4, "--log-file");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let identities = Identities::new();
    let key = identities.file("robot.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let receiver = identities.listen("recv", &[]);
    identities
        .connect(&receiver, "send", &[])
        .finish()
        .expect(0, "");
    receiver.finish().expect(0, "warning: ");
    let quiet = identities.listen("recv", &["-q"]);
    identities
        .connect(&quiet, "send", &[])
        .finish()
        .expect(0, "");
    assert!(!quiet.finish().stderr.contains("warning"));
}

#[test]
fn nobody_listens_or_somebody_does_already() {
    let identities = Identities::new();
    let flags = identities.flags("robot", "operator");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(pipe("recv", ["--listen", &address], &flags, &[])).expect(1, "--listen");
    drop(taken);
    let never = ["--retry", "never", "-v"];
    let verbose = run(pipe("send", ["--connect", &address], &flags, &never));
    verbose.expect(1, "nobody listens there");
    verbose.expect(1, "caused by: ");
    assert!(!verbose.stderr.contains("again"), "{}", verbose.stderr);
    for limit in ["2", "50ms"] {
        let limited = run(pipe(
            "send",
            ["--connect", &address],
            &flags,
            &["--retry", limit],
        ));
        limited.expect(1, "nobody listens there");
        limited.expect(1, &format!("warning: no connection: {address}: "));
        // However many attempts there are, they are told of once.
        assert_eq!(limited.stderr.matches("trying again").count(), 1);
    }
}

#[test]
fn a_wrong_pin_is_told_at_both_ends_and_the_right_peer_still_gets_in() {
    let identities = Identities::new();
    let receiver = identities.listen("recv", &[]);
    let address = receiver.address.clone().unwrap();
    // The connecting end refuses, then the listening one.
    let flags = identities.flags("operator", "stranger");
    let refusing = run(pipe("send", ["--connect", &address], &flags, &[]));
    refusing.expect(3, "we refused the peer: it presented the key sha256:");
    let flags = identities.flags("stranger", "robot");
    let refused = run(pipe("send", ["--connect", &address], &flags, &[]));
    refused.expect(3, "the peer refused our certificate");

    identities
        .connect(&receiver, "send", &[])
        .finish()
        .expect(0, "");
    let received = receiver.finish();
    received.expect(0, "the peer refused our certificate");
    received.expect(0, "we refused the peer: it presented the key sha256:");
}

#[test]
fn ends_that_do_not_fit_together() {
    let identities = Identities::new();
    for (listening, connecting, fitting, words) in [
        (
            "recv",
            &["recv"][..],
            "send",
            "both ends are to receive; start one of them as `pipe send`",
        ),
        (
            "send",
            &["send"],
            "recv",
            "both ends are to send; start one of them as `pipe recv`",
        ),
        (
            "recv",
            &["send", "--channel", "other"],
            "send",
            " has the channel 'other'; give both ends the same --channel",
        ),
    ] {
        let mut listener = identities.listen(listening, &[]);
        listener.feed(b"");
        let connecting = identities.connect(&listener, connecting[0], &connecting[1..]);
        connecting.finish().expect(3, words);
        // Told at both ends; and the listener waits for one that fits.
        listener.wait_for_log(words, 1);
        identities
            .connect(&listener, fitting, &[])
            .finish()
            .expect(0, "");
        listener.finish().expect(0, "warning: 127.0.0.1:");
    }
    // The tlsstream dialect has no handshake in which its listener could find out.
    let mut listener = identities.listen("recv", &["--dialect", "tlsstream"]);
    let connecting = identities.connect(&listener, "send", &[]);
    connecting.finish().expect(3, "dialect");
    listener.kill();
    listener.finish();
}

#[test]
fn input_that_cannot_be_split_or_sent() {
    let identities = Identities::new();
    let long = "x".repeat(100);
    for (more, input, words) in [
        (
            &["--split", "lines", "--max-message", "50"][..],
            format!("one\n{long}\n"),
            "--max-message",
        ),
        (&["--split", "jpeg"], "no picture".to_owned(), "JPEG"),
        (&["--split", "length"], "\0\0".to_owned(), "incomplete"),
    ] {
        let receiver = identities.listen("recv", &[]);
        let mut sender = identities.connect(&receiver, "send", more);
        sender.feed(input.as_bytes());
        let sent = sender.finish();
        sent.expect(1, words);
        // What came before was sent, and the receiver knows that more was to come.
        let received = receiver.finish();
        received.expect(1, "received ");
        let told =
            "error: the peer may have had more to send: the peer broke off: its input failed: ";
        received.expect(1, told);
        received.expect(1, words);
        assert!(sent.stderr.contains("sent 1 message") == more.contains(&"50"));
    }
    let receiver = identities.listen("recv", &["--max-message", "50"]);
    let mut sender = identities.connect(&receiver, "send", &["--split", "lines"]);
    sender.feed(format!("one\n{long}\n").as_bytes());
    sender.finish().expect(
        1,
        "message 2 has 101 bytes, and the receiver takes 50 bytes; raise the receiver's",
    );
    let received = receiver.finish();
    received.expect(1, "received 1 message");
    let told = "its input failed: message 2 has 101 bytes, and the receiver takes 50 bytes\n";
    received.expect(1, told);

    let receiver = identities.listen("recv", &["--dialect", "tlsstream"]);
    let flags = ["--dialect", "tlsstream", "--split", "length"];
    let mut sender = identities.connect(&receiver, "send", &flags);
    sender.feed(b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two");
    sender.finish().expect(1, "message 2 is empty");
    // The dialect has no words for it.
    let received = receiver.finish();
    received.expect(1, "received 1 message");
    received.expect(
        1,
        "error: the peer may have had more to send: the connection ",
    );
}

#[test]
fn a_second_message_where_one_is_the_whole() {
    let identities = Identities::new();
    let receiver = identities.listen("recv", &["--split", "whole"]);
    let mut sender = identities.connect(&receiver, "send", &["--split", "lines"]);
    sender.feed(b"one\ntwo\n");
    receiver.finish().expect(1, "choose another --split");
    let sent = sender.finish();
    sent.expect(1, "1 handled, 1 rejected");
    // The reason comes with the rejection, and with the close if that was not on its way.
    sent.expect(1, "error: of 2 messages, 1 was rejected: the peer ");
    sent.expect(
        1,
        ": a second message came, and the first one was to be the whole output",
    );
}

#[test]
fn nobody_reads_the_output() {
    let identities = Identities::new();
    let mut receiver = identities.listen("recv", &[]);
    drop(receiver.stdout());
    let mut sender = identities.connect(&receiver, "send", &[]);
    sender.feed(b"one\ntwo\n");
    receiver
        .finish()
        .expect(1, "error: standard output was closed");
    let sent = sender.finish();
    sent.expect(1, "error: of 1 message, 1 was rejected: the peer ");
    sent.expect(1, ": standard output was closed by whoever reads it, ");
    assert!(
        sent.stderr.contains(" bytes: 1 rejected\n"),
        "{}",
        sent.stderr
    );
}

/// How many messages a sender's report says were handled.
fn handled(report: &str) -> usize {
    let line = report
        .lines()
        .find(|line| line.starts_with("sent "))
        .expect("a report");
    let verdicts = line.split_once(": ").expect("a report").1;
    let count = verdicts
        .split(", ")
        .find_map(|one| one.strip_suffix(" handled"));
    count.map_or(0, |count| count.parse().expect("a report"))
}

#[test]
fn a_killed_receiver_never_confirmed_what_it_had_not_written() {
    let identities = Identities::new();
    let mut receiver = identities.listen("recv", &[]);
    let mut sender = identities.connect(&receiver, "send", &["--retry", "never"]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    let writing = std::thread::spawn(move || {
        let line = format!("{}\n", "x".repeat(99));
        let lines = line.repeat(100);
        // Until the sender has gone.
        while input.write_all(lines.as_bytes()).is_ok() {}
    });
    // It is under way; and since nobody reads on, it soon can't write on.
    output.read_exact(&mut [0; 100_000]).unwrap();
    receiver.kill();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    let sent = sender.finish();
    sent.expect(1, " may have been handled or not: ");
    sent.expect(1, "unknown");
    let written = (100_000 + rest.len()) / 100;
    assert!(
        handled(&sent.stderr) <= written,
        "{} of {written}",
        sent.stderr
    );
    writing.join().unwrap();
    receiver.finish();
}

#[test]
fn a_killed_sender_is_told_of_by_the_receiver() {
    let identities = Identities::new();
    for (retain, words) in [
        ("0s", "the peer may have had more to send: "),
        ("50ms", "the peer did not come back in time"),
    ] {
        let mut receiver = identities.listen("recv", &["--retain", retain]);
        let mut sender = identities.connect(&receiver, "send", &[]);
        let mut input = sender.stdin();
        input.write_all(b"one\n").unwrap();
        let mut line = [0; 4];
        receiver.stdout().read_exact(&mut line).unwrap();
        sender.kill();
        receiver.finish().expect(1, words);
        sender.finish();
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_both_ends_and_both_say_so() {
    let identities = Identities::new();
    for (stopped, signal, own) in [
        ("send", "INT", 130),
        ("send", "TERM", 143),
        ("recv", "INT", 130),
        ("recv", "TERM", 143),
    ] {
        let mut receiver = identities.listen("recv", &[]);
        let mut sender = identities.connect(&receiver, "send", &[]);
        let mut input = sender.stdin();
        let mut output = receiver.stdout();
        input.write_all(b"one\n").unwrap();
        output.read_exact(&mut [0; 4]).unwrap();
        match stopped {
            "send" => sender.signal(signal),
            _ => receiver.signal(signal),
        }
        let (sent, received) = (sender.finish(), receiver.finish());
        let says = format!("the peer broke off: it was ended by SIG{signal}\n");
        let (stopped, other, words) = match stopped {
            "send" => (&sent, &received, "the peer may have had more to send"),
            _ => (&received, &sent, "the input had not ended"),
        };
        stopped.expect(own, &format!("error: broken off by SIG{signal}\n"));
        other.expect(1, &format!("error: {words}: {says}"));
        assert!(sent.stderr.contains("sent 1 message, 4 bytes: 1 handled\n"));
        assert!(received.stderr.contains("received 1 message, 4 bytes\n"));
        drop(input);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_waiting_for_a_peer() {
    let identities = Identities::new();
    let receiver: Running = identities.listen("recv", &[]);
    receiver.signal("TERM");
    receiver
        .finish()
        .expect(143, "error: broken off by SIGTERM\n");
}
