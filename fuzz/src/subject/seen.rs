//! All that can be seen of a run, to compare it with another.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What was seen: as a digest, which takes no memory, and as text if asked for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    digest: DefaultHasher,
    words: Option<Vec<String>>,
}

impl Seen {
    fn in_words() -> Self {
        Self {
            words: Some(Vec::new()),
            ..Self::default()
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.digest.finish() == other.digest.finish()
    }

    pub(crate) fn note(&mut self, what: &(impl Hash + Debug + ?Sized)) {
        what.hash(&mut self.digest);
        if let Some(words) = &mut self.words {
            words.push(format!("{what:?}"));
        }
    }
}

/// Checks that a run shows the same however its input is cut; `first` is that of input whole.
pub(crate) fn same(first: &Seen, cuts: &[usize], run: impl Fn(usize, Seen) -> Seen) {
    for cut in cuts {
        let other = run(*cut, Seen::default());
        if other.is_same(first) {
            continue;
        }
        // Once more, to tell the difference.
        let words = [0, *cut].map(|cut| run(cut, Seen::in_words()).words.unwrap_or_default());
        let [whole, pieces] = &words;
        let both = whole.iter().zip(pieces);
        for (at, (whole, pieces)) in both.enumerate() {
            assert_eq!(whole, pieces, "note {at}, whole and in pieces of {cut}");
        }
        let more = whole.iter().skip(pieces.len());
        let more: Vec<_> = more.chain(pieces.iter().skip(whole.len())).collect();
        panic!("whole and in pieces of {cut}: one shows more, {more:?}");
    }
}
