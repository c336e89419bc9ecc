//! How much the log hears of strangers.

use std::time::{Duration, Instant};

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
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= WINDOW)
        {
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

    /// How many lines were left out that nobody was told of.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
