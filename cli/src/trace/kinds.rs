//! The kinds of lines.

use countersign::capture::Entry;
use countersign::capture::wire::FrameType;

use super::frames;

/// Parses a kind of line in a trace.
pub(crate) fn kind(text: &str) -> Result<String, String> {
    if kinds().any(|kind| kind.eq_ignore_ascii_case(text)) {
        return Ok(text.to_owned());
    }
    let kinds: Vec<_> = kinds().collect();
    Err(format!("no such kind; there are {}", kinds.join(", ")))
}

/// Returns every kind that a line may have.
fn kinds() -> impl Iterator<Item = String> {
    let frames = FrameType::ALL.iter().map(frames::name);
    // Input is shown as frames, and always yields some, even if malformed.
    let records = Entry::NAMES.into_iter().filter(|name| *name != "in");
    let others = ["OK", "no-frame", "too-small"].into_iter();
    frames.chain(others.chain(records).map(str::to_owned))
}
