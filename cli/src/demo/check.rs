//! Checks that what was received matches the verdicts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use countersign::VerdictKind;
use sha2::{Digest, Sha256};

use super::traffic::Sent;

/// SHA-256 of a message.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(message: &[u8]) -> Hash {
    Sha256::digest(message).into()
}

/// Distinguishes a message from all others of its channel: its number among those sent, from 1. It
/// precedes the content, since the same picture may come again.
pub(super) type Identity = u64;

/// Returns a message: its identity, then its content.
pub(super) fn message(identity: Identity, content: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(8 + content.len());
    message.extend_from_slice(&identity.to_be_bytes());
    message.extend_from_slice(content);
    message.freeze()
}

/// Returns the identity and the content of a message, or `None` if it has no identity.
pub(super) fn read(message: &[u8]) -> Option<(Identity, &[u8])> {
    let (identity, content) = message.split_first_chunk()?;
    Some((Identity::from_be_bytes(*identity), content))
}

/// A message that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// `None` if the message was too short to have one.
    pub(super) identity: Option<Identity>,
    /// Of the whole message.
    pub(super) hash: Hash,
    /// When it was taken, and how old it was at most then, if that is known.
    pub(super) at: Instant,
    pub(super) age: Option<Duration>,
}

impl Received {
    pub(super) fn of(message: &countersign::Received) -> Self {
        Self {
            at: Instant::now(),
            age: message.age().map(|age| age.at_most),
            ..Self::with(message)
        }
    }

    /// Returns a message with this content, of unknown age.
    pub(super) fn with(message: &[u8]) -> Self {
        Self {
            identity: read(message).map(|(identity, _)| identity),
            hash: hash(message),
            at: Instant::now(),
            age: None,
        }
    }
}

/// How the received messages differ from what the verdicts say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Handled according to their verdicts, but never arrived.
    pub(super) lost: u64,
    /// Arrived again.
    pub(super) duplicated: u64,
    /// Arrived with different content.
    pub(super) changed: u64,
    /// Arrived after one that was sent later.
    pub(super) disordered: u64,
    /// Arrived although their verdicts say that they were not sent, or never sent at all.
    pub(super) unexpected: u64,
}

impl Findings {
    pub(super) fn is_good(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::Add for Findings {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            changed: self.changed + other.changed,
            disordered: self.disordered + other.disordered,
            unexpected: self.unexpected + other.unexpected,
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} duplicated, {} changed, {} out of order, {} unexpected",
            self.lost, self.duplicated, self.changed, self.disordered, self.unexpected
        )
    }
}

/// Compares both ends. A message that was handled must have arrived: unchanged, in order and once.
/// One whose fate is unknown may have arrived. No other may.
pub(super) fn check(sent: &[Sent], received: &[Received]) -> Findings {
    let mut findings = Findings::default();
    let mut ledger = BTreeMap::new();
    let mut latest = 0;
    for arrived in received {
        let found = arrived.identity.and_then(|identity| {
            let at = usize::try_from(identity.checked_sub(1)?).ok()?;
            Some((identity, sent.get(at)?))
        });
        let Some((identity, message)) = found else {
            findings.unexpected += 1;
            continue;
        };
        findings.changed += u64::from(message.hash != arrived.hash);
        let times = ledger.entry(identity).or_insert(0_u64);
        *times += 1;
        if *times > 1 {
            findings.duplicated += 1;
            continue;
        }
        findings.disordered += u64::from(identity < latest);
        latest = latest.max(identity);
        let may_arrive = matches!(message.verdict, VerdictKind::Handled | VerdictKind::Unknown);
        findings.unexpected += u64::from(!may_arrive);
    }
    let handled = (1..)
        .zip(sent)
        .filter(|(_, message)| message.verdict == VerdictKind::Handled);
    let lost = handled.filter(|(identity, _)| !ledger.contains_key(identity));
    findings.lost = lost.count() as u64;
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use VerdictKind::{Expired, Handled, Superseded, Unknown, Withdrawn};

    /// Returns the findings for messages with these verdicts when these arrive, each by its number
    /// and its content. All are sent with the content `a`: the same picture may come again.
    fn result(verdicts: &[VerdictKind], received: &[(Identity, &str)]) -> Findings {
        let of = |(identity, verdict): (Identity, &VerdictKind)| Sent {
            hash: hash(&message(identity, b"a")),
            bytes: 9,
            verdict: *verdict,
            at: Instant::now(),
            took: Duration::ZERO,
        };
        let sent: Vec<_> = (1..).zip(verdicts).map(of).collect();
        let arrived = |(identity, content): &(Identity, &str)| {
            Received::with(&message(*identity, content.as_bytes()))
        };
        let received: Vec<_> = received.iter().map(arrived).collect();
        check(&sent, &received)
    }

    #[test]
    fn what_is_right() {
        let verdicts = [Handled, Superseded, Expired, Unknown, Withdrawn, Handled];
        for received in [&[(1, "a"), (6, "a")][..], &[(1, "a"), (4, "a"), (6, "a")]] {
            let findings = result(&verdicts, received);
            assert!(findings.is_good(), "{findings}");
        }
        assert!(result(&[], &[]).is_good());
    }

    #[test]
    fn what_is_wrong() {
        let good = Findings::default();
        let lost = Findings { lost: 1, ..good };
        let duplicated = Findings {
            duplicated: 1,
            ..good
        };
        let changed = Findings { changed: 1, ..good };
        let disordered = Findings {
            disordered: 1,
            ..good
        };
        let unexpected = Findings {
            unexpected: 1,
            ..good
        };
        let verdicts = [Handled, Superseded, Handled];
        for (received, findings) in [
            (&[(1, "a")][..], lost),
            (&[(3, "a")], lost),
            (&[(1, "a"), (3, "b")], changed),
            (&[(3, "a"), (1, "a")], disordered),
            (&[(1, "a"), (1, "a"), (3, "a")], duplicated),
            // However late the duplicate comes.
            (&[(1, "a"), (3, "a"), (1, "a")], duplicated),
            (&[(1, "a"), (2, "a"), (3, "a")], unexpected),
            (&[(1, "a"), (3, "a"), (4, "a")], unexpected),
            (&[(0, "a"), (1, "a"), (3, "a")], unexpected),
            (&[(1, "a"), (1, "a")], lost + duplicated),
            (&[], lost + lost),
        ] {
            assert_eq!(result(&verdicts, received), findings, "{received:?}");
        }
        let short = Received::with(b"short");
        assert_eq!(check(&[], &[short]), unexpected);
        assert!(!unexpected.is_good());
        assert_eq!(
            (lost + duplicated).to_string(),
            "1 lost, 1 duplicated, 0 changed, 0 out of order, 0 unexpected"
        );
    }
}
