//! What the documents of the project say of its sources is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Cargo.toml of every member of the workspace, and the fuzzer's.
fn manifests() -> Vec<(String, String)> {
    let workspace = text("Cargo.toml");
    let list = workspace.split("members = [").nth(1).expect("members");
    let members = list.split(']').next().expect("its end").split('"');
    let mut all: Vec<String> = members.skip(1).step_by(2).map(String::from).collect();
    assert!(all.len() > 10, "{all:?}");
    all.push("fuzz".to_owned());
    let manifest = |member: String| {
        let text = text(&format!("{member}/Cargo.toml"));
        (member, text)
    };
    all.into_iter().map(manifest).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_promise_is_attacked() {
    let security = text("SECURITY.md");
    let promised: Vec<&str> = security
        .lines()
        .filter_map(|line| line.strip_prefix("- **S-")?.split("**").next())
        .collect();
    let unique: BTreeSet<&str> = promised.iter().copied().collect();
    assert!(unique.len() > 30, "promises are not read: {unique:?}");
    assert_eq!(unique.len(), promised.len(), "an id is given twice");

    let promises = text("docs/promises.md");
    let rows: Vec<(&str, &str)> = promises
        .lines()
        .filter_map(|line| line.strip_prefix("| S-")?.split_once(" | "))
        .collect();
    let attacked: BTreeSet<&str> = rows.iter().map(|(id, _)| *id).collect();
    assert_eq!(attacked.len(), rows.len(), "a promise has two rows");
    assert_eq!(unique, attacked, "promised, and attacked");

    for (id, tests) in rows {
        let (mut file, mut named) = (None, 0);
        for name in quoted(tests) {
            if let Some(path) = (name.ends_with(".rs") || name == ".ci/run").then_some(name) {
                file = Some((path, text(path)));
                continue;
            }
            let (path, source) = file.as_ref().expect("a file comes first");
            let is_there = match path.ends_with(".rs") {
                true => source.contains(&format!("fn {name}(")),
                false => source.contains(name),
            };
            assert!(is_there, "S-{id}: {path} has no {name}");
            named += 1;
        }
        assert!(named > 0, "S-{id} names no test");
    }
}

/// What a dependency of a manifest's line is called, in a table of dependencies.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut in_table = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            in_table = line.ends_with("dependencies]");
        }
        let name = line.split(['.', ' ', '=']).next()?;
        let is_name = in_table && !name.is_empty() && !name.starts_with(['[', '#', '}', ']']);
        is_name.then_some(name)
    })
}

#[test]
fn every_dependency_is_accounted_for() {
    let document = text("docs/dependencies.md");
    let bold: BTreeSet<&str> = document.split("**").skip(1).step_by(2).collect();
    let manifests = manifests();
    let ours = |name: &str| name.starts_with("countersign") || name == "own-loop";
    let named: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|(_, manifest)| dependencies(manifest))
        .filter(|name| !ours(name))
        .collect();
    assert!(named.len() > 30, "dependencies are not read: {named:?}");
    let without: Vec<&&str> = named.difference(&bold).collect();
    assert!(without.is_empty(), "without a word on why: {without:?}");
}

#[test]
fn no_crate_has_unsafe_code() {
    // `forbid` can't be overruled within a crate, and the compiler enforces the rest.
    assert!(text("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for (member, manifest) in manifests().iter().filter(|(member, _)| member != "fuzz") {
        let follows = manifest.contains("[lints]\nworkspace = true");
        assert!(follows, "{member} may have unsafe code");
    }
}
