//! Each scenario is registered once, and the list of backends leaves out only what there is.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use countersign_tests::backends::{self, BACKENDS};
use countersign_tests::suite::Scenario;
use countersign_tests::{adversary, scenarios, secure};

/// A name with nothing behind it, and a scenario that is not registered, do not compile.
#[test]
fn no_scenario_is_registered_twice() {
    let links: Vec<_> = scenarios::all().map(Scenario::path).collect();
    let streams: Vec<_> = secure::scenarios::all().map(Scenario::path).collect();
    let attacks: Vec<_> = adversary::all().map(|attack| attack.path()).collect();
    for (names, least) in [(links, 150), (streams, 25), (attacks, 90)] {
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(names.len() >= least, "{names:?}");
    }
}

#[test]
fn what_backends_can_not_do_is_in_the_list() {
    for backend in BACKENDS {
        for (pattern, why) in backend.cannot {
            let stem = pattern.trim_end_matches('*');
            let names =
                |path: &String| path == stem || pattern.ends_with('*') && path.starts_with(stem);
            let found = scenarios::all().any(|scenario| names(&scenario.path()))
                || secure::scenarios::all().any(|scenario| names(&scenario.path()))
                || adversary::all().any(|attack| names(&attack.path()));
            assert!(found, "{} can't do {pattern}", backend.name);
            assert!(!why.is_empty(), "{} says why", backend.name);
        }
    }
}

#[test]
fn each_pair_is_run_once() {
    let names: BTreeSet<_> = backends::all_couples()
        .map(|couple| couple.name())
        .collect();
    assert_eq!(names.len(), BACKENDS.len() * BACKENDS.len());
}

#[test]
fn every_adversary_has_a_line_in_the_documents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(folder.join("../docs/adversaries.md")).unwrap();
    let mut documented = Vec::new();
    for line in document.lines() {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
        let [.., test] = cells[..] else { continue };
        let Some((name, ends)) = test.trim().rsplit_once(", ") else {
            continue;
        };
        let name = name.trim_matches('`');
        match ends {
            "both" => documented.extend(["server", "client"].map(|end| format!("{end}::{name}"))),
            "server" | "client" => documented.push(format!("{ends}::{name}")),
            _ => {}
        }
    }
    let mut listed: Vec<_> = adversary::all().map(|attack| attack.path()).collect();
    documented.sort();
    listed.sort();
    assert_eq!(documented, listed);
}
