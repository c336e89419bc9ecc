//! Reads a list of peers: each line is one, with its name and its pins.

use std::path::Path;
use std::sync::Arc;

use countersign_core::Escaped;

use crate::fingerprint::Fingerprint;
use crate::peer_name::{self, is_name};
use crate::pem::BYTE_ORDER_MARK;
use crate::pin::Pin;
use crate::pin_file;
use crate::setup_error::{Origin, SetupError};

/// The longest list that is read, in bytes: enough for the maximum number of peers, with a long
/// name and several pins each.
pub(crate) const FILE_LIMIT: u64 = 32 << 20;

/// The line of one peer.
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    pub(crate) pins: Vec<Pin>,
}

/// Reads the peers, line by line.
pub(crate) fn read<'a>(
    text: &'a [u8],
    folder: &'a Path,
    origin: &'a Origin,
) -> impl Iterator<Item = Result<Line, SetupError>> + 'a {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    lines.filter_map(move |(line, number)| {
        let read = one(line, folder);
        let named = |(name, pins)| Line { number, name, pins };
        let read = read.map_err(|problem| bad(origin, number, problem));
        read.map(|peer| peer.map(named)).transpose()
    })
}

/// A peer's name and its pins.
type Named = (Arc<str>, Vec<Pin>);

/// What is wrong with a line.
enum Problem {
    /// A problem of the line itself.
    Text(String),
    /// An error of a file that the line names.
    File(SetupError),
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn bad(origin: &Origin, line: usize, problem: Problem) -> SetupError {
    match problem {
        Problem::Text(problem) => SetupError::BadPeer {
            origin: origin.clone(),
            line,
            problem,
        },
        Problem::File(error) => at_line(origin, line, &error),
    }
}

/// Adds the line to an error that it has caused.
pub(crate) fn at_line(origin: &Origin, line: usize, error: &SetupError) -> SetupError {
    SetupError::BadPeer {
        origin: origin.clone(),
        line,
        problem: error.to_string(),
    }
}

/// Makes the error for a name or a key that an earlier line has already.
pub(crate) fn twice(origin: &Origin, line: usize, name: &str, first: usize) -> SetupError {
    SetupError::BadPeer {
        origin: origin.clone(),
        line,
        problem: format!(
            "`{name}` has the name or a key of the peer in line {first}; a peer has one line, with all \
             of its pins"
        ),
    }
}

fn one(line: &[u8], folder: &Path) -> Result<Option<Named>, Problem> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not text in UTF-8".to_owned())?;
    let mut words = words(line)?.into_iter();
    let Some(name) = words.next() else {
        return Ok(None);
    };
    let shown = Escaped::new(&name);
    if name.parse::<Fingerprint>().is_ok() || name.starts_with("file:") {
        return Err(
            format!("a line begins with the peer's name, and this one with `{shown}`").into(),
        );
    }
    if name.starts_with("-----BEGIN") {
        let advice = "a list names files of certificates: `robot file:robot.crt`".to_owned();
        return Err(advice.into());
    }
    if !is_name(&name) {
        return Err(format!(
            "`{shown}` can't name a peer; a name is a word of 1 to {} bytes, without `\"`, and without a \
             `-` in front",
            peer_name::MAX
        )
        .into());
    }
    let mut pins = Vec::new();
    for word in words {
        match word.strip_prefix("file:") {
            Some("") => return Err("`file:` names no file".to_owned().into()),
            Some(path) => {
                pins.extend(pin_file::read_file(&folder.join(path)).map_err(Problem::File)?);
            }
            None => {
                let pin = word.parse::<Fingerprint>();
                let pin = pin.map_err(|error| {
                    let word = Escaped::new(&word);
                    format!("`{word}` is no pin: {error}; a file is named `file:PATH`")
                })?;
                pins.push(pin.into());
            }
        }
    }
    if pins.is_empty() {
        return Err(format!("`{shown}` has no pin; name a fingerprint or `file:PATH`").into());
    }
    Ok(Some((name.into(), pins)))
}

/// Splits a line into words, up to a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for one in line.chars() {
        match one {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if word.is_none() => break,
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            one => word.get_or_insert_default().push(one),
        }
    }
    if quoted {
        return Err("a quotation mark has no other".to_owned());
    }
    words.extend(word);
    Ok(words)
}
