//! No scenario is forgotten: each stands in exactly one list.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The scenarios that the modules have, and how often each is listed.
fn listings() -> BTreeMap<(String, String), usize> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut listings = BTreeMap::new();
    for file in fs::read_dir(sources.join("scenarios")).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let name = line.strip_prefix("pub fn ");
            if let Some(name) = name.and_then(|rest| rest.strip_suffix("(pair: &Pair) {")) {
                listings.insert((module.clone(), name.to_owned()), 0);
            }
        }
    }
    let mut module = String::new();
    let lists = fs::read_to_string(sources.join("conformance.rs")).unwrap();
    for line in lists
        .lines()
        .filter(|line| line.starts_with("            "))
    {
        let words = line.trim();
        if let Some(name) = words.strip_suffix(" {") {
            name.clone_into(&mut module);
        } else if let Some((name, _)) = words.split_once([',', ':'])
            && let Some(count) = listings.get_mut(&(module.clone(), name.to_owned()))
        {
            *count += 1;
        }
    }
    listings
}

#[test]
fn every_scenario_is_listed_once() {
    let listings = listings();
    assert!(listings.len() > 100, "{} scenarios", listings.len());
    for ((module, name), count) in listings {
        assert_eq!(count, 1, "{module}::{name}");
    }
}

/// What stands in a file, in lines that begin with `start` and end with `end`.
fn names(file: &Path, start: &str, end: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix(start)?.strip_suffix(end));
    names.map(str::to_owned).collect()
}

#[test]
fn every_scenario_of_streams_is_listed_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/secure");
    let scenarios = fs::read_dir(folder.join("scenarios")).unwrap();
    let mut there: Vec<_> = scenarios
        .flat_map(|file| names(&file.unwrap().path(), "pub fn ", "(pair: &Pair) {"))
        .collect();
    let mut listed = names(&folder.join("mod.rs"), "            ", ",");
    listed.retain(|line| {
        line.bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    });
    there.sort();
    listed.sort();
    assert!(there.len() > 20, "{} scenarios", there.len());
    assert_eq!(there, listed);
}
