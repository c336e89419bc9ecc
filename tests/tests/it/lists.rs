//! No scenario is forgotten: each stands once in the list. And the list of backends leaves out only
//! what there is.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use countersign_tests::backends::{self, BACKENDS, Couple};
use countersign_tests::{adversary, conformance, secure};

/// The scenarios that the modules in a folder have.
fn written(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut written = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let name = line.strip_prefix("pub fn ");
            if let Some(name) = name.and_then(|rest| rest.strip_suffix("(pair: &Pair) {")) {
                written.push(format!("{module}::{name}"));
            }
        }
    }
    written.sort();
    written
}

#[test]
fn every_scenario_is_listed_once() {
    let mut listed: Vec<_> = conformance::scenarios()
        .map(conformance::Scenario::path)
        .collect();
    listed.sort();
    assert!(listed.len() > 100, "{} scenarios", listed.len());
    assert_eq!(written("src/scenarios"), listed);
}

#[test]
fn every_scenario_of_streams_is_listed_once() {
    let name = |path: String| path.rsplit(':').next().unwrap().to_owned();
    let mut written: Vec<_> = written("src/secure/scenarios")
        .into_iter()
        .map(name)
        .collect();
    let mut listed: Vec<_> = secure::all().map(|scenario| scenario.name).collect();
    written.sort();
    listed.sort_unstable();
    assert!(listed.len() > 20, "{} scenarios", listed.len());
    assert_eq!(written, listed);
}

#[test]
fn what_backends_can_not_do_is_in_the_list() {
    for backend in BACKENDS {
        for (pattern, why) in backend.cannot {
            let stem = pattern.trim_end_matches('*');
            let names =
                |path: &String| path == stem || pattern.ends_with('*') && path.starts_with(stem);
            let mut scenarios = conformance::scenarios().map(conformance::Scenario::path);
            let found = scenarios.any(|path| names(&path))
                || secure::all().any(|scenario| names(&scenario.path()))
                || adversary::all().any(|scenario| names(&scenario.path()));
            assert!(found, "{} can't do {pattern}", backend.name);
            assert!(!why.is_empty(), "{} says why", backend.name);
        }
    }
}

#[test]
fn each_pair_is_run_once() {
    let names: BTreeSet<_> = backends::couples().iter().map(Couple::name).collect();
    assert_eq!(names.len(), BACKENDS.len() * BACKENDS.len());
}

#[test]
fn every_adversary_has_a_line_in_the_documents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(folder.join("../docs/verification.md")).unwrap();
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
    let mut listed: Vec<_> = adversary::all().map(|scenario| scenario.path()).collect();
    documented.sort();
    listed.sort();
    assert_eq!(documented, listed);
}
