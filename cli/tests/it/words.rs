//! What the program says of command lines that make no sense and of files that can't be used, word
//! by word, and with which code it ends.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fs;

use crate::common::{Identities, run};
use clap::CommandFactory;
use countersign_cli::args::Args;
use countersign_cli::exit::Exit;
use countersign_cli::usage;

/// Everything that `pipe` requires, for files that are in the current directory or nowhere.
const SEND: &str = "pipe send --listen 127.0.0.1:0 --cert a --key b --peer c";
const RECV: &str = "pipe recv --listen 127.0.0.1:0 --cert a --key b --peer c";

/// The program's answer to a line of words without quotes; `''` is an empty one.
#[track_caller]
fn answers(line: &str, code: i32, first: &str) -> String {
    let words = line
        .split_whitespace()
        .map(|word| if word == "''" { "" } else { word });
    let finished = run(words);
    let said = finished.stderr.lines().next().unwrap_or_default();
    assert_eq!((finished.code, said), (Some(code), first), "{line}");
    finished.stderr
}

#[test]
fn values_that_cannot_be() {
    let size = "neither a number of bytes nor a size such as 64MiB";
    let time = "a time is a number with its unit, such as 200ms, 1.5s or 5m; only 0 needs none";
    let message = "a message has from 1 byte to 1GiB";
    let name = "a channel's name has from 1 to 64 bytes";
    for (command, flag, value, why) in [
        (SEND, "--max-message <SIZE>", "lots", size),
        (SEND, "--max-message <SIZE>", "-5", size),
        (SEND, "--max-message <SIZE>", "0", message),
        (RECV, "--max-message <SIZE>", "1TiB", message),
        (RECV, "--max-message <SIZE>", "1073741825", message),
        (SEND, "--expire-after <DURATION>", "5", time),
        (RECV, "--retain <DURATION>", "5", time),
        (RECV, "--retain <DURATION>", "soon", time),
        ("trace x", "--from <DURATION>", "1", time),
        ("trace x", "--to <DURATION>", "x", time),
        (SEND, "--channel <NAME>", "''", name),
        (
            RECV,
            "--capture-limit <SIZE>",
            "3",
            "a capture's limit is 4096 bytes at least",
        ),
        (RECV, "--capture-limit <SIZE>", "lots", size),
        (
            "keygen x",
            "--days <DAYS>",
            "soon",
            "not a whole number from 1 to 2928000",
        ),
        (
            "keygen x",
            "--days <DAYS>",
            "0",
            "not a whole number from 1 to 2928000",
        ),
        (
            "demo",
            "--frames <FRAMES>",
            "0",
            "not a whole number from 1 to 1000000",
        ),
        (
            "demo",
            "--fps <FPS>",
            "-1",
            "neither `max` nor a number from 0.1 to 100000",
        ),
    ] {
        let word = flag.split(' ').next().unwrap();
        let shown = value.trim_matches('\'');
        let expected = format!("error: invalid value '{shown}' for '{flag}': {why}");
        answers(&format!("{command} {word} {value}"), 2, &expected);
    }
}

#[test]
fn flags_that_there_are_not() {
    let unknown = |flag: &str| format!("error: unexpected argument '{flag}' found");
    // Nothing that looks like it is better than no security.
    for flag in ["--plan", "--latent", "--paint", "--plainly-not"] {
        let said = answers(&format!("{RECV} {flag}"), 2, &unknown(flag));
        let wants_it = flag.starts_with("--plain");
        assert_eq!(said.contains("--plaintext"), wants_it, "{said}");
    }
    for (line, flag, tip) in [
        (SEND, "--latst", "a similar argument exists: '--latest'"),
        (
            SEND,
            "--plaintex",
            "a similar argument exists: '--plaintext'",
        ),
        (
            RECV,
            "--latest",
            "'--latest' belongs to 'countersign pipe send'",
        ),
        (
            RECV,
            "--expire-after",
            "'--expire-after' belongs to 'countersign pipe send'",
        ),
        (
            "keygen x",
            "--replay",
            "'--replay' belongs to 'countersign trace'",
        ),
    ] {
        let said = answers(&format!("{line} {flag}"), 2, &unknown(flag));
        assert!(said.contains(&format!("  tip: {tip}\n")), "{said}");
    }
}

#[test]
fn flags_that_do_not_go_together() {
    for (line, words) in [
        (
            format!("{SEND} --dialect tlsstream --channel x"),
            "error: --channel cannot be used with --dialect tlsstream, which has no channels",
        ),
        (
            format!("{SEND} --key-log -q"),
            "error: --key-log cannot be used with --quiet: the log has to warn of it",
        ),
        (
            "trace x --from 2s --to 1s".to_owned(),
            "error: --from is later than --to; nothing is between them",
        ),
        (
            "demo --frames 1 --cuts 5".to_owned(),
            "error: --cuts 5: a film of 1 picture bears 0 cuts, 2 pictures for each; make it longer \
             with --frames",
        ),
    ] {
        answers(&line, 2, words);
    }
}

#[test]
fn files_that_cannot_be_used() {
    let identities = Identities::new();
    let file = |name: &str| identities.file(name);
    let place = "pipe recv --listen 127.0.0.1:0";
    let [cert, key, peer] = ["robot.crt", "robot.key", "operator.crt"].map(file);
    let none = file("none");
    let good = format!("{place} --cert {cert} --key {key} --peer {peer}");
    for (line, words) in [
        (
            format!("{place} --cert {none} --key {key} --peer {peer}"),
            format!(
                "{none}: no such file; correct the path, or make an identity with `countersign keygen`"
            ),
        ),
        (
            format!("{place} --cert {cert} --key {none} --peer {peer}"),
            format!(
                "{none}: no such file; correct the path, or make an identity with `countersign keygen`"
            ),
        ),
        (
            format!("{place} --cert {cert} --key {key} --peer {none}"),
            format!(
                "{none}: no such file; correct the path, or copy the peer's certificate to this machine"
            ),
        ),
        (
            format!("pin {none}"),
            format!("{none}: no such file; correct the path"),
        ),
        (
            format!("{good} --capture {none}/x"),
            format!(
                "--capture {none}/x: cannot be written (No such file or directory (os error 2)); \
                 choose another name"
            ),
        ),
        (
            format!("{good} --capture {cert}"),
            format!("--capture {cert}: this file is there already; choose another name"),
        ),
        (
            format!("keygen x --dir {none}"),
            format!(
                "{none}/x.crt: cannot be written (No such file or directory (os error 2)); choose \
                 another --dir"
            ),
        ),
        (
            format!("trace {none}"),
            format!("{none}: cannot be read (No such file or directory (os error 2))"),
        ),
    ] {
        answers(&line, 4, &format!("error: {words}"));
    }
    let name = run(["keygen", "a\nb"]);
    name.expect(
        2,
        "error: `a\\nb` cannot name an identity: it has control characters, ",
    );
}

/// Every command, with the words that lead to it.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    fn add(path: &[String], command: &clap::Command, all: &mut Vec<(Vec<String>, clap::Command)>) {
        all.push((path.to_vec(), command.clone()));
        for below in command.get_subcommands() {
            let mut path = path.to_vec();
            path.push(below.get_name().to_owned());
            add(&path, below, all);
        }
    }
    let mut all = Vec::new();
    add(&[], &Args::command(), &mut all);
    all
}

#[test]
fn every_help_has_examples_codes_and_what_is_required() {
    let required: &[(&str, &[&str])] = &[
        ("keygen", &["<NAME>"]),
        ("pin", &["<FILE>"]),
        ("trace", &["<FILE>"]),
        (
            "pipe send",
            &["--listen", "--connect", "--cert", "--key", "--peer"],
        ),
        (
            "pipe recv",
            &["--listen", "--connect", "--cert", "--key", "--peer"],
        ),
    ];
    for (path, _) in commands() {
        let name = path.join(" ");
        let help = run(path.iter().map(String::as_str).chain(["--help"]));
        help.expect(0, "");
        let help = help.text();
        let codes = Exit::help(path.first().map_or("", String::as_str));
        assert!(help.ends_with(&format!("{codes}\n")), "{name}: {help}");
        let usage = help.split_once("Usage: ").unwrap().1;
        let usage = usage.split_once("\n\n").unwrap().0;
        assert!(usage.starts_with("countersign"), "{name}: {usage}");
        let found = required.iter().find(|(command, _)| *command == name);
        for word in found.map_or(&[][..], |(_, words)| words) {
            assert!(usage.contains(word), "{name}: {usage}");
        }
        // Its examples make sense, and at least one is of this command.
        let examples = help.split_once("Examples:\n").expect("examples").1;
        let examples = examples.split_once("\n\n").unwrap().0.replace("\\\n", " ");
        let mut own = 0;
        for example in examples.lines() {
            let from = example.find("countersign ").expect("it is one of ours");
            let words = example[from..].split_whitespace();
            let words: Vec<&str> = words
                .take_while(|word| !["<", ">", "|"].contains(word))
                .collect();
            usage::read(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
            let is_own =
                words[1..].starts_with(&path.iter().map(String::as_str).collect::<Vec<_>>());
            own += usize::from(is_own);
        }
        assert!(own > 0, "{name}: {examples}");
    }
}

#[test]
fn flags_stand_under_the_heading_of_their_subject() {
    let subjects: &[(&str, &[&str])] = &[
        (
            "Link",
            &["listen", "connect", "retry", "retain", "dialect", "channel"],
        ),
        (
            "Security",
            &[
                "cert",
                "key",
                "peer",
                "peers",
                "ignore-dates",
                "key-log",
                "plaintext",
            ],
        ),
        (
            "Messages",
            &["split", "max-message", "latest", "expire-after"],
        ),
        ("Capture", &["capture", "capture-limit", "capture-payloads"]),
    ];
    for (path, command) in commands() {
        let is_pipe = path.len() == 2;
        for flag in command.get_arguments().filter(|_| is_pipe) {
            let long = flag.get_long().unwrap();
            let subject = subjects.iter().find(|(_, flags)| flags.contains(&long));
            let expected = subject.map(|(subject, _)| *subject);
            assert_eq!(flag.get_help_heading(), expected, "{path:?} --{long}");
        }
    }
}

/// The guide's table and `--help` are the same text.
#[test]
fn the_guide_has_the_same_exit_codes() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    let guide = fs::read_to_string(guide).unwrap();
    let table = guide.split_once("## Exit codes").expect("it has them").1;
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    let expected = Exit::ALL.map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()));
    assert_eq!(rows, expected);
}
