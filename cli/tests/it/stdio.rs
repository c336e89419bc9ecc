//! Standard streams that are closed, full, non-blocking, or have lost who is at their other end.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::fs;
use std::io::{Read, Write, pipe as os_pipe};
use std::net::TcpListener;
use std::process::Stdio;

use crate::common::{
    Identities, Running, countersign, finish, pipe, run, shell, unblock, wait_until_full,
};

/// An address at which nobody listens just now.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A capture whose lines no pipe holds.
fn capture(identities: &Identities) -> String {
    let path = identities.file("capture");
    if !fs::exists(&path).unwrap() {
        let film = ["demo", "--fps", "max", "--frames", "1000", "--cuts", "0"];
        run(film.into_iter().chain(["--capture", &path])).expect(0, "");
    }
    path
}

#[test]
fn nobody_reads_what_a_pipe_tells() {
    let identities = Identities::new();
    let flags = identities.flags("robot", "operator");
    // A script that waits for one line and then closes.
    let (mut log, errors) = os_pipe().unwrap();
    let listening = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &["-vvv"]);
    let mut receiver = countersign(listening)
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let address = loop {
        let mut byte = [0];
        log.read_exact(&mut byte).unwrap();
        line.push(byte[0].into());
        if let Some(address) = line.strip_suffix('\n') {
            match address.strip_prefix("listening on ") {
                Some(address) => break address.to_owned(),
                None => line.clear(),
            }
        }
    };
    drop(log);

    let flags = identities.flags("operator", "robot");
    let (log, errors) = os_pipe().unwrap();
    drop(log);
    let connecting = pipe("send", ["--connect", &address], &flags, &["-vvv"]);
    let mut sender = countersign(connecting)
        .stdin(Stdio::piped())
        .stderr(errors)
        .spawn()
        .unwrap();
    sender.stdin.take().unwrap().write_all(b"one\n").unwrap();
    assert_eq!(sender.wait().unwrap().code(), Some(0));
    let mut output = Vec::new();
    let mut stdout = receiver.stdout.take().unwrap();
    stdout.read_to_end(&mut output).unwrap();
    assert_eq!(receiver.wait().unwrap().code(), Some(0));
    assert_eq!(output, b"one\n");
}

#[test]
fn a_pipe_serves_where_what_it_tells_cannot_be_written() {
    let identities = Identities::new();
    for errors in ["2>/dev/full", "2>&-"] {
        let address = free();
        let flags = identities.flags("robot", "operator");
        let listening = pipe("recv", ["--listen", &address], &flags, &["-vvv"]);
        let mut receiver = shell(&format!("exec \"$@\" {errors}"), listening)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let flags = identities.flags("operator", "robot");
        let connecting = pipe("send", ["--connect", &address], &flags, &[]);
        let mut sender = Running::start(connecting);
        sender.feed(b"one\n");
        sender.finish().expect(0, ": 1 handled\n");
        let mut output = Vec::new();
        let mut stdout = receiver.stdout.take().unwrap();
        stdout.read_to_end(&mut output).unwrap();
        assert_eq!(receiver.wait().unwrap().code(), Some(0), "{errors}");
        assert_eq!(output, b"one\n");
    }
}

/// Commands with results on standard output, each with its arguments.
fn with_results(identities: &Identities) -> Vec<Vec<String>> {
    let folder = identities.path().to_str().unwrap();
    let certificate = identities.file("robot.crt");
    let capture = capture(identities);
    let commands = [
        &["keygen", "new", "--force", "--dir", folder][..],
        &["pin", &certificate],
        &["trace", &capture],
        &["demo", "--frames", "2", "--fps", "max", "--cuts", "0"],
        &["--help"],
        &["pipe", "send", "--help"],
        &["--version"],
    ];
    let owned = |command: &[&str]| command.iter().map(ToString::to_string).collect();
    commands.into_iter().map(owned).collect()
}

#[test]
fn results_that_cannot_be_written_are_a_failure_and_no_panic() {
    let identities = Identities::new();
    for command in with_results(&identities) {
        let full = finish(&mut shell("exec \"$@\" > /dev/full", &command));
        full.expect(1, "error: standard output cannot be written: ");
        // And where that can't be told either.
        let fuller = finish(&mut shell("exec \"$@\" > /dev/full 2> /dev/full", &command));
        assert_eq!(fuller.code, Some(1), "{command:?}");
    }
    assert!(fs::exists(identities.file("new.key")).unwrap());
}

#[test]
fn a_reader_of_results_that_has_gone_has_seen_enough() {
    let identities = Identities::new();
    for command in with_results(&identities) {
        let (reader, writer) = os_pipe().unwrap();
        drop(reader);
        let ended = finish(countersign(&command).stdout(writer));
        ended.expect(0, "");
        assert_eq!(ended.stderr, "", "{command:?}");
    }
}

#[test]
fn an_output_that_was_closed_from_the_start_is_found_before_anything_is_done() {
    let identities = Identities::new();
    let flags = identities.flags("robot", "operator");
    let receive = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[]);
    let mut commands = with_results(&identities);
    commands.push(receive.clone());
    for command in &commands {
        let closed = finish(&mut shell("exec \"$@\" >&-", command));
        closed.expect(4, "error: standard output is closed; ");
        assert_eq!(closed.stderr.lines().count(), 1, "{}", closed.stderr);
        let reading = finish(&mut shell("exec \"$@\" 1< /dev/null", command));
        reading.expect(
            4,
            "error: standard output is open for the other direction alone; ",
        );
        assert!(!fs::exists(identities.file("new.key")).unwrap());
    }
    for command in with_results(&identities) {
        finish(&mut shell("exec \"$@\" > /dev/null", command)).expect(0, "");
    }
    // To throw messages away on purpose is nobody's mistake.
    let receiver = Running::spawn(shell("exec \"$@\" > /dev/null", &receive));
    let mut sender = identities.connect(&receiver, "send", &[]);
    sender.feed(b"one\n");
    sender.finish().expect(0, ": 1 handled\n");
    receiver.finish().expect(0, "received 1 message, 4 bytes\n");
}

#[test]
fn an_input_that_was_closed_from_the_start_is_no_empty_one() {
    let identities = Identities::new();
    let flags = identities.flags("operator", "robot");
    let address = free();
    let send = pipe("send", ["--connect", &address], &flags, &[]);
    let trace = vec!["trace".to_owned(), "-".to_owned()];
    for command in [&send, &trace] {
        let closed = finish(&mut shell("exec \"$@\" <&-", command));
        closed.expect(4, "error: standard input is closed; ");
        let writing = finish(&mut shell("exec \"$@\" 0> /dev/null", command));
        writing.expect(
            4,
            "error: standard input is open for the other direction alone; ",
        );
    }
    let receiver = identities.listen("recv", &[]);
    let sender = identities.flags("operator", "robot");
    let address = receiver.address.clone().unwrap();
    let send = pipe("send", ["--connect", &address], &sender, &[]);
    let empty = finish(&mut shell("exec \"$@\" < /dev/null", &send));
    empty.expect(0, "sent 0 messages, 0 bytes");
    receiver.finish().expect(0, "received 0 messages, 0 bytes");
}

#[test]
fn a_non_blocking_input_is_waited_for() {
    let identities = Identities::new();
    let mut receiver = identities.listen("recv", &[]);
    let (reader, mut input) = os_pipe().unwrap();
    unblock(&reader);
    let flags = identities.flags("operator", "robot");
    let address = receiver.address.clone().unwrap();
    let mut command = countersign(pipe("send", ["--connect", &address], &flags, &[]));
    command.stdin(reader);
    let sender = Running::spawn(command);
    let mut output = receiver.stdout();
    for _ in 0..3 {
        input.write_all(b"ping\n").unwrap();
        let mut line = [0; 5];
        // Once this has come out, the sender reads again, and finds nothing.
        output.read_exact(&mut line).unwrap();
    }
    drop(input);
    sender.finish().expect(0, "15 bytes: ");
    receiver.finish().expect(0, "15 bytes\n");
}

#[test]
fn a_non_blocking_output_is_waited_for() {
    let identities = Identities::new();
    let (mut reader, writer) = os_pipe().unwrap();
    unblock(&writer);
    let watched = writer.try_clone().unwrap();
    let flags = identities.flags("robot", "operator");
    let mut command = countersign(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[]));
    command.stdout(writer);
    let mut receiver = Running::spawn(command);
    let mut sender = identities.connect(&receiver, "send", &[]);
    let stream: Vec<u8> = (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    sender.feed(&stream);
    wait_until_full(&watched, &mut receiver.child);
    drop(watched);
    let mut output = Vec::new();
    // The command has its own end of the pipe.
    let reading = std::thread::spawn(move || {
        reader.read_to_end(&mut output).unwrap();
        output
    });
    sender.finish().expect(0, " 1000000 bytes: ");
    receiver.finish().expect(0, " 1000000 bytes\n");
    assert!(reading.join().unwrap() == stream, "the stream was changed");
}

#[test]
fn results_wait_for_a_non_blocking_output_too() {
    let identities = Identities::new();
    let shown = ["trace", &capture(&identities), "--json"].map(str::to_owned);
    let expected = run(&shown).stdout;
    assert!(expected.len() > 100_000, "{} bytes", expected.len());
    let (mut reader, writer) = os_pipe().unwrap();
    unblock(&writer);
    let watched = writer.try_clone().unwrap();
    let mut command = countersign(&shown);
    let mut child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    wait_until_full(&watched, &mut child);
    drop(watched);
    let mut output = Vec::new();
    reader.read_to_end(&mut output).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(output == expected);
}

#[test]
fn a_log_file_that_cannot_be_written_is_told_of_once_and_fails_nothing() {
    let identities = Identities::new();
    let flags = ["-v", "--log-file", "/dev/full"];
    let mut receiver = identities.listen("recv", &flags);
    receiver.collect();
    let mut sender = identities.connect(&receiver, "send", &flags);
    sender.feed(b"one\n");
    for (ended, words) in [
        (sender.finish(), ": 1 handled\n"),
        (receiver.finish(), "received 1 message"),
    ] {
        ended.expect(0, words);
        ended.expect(0, "error: /dev/full: the log cannot be written there (");
        assert_eq!(ended.stderr.matches("/dev/full").count(), 1);
    }
}

#[test]
fn as_many_are_handled_as_the_disk_had_room_for() {
    let identities = Identities::new();
    // What a disk with so much room would do. The signal that comes with it ends nothing.
    let limited = |redirect: &str| {
        format!(
            "ulimit -f 40 && exec \"$@\" {redirect} {}",
            identities.file("out")
        )
    };
    for (redirect, before) in [(">", ""), (">>", "what was there\n")] {
        fs::write(identities.file("out"), before).unwrap();
        let flags = identities.flags("robot", "operator");
        let more = ["--split", "lines"];
        let listening = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &more);
        let receiver = Running::spawn(shell(&limited(redirect), listening));
        let mut sender = identities.connect(&receiver, "send", &more);
        let line = |number: usize| format!("{number:06} {}\n", "a".repeat(82));
        let lines: String = (1..=2000).map(line).collect();
        sender.feed(lines.as_bytes());
        let (sent, received) = (sender.finish(), receiver.finish());
        let output = fs::read_to_string(identities.file("out")).unwrap();
        let written = output.strip_prefix(before).unwrap();
        let count = written.lines().count();
        assert!(count > 100 && count < 2000, "{count}");
        // Whole lines, and no part of another.
        assert_eq!(written, &lines[..90 * count]);
        // Of what was still to be read there is no word.
        sent.expect(1, &format!(": {count} handled, "));
        received.expect(
            1,
            &format!("received {count} messages, {} bytes\n", 90 * count),
        );
        received.expect(1, "error: standard output cannot be written: ");
    }
}

/// What a disk with room for so little of a capture would do.
const LITTLE_ROOM: &str = "ulimit -f 8 && exec \"$@\"";

#[test]
fn a_capture_that_is_incomplete_is_a_failure_of_what_was_asked_for() {
    let identities = Identities::new();
    let told = "the capture is incomplete: File too large (os error 27)\n";
    for quiet in [&[][..], &["-q"]] {
        let path = identities.file("demo.capture");
        let demo = ["demo", "--fps", "max", "--frames", "50", "--cuts", "0"];
        let more = [&["--capture", &path], quiet].concat();
        let demo = finish(&mut shell(LITTLE_ROOM, demo.into_iter().chain(more)));
        let line = format!("error: --capture {path}: {told}");
        demo.expect(1, &line);
        assert_eq!(demo.stderr.matches("error: ").count(), 1, "{}", demo.stderr);
        // What else it was asked for it has done.
        assert!(demo.text().contains("checked by SHA-256"));
        fs::remove_file(path).unwrap();

        let path = identities.file("pipe.capture");
        let more = [&["--capture", &path, "--split", "lines"], quiet].concat();
        let receiver = identities.listen("recv", quiet);
        let flags = identities.flags("operator", "robot");
        let address = receiver.address.clone().unwrap();
        let connecting = pipe("send", ["--connect", &address], &flags, &more);
        let mut sender = Running::spawn({
            let mut command = shell(LITTLE_ROOM, connecting);
            command.stdin(Stdio::piped());
            command
        });
        sender.feed(&b"one\n".repeat(10_000));
        let sent = sender.finish();
        sent.expect(1, &format!("error: --capture {path}: {told}"));
        sent.expect(1, "sent 10000 messages, 40000 bytes: 10000 handled\n");
        assert_eq!(sent.stderr.matches("error: ").count(), 1, "{}", sent.stderr);
        receiver.finish().expect(0, "received 10000 messages");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_capture_that_is_incomplete_hides_no_other_failure() {
    let identities = Identities::new();
    let path = identities.file("capture");
    let flags = ["--plaintext".to_owned()];
    let more = ["--retry", "never", "--capture", &path];
    let send = pipe("send", ["--connect", &free()], &flags, &more);
    let script = "ulimit -f 0 && exec \"$@\"";
    let sent = finish(shell(script, send).stderr(Stdio::piped()));
    sent.expect(1, "the capture is incomplete: ");
    sent.expect(1, ": nobody listens there; ");
}
