//! `countersign demo`, and what is written about the program.

use std::fs;

use crate::common::run;

/// What stands in a line of the table.
fn cells(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.contains(name));
    let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
    let cells = line.split('|').map(|cell| cell.trim().to_owned());
    cells.filter(|cell| !cell.is_empty()).skip(1).collect()
}

/// The numbers in a line of the report.
fn figures(text: &str, start: &str) -> Vec<u64> {
    let line = text.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("{start}: {text}"));
    let words = line.split(|letter: char| !letter.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn both_backends_at_both_paces_over_cuts() {
    for backend in ["std", "tokio"] {
        for (frames, fps, cuts) in [
            ("300", "max", "3"),
            ("300", "max", "0"),
            ("20", "200", "2"),
            // As many as a film can bear.
            ("12", "max", "6"),
        ] {
            let demo = run([
                "demo",
                "--backend",
                backend,
                "--frames",
                frames,
                "--fps",
                fps,
                "--cuts",
                cuts,
            ]);
            demo.expect(0, "");
            let text = demo.text();
            assert!(text.contains("checked by SHA-256"), "{text}");
            assert_eq!(cells(&text, "| messages ")[0], frames);
            assert_eq!(cells(&text, "| unknown "), ["0", "0"]);
            assert_ne!(cells(&text, "| handled ")[0], "0");
            assert_eq!(figures(&text, "messages lost: "), [0, 0]);
            // It ran, and stopped at the latest with the link.
            let [late, stopped, _] = figures(&text, "commands late: ")[..] else {
                panic!("{text}");
            };
            assert!(late == 0 && stopped > 0, "{text}");
            assert_eq!(figures(&text, "stalls of the network: "), [1, 1]);
            if cuts == "0" {
                assert!(!text.contains("cuts"), "{text}");
            } else {
                let count: u64 = cuts.parse().unwrap();
                assert_eq!(figures(&text, "cuts survived: ")[..2], [count, count]);
            }
            // No bar where there is no terminal, and no word of what is cut on purpose.
            assert_eq!(demo.stderr, "");
        }
    }
}

#[test]
fn cuts_are_made_by_default_and_shown_to_those_who_ask() {
    let demo = run(["demo", "--frames", "30", "--fps", "max", "-v"]);
    demo.expect(0, "connecting again");
    assert_eq!(figures(&demo.text(), "cuts survived: ")[..2], [3, 3]);
    // A film that is too short is not cut as often.
    let demo = run(["demo", "--frames", "1"]);
    demo.expect(0, "");
    assert!(!demo.text().contains("cuts"), "{}", demo.text());
}

#[test]
fn motors_stop_in_each_stall() {
    let demo = run(["demo", "--frames", "60", "--cuts", "0", "--stalls", "2"]);
    demo.expect(0, "");
    let text = demo.text();
    assert_eq!(figures(&text, "stalls of the network: "), [2, 1]);
    // In each, and with the link; on a busy machine they may stop more often.
    assert!(figures(&text, "commands late: ")[1] >= 3, "{text}");
    // What the operator said into the stalls was of no use any more.
    assert_ne!(cells(&text, "| expired ")[1], "0");
    let demo = run(["demo", "--frames", "12", "--stalls", "0", "--fps", "max"]);
    demo.expect(0, "");
    assert!(!demo.text().contains("stalls"), "{}", demo.text());
    run(["demo", "--frames", "12", "--stalls", "7"])
        .expect(2, "a film of 12 pictures bears 6 stalls");
}

#[test]
fn whoever_asks_for_a_capture_is_warned_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (payloads, words) in [
        ("all", "can read all that these links carry\n"),
        (
            "none",
            "can read all that these links do, but for the payloads",
        ),
    ] {
        let path = folder.path().join(payloads);
        let path = path.to_str().unwrap();
        let film = ["demo", "--frames", "6", "--fps", "max", "--cuts", "3"];
        let more = ["--capture", path, "--capture-payloads", payloads];
        let demo = run(film.into_iter().chain(more));
        demo.expect(
            0,
            &format!("warning: capture: whoever reads {path} {words}"),
        );
        // And of nothing else: the cuts are made on purpose.
        assert_eq!(demo.stderr.lines().count(), 1, "{}", demo.stderr);
    }
}

#[test]
fn numbers_of_cuts_that_make_no_sense() {
    for (cuts, words) in [
        ("7", "a film of 12 pictures bears 6 cuts"),
        ("4294967295", "--frames"),
        ("4294967296", "--cuts"),
        ("-1", "-1"),
        ("many", "--cuts"),
        ("1.5", "--cuts"),
    ] {
        run(["demo", "--frames", "12", "--cuts", cuts]).expect(2, words);
    }
}

#[test]
fn the_guide_names_every_flag() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    let guide = fs::read_to_string(guide).unwrap();
    for command in [
        &["keygen"][..],
        &["pipe", "send"],
        &["pipe", "recv"],
        &["demo"],
        &["trace"],
    ] {
        let help = run(command.iter().copied().chain(["--help"])).text();
        for word in help.split([' ', ',', '\n', '`', '(', ')', '.', ';', ':']) {
            if word.starts_with("--") && word.len() > 2 && word != "--help" {
                assert!(guide.contains(word), "{command:?} {word}");
            }
        }
    }
}
