//! Who may come is a list of peers, each with its name; and paths of any bytes.
#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::fs;

use crate::common::{self, Identities, Running, pipe, run};

fn fingerprint(file: &str) -> String {
    let text = run(["pin", file]).text();
    text.split_whitespace().next().unwrap().to_owned()
}

/// The robot's flags, with this list of peers.
fn flags(identities: &Identities, list: &str) -> Vec<String> {
    let mut flags = identities.flags("robot", "operator");
    flags.truncate(4);
    fs::write(identities.file("peers"), list).unwrap();
    flags.extend(["--peers".to_owned(), identities.file("peers")]);
    flags
}

#[test]
fn a_list_lets_peers_in_by_name() {
    let identities = Identities::new();
    let operator = fingerprint(&identities.file("operator.crt"));
    let list =
        format!("# ours\nstranger file:stranger.crt\noperator-1 {operator}  # on the bridge\n");
    let flags = flags(&identities, &list);
    let lines = ["-v", "--split", "lines"];
    let listening = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &lines);
    let mut receiver = Running::start(listening);
    receiver.collect();
    let mut sender = identities.connect(&receiver, "send", &lines);
    sender.feed(b"one\ntwo\n");
    sender.finish().expect(0, "sent 2 messages");
    let received = receiver.finish();
    received.expect(0, &format!("connected with operator-1 ({operator})"));
    received.expect(0, "received 2 messages, 8 bytes from operator-1");
}

#[test]
fn a_line_that_is_none_is_named() {
    let identities = Identities::new();
    for (list, words) in [
        ("robot\n", "peers: line 1: `robot` has no pin"),
        ("# nobody\n", "peers: lists no peer; "),
        (
            "a file:operator.crt\nb file:operator.crt\n",
            "peers: line 2: `b` has the name or a key",
        ),
        ("a file:missing.crt\n", "missing.crt: no such file"),
    ] {
        let flags = flags(&identities, list);
        run(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[])).expect(4, words);
    }
    let flags = identities.flags("robot", "operator");
    let missing = run(pipe("recv", ["--listen", "127.0.0.1:0"], &flags[..4], &[]));
    missing.expect(2, "  --peer <FILE|FINGERPRINT> or --peers <FILE>\n");
    missing.expect(2, "--plaintext takes the place of all credentials");
    // A list in the place of one peer's pins.
    let list = identities.file("list");
    fs::write(&list, "operator file:operator.crt\n").unwrap();
    let told = format!("error: {list}: this is a list of peers; name it with --peers\n");
    let more = ["--peer", &list];
    run(pipe(
        "recv",
        ["--listen", "127.0.0.1:0"],
        &flags[..4],
        &more,
    ))
    .expect(4, &told);
    run(["pin", &list]).expect(4, &told);
    // A folder's owner and mode have nothing to do with it.
    let folder = identities.path().to_str().unwrap();
    run(["pin", folder]).expect(4, "; name a file in it\n");
}

/// What openssl prints, and what was copied without its beginning, is no file.
#[test]
fn what_was_meant_as_a_fingerprint_is_not_looked_for_as_a_file() {
    let identities = Identities::new();
    let hex = "ab".repeat(32);
    for (peer, words) in [
        (hex.clone(), "the digits of a hash"),
        (
            format!("sha256 Fingerprint={}", ["AB"; 32].join(":")),
            "hash of a whole certificate",
        ),
        (format!("SHA256:{}", "a".repeat(43)), "hash of an SSH key"),
    ] {
        let mut flags = identities.flags("robot", "operator");
        flags[5] = peer;
        run(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[])).expect(2, words);
    }
    let mut flags = identities.flags("robot", "operator");
    flags[5] = "nobody.crt".to_owned();
    run(pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &[])).expect(4, "no such file");
}

#[cfg(unix)]
#[test]
fn a_list_is_read_again_at_sighup() {
    let identities = Identities::new();
    let [operator, stranger] =
        ["operator.crt", "stranger.crt"].map(|file| fingerprint(&identities.file(file)));
    let flags = flags(&identities, &format!("operator {operator}\n"));
    let listening = pipe("recv", ["--listen", "127.0.0.1:0"], &flags, &["-v"]);
    let mut receiver = Running::start(listening);
    receiver.collect();
    let sender = identities.connect(&receiver, "send", &["-v"]);
    receiver.wait_for_log("connected with operator ", 1);

    fs::write(
        identities.file("peers"),
        format!("operator {operator}\nother\n"),
    )
    .unwrap();
    receiver.signal("HUP");
    receiver.wait_for_log("peers: line 2: `other` has no pin", 1);

    fs::write(identities.file("peers"), format!("other {stranger}\n")).unwrap();
    receiver.signal("HUP");
    receiver.wait_for_log(
        &format!("pins added other {stranger}; pins removed operator"),
        1,
    );
    receiver.finish().expect(3, "its pin was removed");
    sender.finish().expect(3, "it has removed our pin");
}

/// A path is bytes, on Unix, and need not be text.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Stdio;

    let identities = Identities::new();
    let folder = std::path::PathBuf::from(identities.file(""));
    let odd = |name: &str| {
        let path = folder.join(OsStr::from_bytes(
            &[b"\xff".as_slice(), name.as_bytes()].concat(),
        ));
        fs::copy(identities.file(name), &path).unwrap();
        path
    };
    let (peer, cert, key) = (odd("operator.crt"), odd("robot.crt"), odd("robot.key"));
    fs::write(folder.join("peers"), "stranger file:stranger.crt\n").unwrap();
    let list = odd("peers");
    let log = folder.join(OsStr::from_bytes(b"\xfflog"));
    let mut command = common::countersign(["pipe", "recv", "--listen", "127.0.0.1:0", "-v"]);
    command.arg("--cert").arg(cert).arg("--key").arg(key);
    command.arg("--peer").arg(peer).arg("--peers").arg(list);
    command.arg("--log-file").arg(&log);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(log.exists());
    let mut command = common::countersign(["pin"]);
    let shown = command.arg(odd("operator.crt")).output().unwrap();
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{said}");
}
