//! How much the log hears of those who are refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use countersign_endpoint::Fingerprint;

/// For how long a listener's limit of lines counts.
const WINDOW: Duration = Duration::from_secs(60);

/// A number of lines for each minute, and how many were left out.
#[derive(Debug)]
pub(crate) struct Quota {
    most: usize,
    /// When the minute began.
    since: Option<Instant>,
    lines: usize,
    left_out: u64,
}

impl Quota {
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            since: None,
            lines: 0,
            left_out: 0,
        }
    }

    /// Whether another line may be logged, and of how many it is to be said first that they were left
    /// out, in the minutes before.
    pub(crate) fn ask(&mut self, now: Instant) -> (bool, u64) {
        let mut left_out = 0;
        if self.is_over(now) {
            self.since = Some(now);
            self.lines = 0;
            left_out = self.take_left_out();
        }
        let granted = self.lines < self.most;
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

    /// How many lines were left out that nobody was told of.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// Of how many peers there is a quota each at a time. An authority may have certified any number.
const KNOWN: usize = 1024;

/// One quota for all strangers, of whom there is no end, and one for each peer that has proved who it
/// is, so that none of them hides what is said of another.
#[derive(Debug)]
pub(crate) struct Quotas {
    most: usize,
    strangers: Quota,
    known: BTreeMap<Fingerprint, Quota>,
}

impl Quotas {
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            strangers: Quota::new(most),
            known: BTreeMap::new(),
        }
    }

    /// As [`Quota::ask`], about a peer with this key or about a stranger.
    pub(crate) fn ask(&mut self, known: Option<Fingerprint>, now: Instant) -> (bool, u64) {
        if self.known.len() >= KNOWN {
            self.forget(now);
        }
        let has_room = self.known.len() < KNOWN;
        match known {
            Some(peer) if has_room || self.known.contains_key(&peer) => {
                let most = self.most.max(1);
                let quota = self.known.entry(peer);
                quota.or_insert_with(|| Quota::new(most)).ask(now)
            }
            _ => self.strangers.ask(now),
        }
    }

    /// Forgets those of whom nothing was said for a minute.
    fn forget(&mut self, now: Instant) {
        let strangers = &mut self.strangers;
        self.known.retain(|_, quota| {
            let is_over = quota.is_over(now);
            if is_over {
                strangers.left_out += quota.take_left_out();
            }
            !is_over
        });
    }

    /// As [`Quota::take_left_out`], of all together.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        let known = self.known.values_mut().map(Quota::take_left_out);
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
        // There is no end of those whom an authority has certified.
        let mut quotas = Quotas::new(1);
        for number in 0..2 * KNOWN as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            quotas.ask(Some(Fingerprint(key)), now);
        }
        assert_eq!(quotas.known.len(), KNOWN);
        assert_eq!(quotas.ask(one, now + WINDOW), (true, 0));
        assert_eq!(quotas.known.len(), 1);
        // Whoever wants no word of strangers still hears of peers.
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
        // Another minute, and word of those that were left out.
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
