//! Captures of the program's links, and what it shows of them.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Finished, Identities, countersign, pipe, run};
use tempfile::TempDir;

fn kept(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../capture/tests/captures");
    let path = Path::new(path).join(name);
    path.to_str().unwrap().to_owned()
}

fn trace(args: &[&str]) -> Finished {
    run([&["trace"], args].concat())
}

/// A file with these bytes, and its name.
fn file(bytes: &[u8]) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.capture");
    fs::write(&path, bytes).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (folder, name)
}

#[test]
fn a_demo_is_captured_shown_and_played_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("demo.capture");
    let path = path.to_str().unwrap();
    let demo = [
        "demo",
        "--frames",
        "8",
        "--fps",
        "max",
        "--cuts",
        "1",
        // The last picture may be late behind one.
        "--stalls",
        "0",
        "--capture",
        path,
    ];
    run(demo).expect(0, "");
    run(demo).expect(4, "is there already");

    let replay = trace(&[path, "--replay"]);
    replay.expect(0, "");
    assert!(
        replay.text().contains(" links did the same again, "),
        "{}",
        replay.text()
    );
    let lines = trace(&[path]);
    lines.expect(0, "");
    for words in [
        " > HELLO lowest=1 ",
        // Those before may have been superseded.
        " < MESSAGE video number=8 ",
        " . takeover incoming=",
    ] {
        assert!(
            lines.text().contains(words),
            "no {words} in {}",
            lines.text()
        );
    }
    let summary = trace(&[path, "--summary"]);
    let words = "channel video: 8 sent";
    assert!(summary.text().contains(words), "{}", summary.text());
}

#[test]
fn payloads_are_there_where_they_were_asked_for() {
    let file = kept("tlsstream.capture");
    let shown = trace(&[&file, "--payloads"]).text();
    assert!(
        shown.contains(" < MESSAGE video 5 bytes \"MARKE\""),
        "{shown}"
    );
    assert!(shown.contains(" > OK"), "{shown}");
    assert!(!trace(&[&file]).text().contains("MARKE"));
    let shown = trace(&[&kept("visits.capture"), "--payloads"]).text();
    assert!(
        shown.contains(" > MESSAGE video number=2 1 byte (left out)"),
        "{shown}"
    );
}

#[test]
fn sessions_that_are_over_are_shown() {
    let file = kept("sessions.capture");
    trace(&[&file, "--replay"]).expect(0, "");
    let shown = trace(&[&file]).text();
    for words in [
        " . take commands outcome=session-border why=too-old",
        " > CLOSE code=4294901761 again=yes ",
        " < REFUSE code=7 ",
        " outcome=SessionOver",
        " event=ended why=session-lost ",
    ] {
        assert!(shown.contains(words), "no {words} in {shown}");
    }
}

#[test]
fn filters_leave_what_they_name() {
    let file = kept("visits.capture");
    let lines = |args: &[&str]| -> Vec<String> {
        let shown = trace(&[&[file.as_str()], args].concat());
        shown.expect(0, "");
        shown.text().lines().map(str::to_owned).collect()
    };
    let all = lines(&[]);
    let acks = lines(&["--kind", "ack"]);
    assert!(!acks.is_empty() && acks.iter().all(|line| line.contains(" ACK ")));
    let both = lines(&["--kind", "ACK", "--kind", "take", "--channel", "commands"]);
    assert!(both.iter().any(|line| line.contains(" take ")));
    assert!(
        both.iter().all(|line| line.contains(" commands ")),
        "{both:?}"
    );
    let link = lines(&["--link", "3"]);
    assert!(
        link.len() > 3 && link.iter().all(|line| line.contains(" 3/")),
        "{link:?}"
    );
    let seconds = |line: &String| line[..12].trim().parse::<f64>().unwrap();
    let late = lines(&["--from", "0.0002s"]);
    let early = lines(&["--to", "199us"]);
    assert!(late.iter().all(|line| seconds(line) >= 0.0002) && !late.is_empty());
    assert_eq!(early.len() + late.len(), all.len());
}

#[test]
fn filters_have_no_say_in_a_replay() {
    let file = kept("visits.capture");
    for filter in [
        &["--payloads"][..],
        &["--channel", "commands"],
        &["--kind", "ack"],
        &["--link", "1"],
        &["--from", "0s"],
        &["--to", "1s"],
    ] {
        trace(&[&[file.as_str(), "--replay"], filter].concat()).expect(2, "cannot be used with");
    }
    trace(&[&file, "--summary", "--payloads"]).expect(2, "cannot be used with");
}

#[test]
fn filters_that_nothing_can_pass_are_wrong() {
    let file = kept("visits.capture");
    trace(&[&file, "--kind", "nonsense"]).expect(2, "no such kind; there are HELLO, ");
    trace(&[&file, "--kind", "in"]).expect(2, "no such kind");
    trace(&[&file, "--link", "99"]).expect(
        2,
        "error: --link 99: the capture has no such link; there is 1, 2, 3, 4, 5\n",
    );
    for more in [&[][..], &["--json"], &["--summary"]] {
        let asked = [&[&*file, "--channel", "video", "--channel", "nope"], more].concat();
        trace(&asked).expect(
            2,
            "error: --channel nope: the capture has nothing about such a channel; there is commands, video\n",
        );
    }
    let span = ["--from", "1s", "--to", "0.5s"];
    trace(&[&[file.as_str()], &span[..]].concat()).expect(2, "--from is later than --to");
    trace(&[&file, "--from", "0s", "--to", "0s"]).expect(0, "");
    // Whatever is shown can be asked for.
    let mut kinds = BTreeSet::new();
    let kept_ones = [
        "visits.capture",
        "tlsstream.capture",
        "demo.capture",
        "sessions.capture",
    ];
    for name in kept_ones {
        let shown = trace(&[&kept(name), "--json"]).text();
        let kind = |line: &str| {
            line.split("\"kind\":\"")
                .nth(1)?
                .split('"')
                .next()
                .map(str::to_owned)
        };
        kinds.extend(shown.lines().map(|line| kind(line).unwrap()));
    }
    assert!(kinds.len() > 20, "{kinds:?}");
    let args = kinds.iter().flat_map(|kind| ["--kind", kind]);
    let args: Vec<&str> = [file.as_str()].into_iter().chain(args).collect();
    let shown = trace(&args);
    shown.expect(0, "");
    assert_eq!(shown.text(), trace(&[&file]).text());
}

/// A file that was made for a command that could not be done would be in the way of the next.
#[test]
fn a_capture_begins_when_files_and_flags_are_good() {
    let identities = Identities::new();
    let capture = identities.file("a.capture");
    let place = ["--connect", "127.0.0.1:1"];
    let more = ["--retry", "never", "--capture", &capture];
    let good = identities.flags("robot", "operator");
    for (file, other) in [
        ("robot.crt", "robot.key"),
        ("robot.key", "absent.key"),
        ("operator.crt", "robot.key"),
    ] {
        let (file, other) = (identities.file(file), identities.file(other));
        let bad = good
            .iter()
            .map(|flag| if *flag == file { &other } else { flag });
        let bad: Vec<String> = bad.cloned().collect();
        assert_ne!(bad, good);
        run(pipe("send", place, &bad, &more)).expect(4, "");
        assert!(!Path::new(&capture).exists(), "{bad:?}");
    }
    // Nobody listens there, which is worth a capture.
    run(pipe("send", place, &good, &more)).expect(1, "nobody listens there");
    assert!(Path::new(&capture).exists());
}

#[test]
fn json_has_one_object_in_each_line() {
    let shown = trace(&[&kept("visits.capture"), "--json", "--kind", "VERDICT"]).text();
    let line = shown.lines().find(|line| line.contains("out")).unwrap();
    assert!(line.starts_with("{\"time\":10"), "{line}");
    let end = "\"way\":\"out\",\"kind\":\"VERDICT\",\"channel\":\"commands\",\"number\":2,\"code\":5,\
               \"reason\":\"no\"}";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn captures_come_over_standard_input_too() {
    let mut child = countersign(["trace", "-", "--replay"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = fs::read(kept("visits.capture")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("5 links did the same")
    );
}

#[test]
fn wrong_files_are_told_what_they_are() {
    trace(&["/nowhere/to/be.found"]).expect(4, "cannot be read");
    for bytes in [b"".as_slice(), b"\x1b[2J", &[0; 5000]] {
        let (_folder, name) = file(bytes);
        for way in ["--json", "--summary", "--replay"] {
            let shown = trace(&[&name, way]);
            shown.expect(4, "this is no capture");
            assert!(shown.stdout.is_empty() && !shown.stderr.contains('\x1b'));
        }
    }
    let mut bytes = fs::read(kept("visits.capture")).unwrap();
    bytes[24] = 9;
    let (_folder, name) = file(&bytes);
    trace(&[&name]).expect(
        4,
        "a capture in version 9 of the format; version 1 can be read",
    );
    bytes[24] = 1;
    bytes.extend_from_slice(b"and more");
    let (_folder, name) = file(&bytes);
    let damaged = trace(&[&name]);
    damaged.expect(4, "is damaged: the capture has ended before");
    assert!(damaged.text().contains(" > HELLO "));
}

#[test]
fn what_breaks_off_is_shown_as_far_as_it_goes() {
    let bytes = fs::read(kept("visits.capture")).unwrap();
    let (_folder, name) = file(&bytes[..bytes.len() - 5]);
    for way in ["--json", "--summary", "--replay"] {
        let shown = trace(&[&name, way]);
        shown.expect(0, "ends in the middle of what begins at byte");
        assert!(!shown.stdout.is_empty());
    }
}

#[test]
fn nothing_of_a_peers_reaches_the_terminal_as_it_is() {
    let mut bytes = fs::read(kept("visits.capture")).unwrap();
    // The reason of a rejection, everywhere: two bytes, of which one clears a line.
    let reason = b"\x05\x62no";
    for at in 0..bytes.len() - reason.len() {
        if bytes[at..].starts_with(reason) {
            bytes[at + 2..at + 4].copy_from_slice(b"\x1bM");
        }
        // In frames it stands behind its code.
        if bytes[at..].starts_with(b"\0\0\0\x05no") {
            bytes[at + 4..at + 6].copy_from_slice(b"\x1bM");
        }
    }
    let (_folder, name) = file(&bytes);
    for ways in [&[][..], &["--json"], &["--summary"], &["--replay"]] {
        let shown = trace(&[&[name.as_str()], ways].concat());
        shown.expect(0, "");
        let odd = |byte: &u8| *byte != b'\n' && !(b' '..=b'~').contains(byte);
        assert!(!shown.stdout.iter().any(odd), "{ways:?}");
    }
    assert!(trace(&[&name]).text().contains("reason=\"\\u{1b}M\""));
}

#[test]
fn a_replay_that_differs_says_where() {
    let mut bytes = fs::read(kept("visits.capture")).unwrap();
    // The acceptor's seed, of which the session's id is made.
    let seed = [2; 16];
    let at = bytes.windows(16).position(|window| window == seed).unwrap();
    bytes[at] = 77;
    let (_folder, name) = file(&bytes);
    let shown = trace(&[&name, "--replay"]);
    shown.expect(1, "link 2 does something else at record");
    let text = shown.text();
    let (captured, replayed) = text.split_once("replayed:").unwrap();
    assert!(
        captured.contains(" > WELCOME ") && replayed.contains(" > WELCOME "),
        "{text}"
    );
}

#[test]
fn limits_and_payloads_need_a_capture() {
    run(["demo", "--capture-limit", "1MiB"]).expect(2, "--capture <FILE>");
    run(["demo", "--capture-payloads", "all"]).expect(2, "--capture <FILE>");
    let small = ["demo", "--capture", "/tmp/x", "--capture-limit", "4095"];
    run(small).expect(2, "4096 bytes at least");
    let nowhere = ["demo", "--capture", "/nowhere/to/be.written"];
    run(nowhere).expect(4, "cannot be written");
}

#[test]
fn ages_and_what_links_knew_are_found_by_playing_along() {
    let file = kept("lives.capture");
    let shown = trace(&[&file, "--kind", "take"]).text();
    let line = " take video number=1 age_least_ms=0.099 age_most_ms=0.103 20 bytes";
    assert!(shown.contains(line), "{shown}");
    let summary = trace(&[&file, "--summary"]).text();
    for words in [
        "link 1: round trips 0.000 ms at least, ",
        "; the peer's clock known to 0.002 ms\n",
        " 12 taken, 3075 bytes; age when taken 0.043 ms at least, ",
    ] {
        assert!(summary.contains(words), "no {words} in {summary}");
    }
    let summary = trace(&[&kept("paced.capture"), "--summary"]).text();
    assert!(summary.contains(" bytes/s delivered\n"), "{summary}");
    // With another seed the acceptor gives its session another id.
    let mut bytes = fs::read(&file).unwrap();
    let seed = [2; 16];
    let at = bytes.windows(16).position(|window| window == seed).unwrap();
    bytes[at] = 3;
    let folder = TempDir::new().unwrap();
    let changed = folder.path().join("changed.capture");
    fs::write(&changed, bytes).unwrap();
    let shown = trace(&[changed.to_str().unwrap(), "--kind", "take"]);
    shown.expect(0, "");
    let line = " take video number=1 20 bytes";
    assert!(shown.text().contains(line), "{}", shown.text());
}
