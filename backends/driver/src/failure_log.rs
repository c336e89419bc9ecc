//! Which failures to connect were logged already.

use std::time::Duration;

use countersign_core::Instant;
use countersign_endpoint::FailureKind;

/// How many kinds of failures are remembered as logged.
pub(crate) const KINDS: usize = 16;

/// How long after the latest line a failure of a known kind is logged again.
const REMIND: Duration = Duration::from_secs(60);

/// The failures to connect that were logged since the last connection. A link that waits long for
/// its peer logs neither the same failure with each attempt, however its text varies, nor nothing
/// at all.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    /// The kinds of failures, the oldest first.
    kinds: Vec<FailureKind>,
    /// When any failure was logged last.
    latest: Instant,
}

/// Whether a failure is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// None of this kind was logged.
    New,
    /// One of this kind was logged, and none of any kind for a minute.
    Reminder,
    /// One of this kind was logged: of interest at the level `debug` only.
    Repeated,
}

impl FailureLog {
    /// Records a failure of this kind, and returns whether it is to be logged. When there are more
    /// than [`KINDS`], the oldest is forgotten, and is new again when it recurs.
    pub(crate) fn record(&mut self, kind: FailureKind, now: Instant) -> Novelty {
        let novelty = if !self.kinds.contains(&kind) {
            if self.kinds.len() == KINDS {
                self.kinds.remove(0);
            }
            self.kinds.push(kind);
            Novelty::New
        } else if now.saturating_since(self.latest) >= REMIND {
            Novelty::Reminder
        } else {
            Novelty::Repeated
        };
        if novelty != Novelty::Repeated {
            self.latest = now;
        }
        novelty
    }

    /// Forgets all failures, once there is a connection: after it, every failure is new.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use countersign_core::{Config, Link, Loss, Role, SendChannel};
    use countersign_endpoint::ErrorContext;

    use super::*;

    /// Errors that the operating system may report when no connection can be opened, each of
    /// another kind.
    const ERRORS: [io::ErrorKind; KINDS + 1] = [
        io::ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::NotConnected,
        io::ErrorKind::AddrInUse,
        io::ErrorKind::AddrNotAvailable,
        io::ErrorKind::NetworkDown,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::InvalidData,
        io::ErrorKind::TimedOut,
        io::ErrorKind::Unsupported,
        io::ErrorKind::Other,
    ];

    fn kind(error: io::ErrorKind, text: &str) -> FailureKind {
        let config = Config::new().channel(SendChannel::new("data"));
        let link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
        let mut error_context = ErrorContext::default();
        error_context.unopened(&link, io::Error::new(error, text.to_owned()));
        error_context.of_loss(&link, Loss::Transport).kind()
    }

    /// Returns the instant this many seconds after the epoch.
    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn each_kind_is_told_once_whatever_its_words() {
        let mut log = FailureLog::default();
        let mut record = |error, text| log.record(kind(error, text), at(1));
        assert_eq!(record(ERRORS[0], "not at 10:01"), Novelty::New);
        assert_eq!(record(ERRORS[0], "not at 10:02"), Novelty::Repeated);
        assert_eq!(record(ERRORS[1], "not at 10:02"), Novelty::New);
        for error in [ERRORS[0], ERRORS[1]] {
            assert_eq!(record(error, "not at 10:03"), Novelty::Repeated);
        }
        log.forget();
        for error in [ERRORS[0], ERRORS[1]] {
            assert_eq!(log.record(kind(error, "not at 10:04"), at(1)), Novelty::New);
        }
    }

    #[test]
    fn so_many_kinds_are_known_and_no_more() {
        let mut log = FailureLog::default();
        let mut record = |which: usize| log.record(kind(ERRORS[which], ""), at(1));
        for which in 0..KINDS {
            assert_eq!(record(which), Novelty::New);
        }
        for which in 0..KINDS {
            assert_eq!(record(which), Novelty::Repeated);
        }
        // One more pushes the oldest out, which then pushes out the next.
        assert_eq!(record(KINDS), Novelty::New);
        for which in 1..=KINDS {
            assert_eq!(record(which), Novelty::Repeated);
        }
        assert_eq!(record(0), Novelty::New);
        assert_eq!(record(1), Novelty::New);
        assert_eq!(record(3), Novelty::Repeated);
        assert_eq!(log.kinds.len(), KINDS);
    }

    #[test]
    fn a_minute_after_the_last_word_it_is_told_again() {
        let mut log = FailureLog::default();
        let mut record = |which: usize, seconds| log.record(kind(ERRORS[which], ""), at(seconds));
        assert_eq!(record(0, 1), Novelty::New);
        assert_eq!(record(0, 60), Novelty::Repeated);
        assert_eq!(record(0, 61), Novelty::Reminder);
        assert_eq!(record(0, 62), Novelty::Repeated);
        // A new kind counts as a line too, and all kinds together have one reminder a minute.
        assert_eq!(record(1, 100), Novelty::New);
        assert_eq!(record(0, 121), Novelty::Repeated);
        assert_eq!(record(0, 160), Novelty::Reminder);
        assert_eq!(record(1, 161), Novelty::Repeated);
    }
}
