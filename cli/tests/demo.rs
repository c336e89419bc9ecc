//! `countersign demo`, and what is written about the program.

mod common;

use std::fs;

use common::run;
use countersign_cli::exit::Exit;

#[test]
fn both_backends_at_both_paces() {
    for backend in ["std", "tokio"] {
        for (frames, fps) in [("300", "max"), ("20", "200")] {
            let demo = run([
                "demo",
                "--backend",
                backend,
                "--frames",
                frames,
                "--fps",
                fps,
            ]);
            demo.expect(0, "");
            let text = demo.text();
            assert!(text.contains("checked by SHA-256"), "{text}");
            let cells = |name: &str| -> Vec<String> {
                let line = text.lines().find(|line| line.contains(name)).unwrap();
                let cells = line.split('|').map(|cell| cell.trim().to_owned());
                cells.filter(|cell| !cell.is_empty()).skip(1).collect()
            };
            assert_eq!(cells("| messages ")[0], frames);
            assert_eq!(cells("| unknown "), ["0", "0"]);
            assert_ne!(cells("| handled ")[0], "0");
            // No bar where there is no terminal.
            assert_eq!(demo.stderr, "");
        }
    }
}

#[test]
fn exit_codes_are_the_same_wherever_they_are_told() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    let guide = fs::read_to_string(guide).unwrap();
    let help = run(["--help"]);
    help.expect(0, "");
    for exit in Exit::ALL {
        let (code, meaning) = (exit.code(), exit.meaning());
        assert!(guide.contains(&format!("| {code} | {meaning} |")), "{code}");
        assert!(
            help.text().contains(&format!("  {code}  {meaning}")),
            "{code}"
        );
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
    ] {
        let help = run(command.iter().copied().chain(["--help"])).text();
        for word in help.split([' ', ',', '\n', '`', '(', ')', '.', ';', ':']) {
            if word.starts_with("--") && word.len() > 2 && word != "--help" {
                assert!(guide.contains(word), "{command:?} {word}");
            }
        }
    }
}
