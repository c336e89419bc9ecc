//! What a peer's name may be.

use crate::fingerprint::Fingerprint;

/// The longest name, in bytes.
pub(crate) const MAX: usize = 64;

/// Whether `name` can be a peer's name: a word that is neither a comment nor a pin, and printable.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |one: char| !one.is_whitespace() && one != '"';
    let is_shown = countersign_core::Escaped::whole(name).to_string() == name;
    (1..=MAX).contains(&name.len())
        && name.chars().all(is_word)
        && is_shown
        && !name.starts_with(['#', '-'])
        && !Fingerprint::is_meant(name)
        && !name.starts_with("file:")
}
