//! `countersign pipe` end to end, when all goes well.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fs;
use std::io::{Read, Write};

use countersign_cli::words::count;

use crate::common::{self, Identities, Running, countersign, pipe};

fn film() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/bunny-320x180.mjpeg");
    fs::read(path).expect("the film is there")
}

/// Each message after its length.
fn framed<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        let length = u32::try_from(message.len()).expect("it is short");
        stream.extend(length.to_be_bytes());
        stream.extend(message);
    }
    stream
}

/// A stream for each way of splitting, with its number of messages and their bytes.
fn streams() -> Vec<(&'static str, Vec<u8>, usize, usize)> {
    let noise: Vec<u8> = (0..300_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    let length = framed([&b""[..], b"one", &noise, b"\n\0\xff"]);
    vec![
        ("lines", b"one\n\ntwo\r\nthree".to_vec(), 4, 15),
        ("jpeg", film(), 132, film().len()),
        ("length", length, 4, 300_006),
        ("whole", noise, 1, 300_000),
    ]
}

/// Moves a stream from one to the other and looks at everything that is said about it.
fn carry(mut sender: Running, mut receiver: Running, stream: &[u8], messages: usize, bytes: usize) {
    sender.feed(stream);
    receiver.collect();
    let (sent, received) = (sender.finish(), receiver.finish());
    let stream_of = format!(
        "{}, {}",
        count(messages as u64, "message"),
        count(bytes as u64, "byte")
    );
    sent.expect(0, &format!("sent {stream_of}: {messages} handled\n"));
    received.expect(0, &format!("received {stream_of}\n"));
    assert!(received.stdout == stream, "the stream was changed");
    assert!(sent.stdout.is_empty());
}

#[test]
fn every_way_of_splitting_in_both_directions() {
    let identities = Identities::new();
    for (way, stream, messages, bytes) in streams() {
        let split = ["--split", way];
        let receiver = identities.listen("recv", &split);
        let sender = identities.connect(&receiver, "send", &split);
        carry(sender, receiver, &stream, messages, bytes);

        let sender = identities.listen("send", &split);
        let receiver = identities.connect(&sender, "recv", &split);
        carry(sender, receiver, &stream, messages, bytes);
    }
}

#[test]
fn the_tlsstream_dialect_in_both_directions() {
    let identities = Identities::new();
    let flags = ["--split", "jpeg", "--dialect", "tlsstream"];
    let film = film();
    let receiver = identities.listen("recv", &flags);
    let sender = identities.connect(&receiver, "send", &flags);
    carry(sender, receiver, &film, 132, film.len());
    let sender = identities.listen("send", &flags);
    let receiver = identities.connect(&sender, "recv", &flags);
    carry(sender, receiver, &film, 132, film.len());
}

/// The original may take a longer one in parts, and confirm it: that is said once, at the sender.
#[test]
fn a_long_message_in_the_tlsstream_dialect_is_worth_one_warning() {
    const WHOLE: usize = 16_378;
    let identities = Identities::new();
    for (length, warnings) in [(WHOLE, 0), (WHOLE + 1, 1)] {
        let message = vec![7; length];
        let stream = framed([&message[..], &message, b"short"]);
        let flags = ["--split", "length", "--dialect", "tlsstream"];
        let mut receiver = identities.listen("recv", &flags);
        receiver.collect();
        let mut sender = identities.connect(&receiver, "send", &flags);
        sender.feed(&stream);
        let sent = sender.finish();
        sent.expect(0, "sent 3 messages, ");
        let warning = format!(
            "warning: a message has {length} bytes, and the tlsstream original may take one above \
             16378 in parts and confirm it all the same; send less at once\n"
        );
        assert_eq!(
            sent.stderr.matches("in parts").count(),
            warnings,
            "{}",
            sent.stderr
        );
        assert_eq!(
            sent.stderr.contains(&warning),
            warnings > 0,
            "{}",
            sent.stderr
        );
        let received = receiver.finish();
        received.expect(0, "received 3 messages, ");
        assert!(received.stdout == stream, "the stream was changed");
    }
}

#[test]
fn plain_text_when_asked_for_by_name() {
    let flags = ["--plaintext".to_owned()];
    let receiver = Running::start(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[]));
    let address = receiver.address.clone().unwrap();
    let mut sender = Running::start(pipe("send", ["--connect", &address], &flags, &[]));
    sender.feed(b"one\n");
    sender.finish().expect(0, "warning: --plaintext");
    let received = receiver.finish();
    received.expect(0, "warning: --plaintext");
    assert_eq!(received.stdout, b"one\n");
}

#[test]
fn a_fingerprint_will_do_and_several_peers_may_be_let_in() {
    let identities = Identities::new();
    let fingerprint = common::run(["pin", &identities.file("operator.crt")]).text();
    let fingerprint = fingerprint.split_whitespace().next().unwrap();
    let mut flags = identities.flags("robot", "stranger");
    flags.extend(["--peer".to_owned(), fingerprint.to_owned()]);
    let receiver = Running::start(pipe("recv", ["--listen", "[::1]:0"], &flags, &[]));
    let sender = identities.connect(&receiver, "send", &[]);
    carry(sender, receiver, b"one\n", 1, 4);
}

#[test]
fn superseded_and_expired_are_no_failure_when_asked_for() {
    let identities = Identities::new();
    let lines = "line\n".repeat(50_000);
    for flags in [
        &["--split", "lines", "--latest"][..],
        &["--split", "lines", "--expire-after", "1ns"],
        &["--split", "lines", "--expire-after", "1h"],
    ] {
        let mut receiver = identities.listen("recv", &[]);
        receiver.collect();
        let mut sender = identities.connect(&receiver, "send", flags);
        sender.feed(lines.as_bytes());
        let (sent, received) = (sender.finish(), receiver.finish());
        sent.expect(0, "sent 50000 messages, 250000 bytes: ");
        received.expect(0, "received ");
        let handled = received.stdout.len() / 5;
        match flags[flags.len() - 1] {
            "--latest" => assert!(handled > 0 && handled < 50_000, "{handled}"),
            "1ns" => sent.expect(0, "50000 expired"),
            _ => assert_eq!(handled, 50_000),
        }
    }
}

#[test]
fn verdicts_come_before_the_input_ends() {
    let identities = Identities::new();
    let mut receiver = identities.listen("recv", &[]);
    let mut sender = identities.connect(&receiver, "send", &[]);
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    for _ in 0..3 {
        input.write_all(b"ping\n").unwrap();
        let mut line = [0; 5];
        output.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"ping\n");
    }
    drop(input);
    sender.finish().expect(0, "3 handled");
    receiver.finish().expect(0, "received 3 messages");
}

#[test]
fn the_log_goes_to_a_file_too() {
    let identities = Identities::new();
    let log = identities.file("log");
    fs::write(&log, "before\n").unwrap();
    let receiver = identities.listen("recv", &["--log-file", &log]);
    let sender = identities.connect(&receiver, "send", &["-v"]);
    sender.finish().expect(0, "info: connected with sha256:");
    let received = receiver.finish();
    received.expect(0, "");
    assert!(
        !received.stderr.contains("connected"),
        "{}",
        received.stderr
    );
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.starts_with("before\n") && text.contains("connected with"),
        "{text}"
    );
}

#[test]
fn keys_are_written_on_request_alone_and_with_a_warning() {
    let identities = Identities::new();
    let keys = identities.file("keys");
    let nowhere = identities.file("no such directory/keys");
    let full = "/dev/full".to_owned();
    let warning = "warning: the keys of connections are";
    for (flags, named, says) in [
        (&[][..], Some(&keys), None),
        (&["--key-log"], None, Some("names no file")),
        (&["--key-log"], Some(&nowhere), Some("can't be written")),
        (
            &["--key-log"],
            Some(&full),
            Some("are not written: /dev/full can't be written"),
        ),
        (&["--key-log"], Some(&keys), Some(keys.as_str())),
    ] {
        let receiver = identities.listen("recv", &[]);
        let address = receiver.address.as_deref().unwrap();
        let own = identities.flags("operator", "robot");
        let mut sender = countersign(pipe("send", ["--connect", address], &own, flags));
        if let Some(file) = named {
            sender.env("SSLKEYLOGFILE", file);
        }
        let output = sender.output().unwrap();
        receiver.finish().expect(0, "received 0 messages");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        assert_eq!(log.contains(warning), says.is_some(), "{log}");
        assert!(says.is_none_or(|words| log.contains(words)), "{log}");
        let written = fs::read_to_string(&keys).unwrap_or_default();
        let expected = says == Some(keys.as_str());
        assert_eq!(
            written.contains("CLIENT_TRAFFIC_SECRET_0 "),
            expected,
            "{written}"
        );
    }
    let own = identities.flags("operator", "robot");
    let address = ["--connect", "127.0.0.1:1"];
    let behind = pipe("send", address, &own, &["--key-log", "--quiet"]);
    let mut before = vec!["-q".to_owned()];
    before.extend(pipe("send", address, &own, &["--key-log"]));
    for asked in [behind, before] {
        let output = countersign(asked).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{log}");
        assert!(
            log.contains("--key-log cannot be used with --quiet"),
            "{log}"
        );
    }
}

/// How much memory a process ever had, in bytes.
#[cfg(target_os = "linux")]
fn most_memory(process: &Running) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id()));
    let status = status.expect("it runs");
    let mut words = status.split_whitespace();
    words.find(|word| *word == "VmHWM:");
    let kilobytes = words.next().and_then(|word| word.parse::<usize>().ok());
    kilobytes.expect("a figure") * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_stream_takes_little_memory() {
    let identities = Identities::new();
    for way in ["length", "bytes"] {
        let split = ["--split", way];
        let receiver = identities.listen("recv", &split);
        let sender = identities.connect(&receiver, "send", &split);
        pass_much(sender, receiver);
    }
}

#[cfg(target_os = "linux")]
fn pass_much(mut sender: Running, mut receiver: Running) {
    const MESSAGE: usize = 1 << 20;
    const COUNT: usize = 256;
    let (mut input, mut output) = (sender.stdin(), receiver.stdout());
    let writing = std::thread::spawn(move || {
        let message = framed([&vec![7; MESSAGE][..]]);
        for _ in 0..COUNT {
            input.write_all(&message).expect("it is read");
        }
        input
    });
    let mut message = vec![0; MESSAGE + 4];
    for _ in 0..COUNT {
        output.read_exact(&mut message).expect("it is written");
    }
    // Both still run, and all has gone through.
    let input = writing.join().expect("nobody panics");
    for process in [&sender, &receiver] {
        let most = most_memory(process);
        assert!(most < 64 << 20, "{most} bytes");
    }
    drop(input);
    sender.finish().expect(0, " handled\n");
    receiver.finish().expect(0, "");
}
