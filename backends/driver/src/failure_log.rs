//! What the log was told of there being no connection.

use std::time::Duration;

use countersign_core::Instant;
use countersign_endpoint::FailureKind;

/// Of how many kinds of failures it is known that the log was told.
pub(crate) const KINDS: usize = 16;

/// How long after its last word the log is told again what is waited for.
const REMIND: Duration = Duration::from_secs(60);

/// What the log was told of there being no connection, since there was one. Whoever waits for a peer
/// for long does not want to read the same again with each attempt, whatever the words of the moment,
/// nor to find nothing but a line of last week.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    /// The kinds of failures, the one first that was new first.
    kinds: Vec<FailureKind>,
    /// When the log was told of any.
    latest: Instant,
}

/// What a failure is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// None of this kind was told of.
    New,
    /// One of this kind was, and for long there was no word of what is waited for.
    Still,
    /// For those who look closer.
    Known,
}

impl FailureLog {
    /// What a failure of this kind is to the log. Of more kinds than there is room for, the oldest is
    /// forgotten, and told again when it comes again.
    pub(crate) fn hear(&mut self, kind: FailureKind, now: Instant) -> Novelty {
        let news = if !self.kinds.contains(&kind) {
            if self.kinds.len() == KINDS {
                self.kinds.remove(0);
            }
            self.kinds.push(kind);
            Novelty::New
        } else if now.saturating_since(self.latest) >= REMIND {
            Novelty::Still
        } else {
            Novelty::Known
        };
        if news != Novelty::Known {
            self.latest = now;
        }
        news
    }

    /// There is a connection: when it is gone, everything is news.
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

    /// As many kinds as a test wants: each of these is what the system may say when no connection can
    /// be opened.
    const SAID: [io::ErrorKind; KINDS + 1] = [
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

    fn kind(said: io::ErrorKind, words: &str) -> FailureKind {
        let config = Config::new().channel(SendChannel::new("data"));
        let link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
        let mut error_context = ErrorContext::default();
        error_context.unopened(&link, io::Error::new(said, words.to_owned()));
        error_context.of_loss(&link, Loss::Transport).kind()
    }

    /// The seconds since the beginning.
    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn each_kind_is_told_once_whatever_its_words() {
        let mut told = FailureLog::default();
        let mut hear = |said, words| told.hear(kind(said, words), at(1));
        assert_eq!(hear(SAID[0], "not at 10:01"), Novelty::New);
        assert_eq!(hear(SAID[0], "not at 10:02"), Novelty::Known);
        assert_eq!(hear(SAID[1], "not at 10:02"), Novelty::New);
        for said in [SAID[0], SAID[1]] {
            assert_eq!(hear(said, "not at 10:03"), Novelty::Known);
        }
        told.forget();
        for said in [SAID[0], SAID[1]] {
            assert_eq!(told.hear(kind(said, "not at 10:04"), at(1)), Novelty::New);
        }
    }

    #[test]
    fn so_many_kinds_are_known_and_no_more() {
        let mut told = FailureLog::default();
        let mut hear = |which: usize| told.hear(kind(SAID[which], ""), at(1));
        for which in 0..KINDS {
            assert_eq!(hear(which), Novelty::New);
        }
        for which in 0..KINDS {
            assert_eq!(hear(which), Novelty::Known);
        }
        // One above pushes the oldest out, and that one comes back in the place of the next.
        assert_eq!(hear(KINDS), Novelty::New);
        for which in 1..=KINDS {
            assert_eq!(hear(which), Novelty::Known);
        }
        assert_eq!(hear(0), Novelty::New);
        assert_eq!(hear(1), Novelty::New);
        assert_eq!(hear(3), Novelty::Known);
        assert_eq!(told.kinds.len(), KINDS);
    }

    #[test]
    fn a_minute_after_the_last_word_it_is_told_again() {
        let mut told = FailureLog::default();
        let mut hear = |which: usize, seconds| told.hear(kind(SAID[which], ""), at(seconds));
        assert_eq!(hear(0, 1), Novelty::New);
        assert_eq!(hear(0, 60), Novelty::Known);
        assert_eq!(hear(0, 61), Novelty::Still);
        assert_eq!(hear(0, 62), Novelty::Known);
        // What is new is a word too, and of all kinds together there is one in a minute.
        assert_eq!(hear(1, 100), Novelty::New);
        assert_eq!(hear(0, 121), Novelty::Known);
        assert_eq!(hear(0, 160), Novelty::Still);
        assert_eq!(hear(1, 161), Novelty::Known);
    }
}
