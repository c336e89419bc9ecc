//! Identity and pins are read again at SIGHUP.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::fs;
use std::io::Write;

use crate::common::{self, Identities, Running, run};

/// Writes what a file is to hold under another name, and renames it, as docs/rotation.md says.
fn put(path: &str, text: &[u8]) {
    let draft = format!("{path}.new");
    fs::write(&draft, text).unwrap();
    fs::rename(&draft, path).unwrap();
}

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn fingerprint(file: &str) -> String {
    let text = run(["pin", file]).text();
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"));
    word.unwrap().to_owned()
}

fn line(running: &mut std::process::ChildStdin, text: &str) {
    writeln!(running, "{text}").unwrap();
    running.flush().unwrap();
}

/// Both ends run; the robot listens and receives, the operator sends.
struct Pair {
    identities: Identities,
    robot: Running,
    operator: Running,
}

impl Pair {
    fn new() -> Self {
        let identities = Identities::new();
        let mut robot = identities.listen("recv", &["-v"]);
        robot.collect();
        let operator = identities.connect(&robot, "send", &["-v", "--split", "lines"]);
        for end in [&robot, &operator] {
            end.wait_for_log("connected with", 1);
        }
        Self {
            identities,
            robot,
            operator,
        }
    }

    fn file(&self, name: &str) -> String {
        self.identities.file(name)
    }
}

#[test]
fn keys_are_rotated_step_by_step_and_the_pipe_goes_on() {
    let mut pair = Pair::new();
    let mut input = pair.operator.stdin();
    line(&mut input, "one");
    run(["keygen", "next", "--dir", &pair.file("")]).expect(0, "");
    let old = fingerprint(&pair.file("operator.crt"));
    let new = fingerprint(&pair.file("next.crt"));

    // The robot is given the operator's next key beside the old one.
    let both = [
        read(&pair.file("operator.crt")),
        read(&pair.file("next.crt")),
    ]
    .concat();
    put(&pair.file("operators.pem"), &both);
    // What the robot was started with is `operator.crt`, which is the operator's own file too.
    let own = read(&pair.file("operator.crt"));
    put(&pair.file("operator.crt"), &both);
    pair.robot.signal("HUP");
    pair.robot.wait_for_log("pins added", 1);
    pair.robot.wait_for_log(&new, 1);
    line(&mut input, "two");

    // The operator takes the next key.
    put(&pair.file("operator.crt"), &own);
    put(&pair.file("operator.key"), &read(&pair.file("next.key")));
    // Half of the pair only: nothing changes.
    pair.operator.signal("HUP");
    pair.operator.wait_for_log("nothing has changed", 1);
    pair.operator
        .wait_for_log("does not belong to the certificate", 1);
    line(&mut input, "three");
    put(&pair.file("operator.crt"), &read(&pair.file("next.crt")));
    pair.operator.signal("HUP");
    pair.operator
        .wait_for_log(&format!("identity {new}, was {old}"), 1);

    // The link goes on as it was, on the connection that it has.
    line(&mut input, "four");
    drop(input);
    pair.operator.finish().expect(0, "4 handled");
    let received = pair.robot.finish();
    received.expect(0, "received 4 messages");
    assert_eq!(received.text(), "one\ntwo\nthree\nfour\n");
}

#[test]
fn a_pin_that_is_removed_ends_the_pipe_at_both_ends() {
    for removes_robot in [true, false] {
        let pair = Pair::new();
        let file = if removes_robot {
            "operator.crt"
        } else {
            "robot.crt"
        };
        put(&pair.file(file), &read(&pair.file("stranger.crt")));
        let (local, remote) = match removes_robot {
            true => (pair.robot, pair.operator),
            false => (pair.operator, pair.robot),
        };
        // An input that stays open, as that of a pipe that runs for long.
        local.signal("HUP");
        local.wait_for_log("pins removed", 1);
        let remote = match removes_robot {
            true => {
                local.finish().expect(3, "its pin was removed");
                let mut remote = remote;
                let _input = remote.stdin();
                remote.finish()
            }
            false => {
                let mut local = local;
                let _input = local.stdin();
                local.finish().expect(3, "its pin was removed");
                remote.finish()
            }
        };
        remote.expect(3, "it has removed our pin");
    }
}

#[test]
fn files_that_can_not_be_used_change_nothing() {
    let mut pair = Pair::new();
    let mut input = pair.operator.stdin();
    let certificate = read(&pair.file("operator.crt"));
    let own = read(&pair.file("robot.crt"));
    let key = read(&pair.file("robot.key"));
    let cases: [(&str, &[u8], &str); 7] = [
        ("operator.crt", b"", "holds no pin"),
        (
            "operator.crt",
            &certificate[..certificate.len() / 2],
            "damaged PEM",
        ),
        ("operator.crt", b"sha256:12", "64 hexadecimal"),
        ("robot.crt", b"", "holds no certificate"),
        ("robot.crt", &own[..own.len() - 30], "damaged PEM"),
        ("robot.key", b"", "holds no private key"),
        ("robot.key", &key[..key.len() / 2], "damaged PEM"),
    ];
    for (times, (file, text, words)) in (1..).zip(cases) {
        let whole = read(&pair.file(file));
        put(&pair.file(file), text);
        pair.robot.signal("HUP");
        pair.robot.wait_for_log("nothing has changed", times);
        pair.robot.wait_for_log(words, 1);
        put(&pair.file(file), &whole);
        line(&mut input, words);
    }
    fs::remove_file(pair.file("robot.key")).unwrap();
    pair.robot.signal("HUP");
    pair.robot.wait_for_log("no such file", 1);
    put(&pair.file("robot.key"), &key);
    pair.robot.signal("HUP");
    pair.robot.wait_for_log("are what they were", 1);
    drop(input);
    pair.operator.finish().expect(0, "7 handled");
    let received = pair.robot.finish();
    received.expect(0, "received 7 messages");
    // Not a word of a key, whole or half.
    let secret = String::from_utf8(key).unwrap();
    for line in secret.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!received.stderr.contains(line));
    }
}

/// As docs/rotation.md says, where fingerprints are pinned and the next key comes as a certificate.
#[test]
fn a_certificate_put_behind_fingerprints_keeps_the_pipe() {
    let identities = Identities::new();
    let file = identities.file("operator.crt");
    let (own, old) = (read(&file), fingerprint(&file));
    let next = read(&identities.file("stranger.crt"));
    let new = fingerprint(&identities.file("stranger.crt"));
    // What the robot reads as pins is the operator's own file too.
    let lines = format!("# the operator's\n{old}\n");
    put(&file, lines.as_bytes());
    let mut robot = identities.listen("recv", &["-v"]);
    robot.collect();
    put(&file, &own);
    let mut operator = identities.connect(&robot, "send", &["-v", "--split", "lines"]);
    operator.wait_for_log("connected with", 1);
    let mut input = operator.stdin();
    line(&mut input, "one");

    put(&file, &[lines.as_bytes(), &next].concat());
    robot.signal("HUP");
    robot.wait_for_log("pins added", 1);
    robot.wait_for_log(&new, 1);
    let shown = run(["pin", &file]).text();
    assert!(shown.contains(&old) && shown.contains(&new), "{shown}");
    line(&mut input, "two");
    // Cut off in what begins the second of two certificates.
    let halves = [&next[..], &next[..4]].concat();
    put(&file, &halves);
    robot.signal("HUP");
    robot.wait_for_log("nothing has changed", 1);
    robot.wait_for_log("half a BEGIN or END line", 1);
    line(&mut input, "three");
    drop(input);
    operator.finish().expect(0, "3 handled");
    let received = robot.finish();
    received.expect(0, "received 3 messages");
    assert!(!received.stderr.contains("pins removed"));
    assert_eq!(received.text(), "one\ntwo\nthree\n");
}

#[test]
fn a_listener_that_waits_goes_on_with_the_new_files() {
    let identities = Identities::new();
    let mut robot = identities.listen("recv", &[]);
    robot.collect();
    put(
        &identities.file("operator.crt"),
        &read(&identities.file("stranger.crt")),
    );
    robot.signal("HUP");
    robot.wait_for_log("pins added", 1);
    let flags = identities.flags("stranger", "robot");
    let address = robot.address.clone().unwrap();
    let mut stranger = Running::start(common::pipe("send", ["--connect", &address], &flags, &[]));
    stranger.feed(b"in\n");
    stranger.finish().expect(0, "1 handled");
    let received = robot.finish();
    received.expect(0, "received 1 message");
    assert_eq!(received.text(), "in\n");
}

/// What a program that rotates logs does: renames the file, and asks for a new one.
#[test]
fn the_log_file_is_opened_again() {
    let identities = Identities::new();
    let (log, old) = (identities.file("log"), identities.file("log.1"));
    let flags = ["-v", "--log-file", &log];
    let mut robot = identities.listen("recv", &flags);
    robot.collect();
    let mut operator = identities.connect(&robot, "send", &["-v"]);
    for end in [&robot, &operator] {
        end.wait_for_log("connected with", 1);
    }
    fs::rename(&log, &old).unwrap();
    robot.signal("HUP");
    robot.wait_for_log("info: opened the log file again", 1);
    // Identity and pins are read again besides.
    robot.wait_for_log("warning: read again: ", 1);
    let moved = fs::read_to_string(&old).unwrap();
    assert!(moved.contains("connected with"), "{moved}");
    assert!(!moved.contains("read again"), "{moved}");

    // Where no new one can be made, the log goes on in the one that there is.
    fs::rename(&log, &old).unwrap();
    fs::create_dir(&log).unwrap();
    robot.signal("HUP");
    robot.wait_for_log("error: the log file stays the one it was: ", 1);
    robot.wait_for_log("warning: read again: ", 2);
    operator.feed(b"one\n");
    operator.finish().expect(0, "1 handled");
    robot.finish().expect(0, "received 1 message");
    let moved = fs::read_to_string(&old).unwrap();
    assert!(moved.contains("opened the log file again"), "{moved}");
    assert_eq!(moved.matches("read again: ").count(), 2, "{moved}");
}

#[test]
fn in_plain_text_there_is_the_log_file_to_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    let place = ["--listen", "127.0.0.1:0"];
    let flags = ["--plaintext", "-v", "--log-file", &log].map(str::to_owned);
    let mut robot = Running::start(common::pipe("recv", place, &flags, &[]));
    robot.collect();
    fs::remove_file(&log).unwrap();
    robot.signal("HUP");
    robot.wait_for_log("info: opened the log file again", 1);
    robot.signal("TERM");
    robot.finish().expect(143, "");
    assert!(fs::exists(&log).unwrap());

    // Without one, there is nothing to open, and the signal breaks off.
    let flags = ["--plaintext".to_owned()];
    let robot = Running::start(common::pipe("recv", place, &flags, &[]));
    robot.signal("HUP");
    robot.finish().expect(129, "error: broken off by SIGHUP\n");
}
