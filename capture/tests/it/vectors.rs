//! The vectors of the format, and captures that were kept: what they did, links still do.
//!
//! A capture of something that went wrong in the field becomes a test by being put into
//! `tests/captures`.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::fs;
use std::path::Path;

use countersign_capture::{Header, Reader, Record, replay};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Name, bytes and meaning of each vector.
fn vectors(text: &str) -> Vec<(&str, Vec<u8>, &str)> {
    let blocks = text.split("\n[").skip(1);
    let vector = |block| {
        let (name, rest) = str::split_once(block, "]\n").unwrap();
        let value = |key: &str| {
            let mut lines = rest.lines();
            lines.find_map(|line| line.strip_prefix(key)).unwrap()
        };
        let digits = value("bytes: ");
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let bytes = (0..digits.len()).step_by(2).map(byte).collect();
        (name, bytes, value("is: "))
    };
    blocks.map(vector).collect()
}

#[test]
fn vectors_are_what_they_say() {
    let text = read("../docs/vectors/capture.txt");
    let vectors = vectors(&text);
    let (name, header, _) = &vectors[0];
    assert_eq!(*name, "header");
    let reader = Reader::new(header).unwrap();
    let Header { payloads, .. } = reader.header();
    assert!(!payloads);
    let mut names = Vec::new();
    for (name, bytes, meaning) in &vectors {
        assert_eq!(minicbor::display(bytes).to_string(), *meaning, "{name}");
        if *name == "header" {
            continue;
        }
        let capture = [&header[..], bytes].concat();
        let read: Vec<Record> = Reader::new(&capture).unwrap().map(Result::unwrap).collect();
        let [record] = &read[..] else {
            panic!("{name} is one record");
        };
        let kind = record.entry.name();
        assert!(
            *name == kind || name.starts_with(&format!("{kind}-")),
            "{name}"
        );
        names.push(kind);
    }
    names.dedup();
    assert!(names.len() >= 20, "{names:?}");
}

#[test]
fn the_specification_names_every_record() {
    let specification = read("../docs/capture.md");
    let source = read("src/record.rs");
    let names = source.split("pub const fn name(&self)").nth(1).unwrap();
    let names = names.split("\n    }").next().unwrap();
    let names: Vec<_> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 20);
    for name in names {
        let row = format!("| `{name}` |");
        assert!(specification.contains(&row), "{name} is not specified");
    }
}

#[test]
fn captures_that_were_kept_do_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let replayed = replay(&fs::read(&path).unwrap());
        let replayed = replayed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(replayed.records > 10, "{}", path.display());
        played += 1;
    }
    assert!(played >= 4);
}
