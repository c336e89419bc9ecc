//! Every id of the specification has a test that names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All ids in a text, in the form of the specification: capitals, a dash, digits, in brackets.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split('[').skip(1).filter_map(|rest| {
        let id = rest.split(']').next()?;
        let (word, figure) = id.split_once('-')?;
        let is_id = !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_uppercase())
            && !figure.is_empty()
            && figure.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then_some(id)
    })
}

/// Ids where a sentence ends with them; others are references.
fn defined(spec: &str) -> Vec<&str> {
    spec.lines()
        .filter(|line| line.ends_with(']'))
        .filter_map(|line| ids(&line[line.rfind('[')?..]).next())
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(fs::read_to_string(&path));
        }
    }
}

#[test]
fn every_id_has_a_test() {
    let spec = fs::read_to_string(root().join("docs/protocol.md")).expect("the specification");
    let defined = defined(&spec);
    let unique: BTreeSet<&str> = defined.iter().copied().collect();
    assert_eq!(unique.len(), defined.len(), "an id is given twice");

    let mut files = Vec::new();
    for folder in ["core/tests", "backends/endpoint/tests", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let named: BTreeSet<&str> = files.iter().flat_map(|file| ids(file)).collect();
    let without: Vec<&&str> = unique.iter().filter(|id| !named.contains(*id)).collect();
    assert!(without.is_empty(), "without a test: {without:?}");
    let unknown: Vec<&&str> = named.iter().filter(|id| !unique.contains(*id)).collect();
    assert!(unknown.is_empty(), "not in the specification: {unknown:?}");
    let referred: Vec<&str> = ids(&spec).filter(|id| !unique.contains(id)).collect();
    assert!(
        referred.is_empty(),
        "referred to and not there: {referred:?}"
    );
}
