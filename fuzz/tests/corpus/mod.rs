//! What the fuzzer has found worth keeping: an archive for each target, and files beside it whose
//! names say what they once found.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// The size that parts of an archive are multiples of.
const BLOCK: usize = 512;

/// A path in this package.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a directory, in order of their names.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// All inputs of a target, each with the command that tries it alone, from the repository's root.
///
/// # Panics
///
/// Where the archive is missing or damaged, or has next to nothing in it.
pub(crate) fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let run = format!("cargo run --manifest-path fuzz/Cargo.toml --bin {target} --");
    let path = here("corpus").join(target).with_extension("tar");
    let archive = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let archived = unpack(&archive).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(
        archived.len() >= 3,
        "{path:?} has {} inputs",
        archived.len()
    );
    let extract = format!("tar -xOf fuzz/corpus/{target}.tar");
    let alone = |(name, input)| (format!("{extract} {name} | {run} /dev/stdin"), input);
    let mut inputs: Vec<_> = archived.into_iter().map(alone).collect();

    let named = here("corpus").join(target);
    if named.is_dir() {
        for path in files(&named) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let alone = format!("{run} fuzz/corpus/{target}/{name}");
            inputs.push((alone, fs::read(&path).unwrap()));
        }
    }
    inputs
}

/// The inputs of an archive with their names, or why it is not whole.
fn unpack(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut inputs = Vec::new();
    let mut end = 0;
    let mut entries = tar::Archive::new(archive);
    for entry in entries.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let begin = usize::try_from(entry.raw_file_position()).unwrap();
        let mut input = Vec::new();
        entry
            .read_to_end(&mut input)
            .map_err(|error| format!("{name}: {error}"))?;
        // libFuzzer names an input after what is in it.
        if name != sha1(&input) {
            return Err(format!("{name} is not what it was"));
        }
        end = (begin + input.len()).next_multiple_of(BLOCK);
        inputs.push((name, input));
    }
    // An archive ends with two blocks of zeros. One that was cut between two inputs reads well, too.
    let behind = archive.get(end..).unwrap_or_default();
    if behind.len() < 2 * BLOCK || behind.iter().any(|byte| *byte != 0) {
        return Err(format!("does not end behind its {} inputs", inputs.len()));
    }
    Ok(inputs)
}

/// In hexadecimal, as a name has it.
fn sha1(input: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, input);
    let mut text = String::new();
    for byte in digest.as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
