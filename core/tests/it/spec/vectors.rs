//! The vectors in `docs/vectors`, in both directions.
//!
//! [FRAME-1] [HELLO-4] [STREAM-1]

mod exchanges;
mod frames;
mod invalid;

use std::fs;
use std::path::Path;

/// One vector: its name and its lines.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
}

impl Vector {
    /// All values under a key.
    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let start = format!("{key}:");
        self.lines
            .iter()
            .filter_map(move |line| line.strip_prefix(start.as_str()))
            .map(str::trim)
    }

    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> &str {
        let Some(value) = self.all(key).next() else {
            panic!("'{}' has no '{key}'", self.name);
        };
        value
    }

    pub(crate) fn number<T: core::str::FromStr>(&self, key: &str) -> T {
        parse(self.get(key))
    }
}

pub(crate) fn parse<T: core::str::FromStr>(text: &str) -> T {
    let Ok(value) = text.parse() else {
        panic!("'{text}' is not what it should be");
    };
    value
}

/// Bytes in hex, `-` for none.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    match text {
        "-" => Vec::new(),
        _ => crate::common::bytes::from_hex(text),
    }
}

pub(crate) fn read(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/vectors")
        .join(file);
    let text = fs::read_to_string(path).expect("the vectors");
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').expect("a bracket").to_owned();
            let lines = Vec::new();
            vectors.push(Vector { name, lines });
        } else if !line.is_empty() {
            let vector = vectors.last_mut().expect("a name before its lines");
            vector.lines.push(line.to_owned());
        }
    }
    assert!(!vectors.is_empty());
    vectors
}
