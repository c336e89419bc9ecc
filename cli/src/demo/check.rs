//! Whether what was received is what the verdicts say.

use aws_lc_rs::digest;
use countersign_tokio::core::VerdictKind;

use super::traffic::Sent;

/// SHA-256 of a message.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(message: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    hash
}

/// How the received messages differ from what the verdicts say. Messages count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// A handled message is missing at the end.
    #[error("message {0} has the verdict handled, and did not arrive")]
    Missing(usize),
    /// Where a handled message was to come, another one did.
    #[error("message {0} has the verdict handled, and another one arrived in its place")]
    Different(usize),
    /// The message before arrived once more.
    #[error("a message arrived twice before message {0}")]
    Twice(usize),
    /// More arrived than was handled.
    #[error("{0} more messages arrived than were handled")]
    Surplus(usize),
}

/// Compares both ends. What was handled must have arrived: unchanged, in order, once. What has an
/// unknown fate may have arrived. Nothing else may.
pub(super) fn check(sent: &[Sent], received: &[Hash]) -> Result<(), Wrong> {
    let mut rest = received.iter();
    let mut last = None;
    for (number, message) in (1..).zip(sent) {
        let next = rest.as_slice().first();
        match (message.verdict, next) {
            (VerdictKind::Handled | VerdictKind::Unknown, Some(hash)) if *hash == message.hash => {
                last = rest.next();
            }
            (VerdictKind::Handled, None) => return Err(Wrong::Missing(number)),
            (VerdictKind::Handled, Some(_)) if next == last => return Err(Wrong::Twice(number)),
            (VerdictKind::Handled, Some(_)) => return Err(Wrong::Different(number)),
            _ => {}
        }
    }
    match rest.len() {
        0 => Ok(()),
        count => Err(Wrong::Surplus(count)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use VerdictKind::{Expired, Handled, Superseded, Unknown};

    fn sent(messages: &[(&str, VerdictKind)]) -> Vec<Sent> {
        let of = |&(text, verdict): &(&str, VerdictKind)| Sent {
            hash: hash(text.as_bytes()),
            bytes: text.len(),
            verdict,
            at: Instant::now(),
            took: Duration::ZERO,
        };
        messages.iter().map(of).collect()
    }

    fn result(messages: &[(&str, VerdictKind)], received: &[&str]) -> Result<(), Wrong> {
        let received: Vec<_> = received.iter().map(|text| hash(text.as_bytes())).collect();
        check(&sent(messages), &received)
    }

    #[test]
    fn what_is_right() {
        let messages = [
            ("a", Handled),
            ("b", Superseded),
            ("c", Expired),
            ("d", Unknown),
            ("e", Handled),
        ];
        assert_eq!(result(&messages, &["a", "e"]), Ok(()));
        assert_eq!(result(&messages, &["a", "d", "e"]), Ok(()));
        assert_eq!(result(&[], &[]), Ok(()));
        // The same picture twice in the film.
        assert_eq!(
            result(&[("a", Handled), ("a", Handled)], &["a", "a"]),
            Ok(())
        );
    }

    #[test]
    fn what_is_wrong() {
        let messages = [("a", Handled), ("b", Superseded), ("c", Handled)];
        for (received, wrong) in [
            (&["a"][..], Wrong::Missing(3)),
            (&["a", "C"], Wrong::Different(3)),
            (&["c", "a"], Wrong::Different(1)),
            (&["a", "a", "c"], Wrong::Twice(3)),
            (&["a", "b", "c"], Wrong::Different(3)),
            (&["a", "c", "c"], Wrong::Surplus(1)),
        ] {
            assert_eq!(result(&messages, received), Err(wrong), "{received:?}");
        }
    }
}
