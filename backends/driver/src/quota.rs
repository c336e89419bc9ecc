//! Limits on the log lines about refused connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use countersign_endpoint::Fingerprint;

/// The period to which a listener's limit of lines applies.
const WINDOW: Duration = Duration::from_secs(60);

/// A limit of lines per minute, and the number of lines that were left out.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: usize,
    /// When the current minute began.
    since: Option<Instant>,
    lines: usize,
    left_out: u64,
}

impl Quota {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            since: None,
            lines: 0,
            left_out: 0,
        }
    }

    /// Returns whether another line may be logged, and how many lines were left out in the minutes
    /// before, which are to be reported first.
    pub(crate) fn ask(&mut self, now: Instant) -> (bool, u64) {
        let mut left_out = 0;
        if self.is_over(now) {
            self.since = Some(now);
            self.lines = 0;
            left_out = self.take_left_out();
        }
        let granted = self.lines < self.limit;
        if granted {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        (granted, left_out)
    }

    fn is_over(&self, now: Instant) -> bool {
        let since = |since| now.duration_since(since) >= WINDOW;
        self.since.is_none_or(since)
    }

    /// Takes the number of lines that were left out and not reported yet.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// How many peers have a quota each at a time. An authority may have certified any number.
const MAX_PEERS: usize = 1024;

/// One quota for all strangers, whose number is unbounded, and one for each authenticated peer, so
/// that none of them crowds out the lines about another.
#[derive(Debug)]
pub(crate) struct Quotas {
    limit: usize,
    strangers: Quota,
    peers: BTreeMap<Fingerprint, Quota>,
}

impl Quotas {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            strangers: Quota::new(limit),
            peers: BTreeMap::new(),
        }
    }

    /// As [`Quota::ask`], for a peer with this key or for a stranger.
    pub(crate) fn ask(&mut self, known: Option<Fingerprint>, now: Instant) -> (bool, u64) {
        if self.peers.len() >= MAX_PEERS {
            self.remove_idle(now);
        }
        let has_room = self.peers.len() < MAX_PEERS;
        match known {
            Some(peer) if has_room || self.peers.contains_key(&peer) => {
                let limit = self.limit.max(1);
                let quota = self.peers.entry(peer);
                quota.or_insert_with(|| Quota::new(limit)).ask(now)
            }
            _ => self.strangers.ask(now),
        }
    }

    /// Removes the peers that were not logged for a minute.
    fn remove_idle(&mut self, now: Instant) {
        let strangers = &mut self.strangers;
        self.peers.retain(|_, quota| {
            let is_over = quota.is_over(now);
            if is_over {
                strangers.left_out += quota.take_left_out();
            }
            !is_over
        });
    }

    /// As [`Quota::take_left_out`], for all together.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        let known = self.peers.values_mut().map(Quota::take_left_out);
        known.sum::<u64>() + self.strangers.take_left_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_uses_up_its_own_lines_alone() {
        let mut quotas = Quotas::new(2);
        let [one, other] = [1, 2].map(|byte| Some(Fingerprint([byte; 32])));
        let now = Instant::now();
        for _ in 0..2 {
            assert_eq!(quotas.ask(one, now), (true, 0));
        }
        assert_eq!(quotas.ask(one, now), (false, 0));
        assert_eq!(quotas.ask(other, now), (true, 0));
        for granted in [true, true, false, false] {
            assert_eq!(quotas.ask(None, now), (granted, 0));
        }
        assert_eq!(quotas.take_left_out(), 3);
        // An authority may have certified any number of peers.
        let mut quotas = Quotas::new(1);
        for number in 0..2 * MAX_PEERS as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            quotas.ask(Some(Fingerprint(key)), now);
        }
        assert_eq!(quotas.peers.len(), MAX_PEERS);
        assert_eq!(quotas.ask(one, now + WINDOW), (true, 0));
        assert_eq!(quotas.peers.len(), 1);
        // A limit of zero for strangers leaves one line for each peer.
        assert_eq!(Quotas::new(0).ask(one, now), (true, 0));
    }

    #[test]
    fn as_many_lines_as_the_limit_says_and_one_above() {
        let mut quota = Quota::new(3);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(quota.ask(start), (true, 0));
        }
        assert_eq!(quota.ask(start), (false, 0));
        let late = start + WINDOW - Duration::from_millis(1);
        assert_eq!(quota.ask(late), (false, 0));
        // A new minute reports the lines that were left out.
        assert_eq!(quota.ask(start + WINDOW), (true, 2));
        assert_eq!(quota.ask(start + WINDOW), (true, 0));
        assert_eq!(quota.take_left_out(), 0);
    }

    #[test]
    fn without_any_line_they_are_counted_all_the_same() {
        let mut quota = Quota::new(0);
        let start = Instant::now();
        assert_eq!(quota.ask(start), (false, 0));
        assert_eq!(quota.ask(start + WINDOW), (false, 1));
        assert_eq!(quota.take_left_out(), 1);
    }
}
