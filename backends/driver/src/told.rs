//! What the log was told of there being no connection.

use countersign_endpoint::FailureKind;

/// Of how many kinds of failures it is known that the log was told.
pub(crate) const KINDS: usize = 16;

/// What the log was told of there being no connection, since there was one. Whoever waits for a peer
/// for long does not want to read the same again with each attempt, whatever the words of the moment.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The kinds of failures, the one first that was new first.
    kinds: Vec<FailureKind>,
}

impl Told {
    /// Whether the log is to be told of a failure of this kind. Of more kinds than there is room for,
    /// the oldest is forgotten, and told again when it comes again.
    pub(crate) fn is_news(&mut self, kind: FailureKind) -> bool {
        if self.kinds.contains(&kind) {
            return false;
        }
        if self.kinds.len() == KINDS {
            self.kinds.remove(0);
        }
        self.kinds.push(kind);
        true
    }

    /// There is a connection: when it is gone, everything is news.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use countersign_core::{ChannelConfig, Config, Link, Loss, Role};
    use countersign_endpoint::Explanation;

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
        let config = Config::new().channel(ChannelConfig::send("data"));
        let link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
        let mut explanation = Explanation::default();
        explanation.unopened(&link, io::Error::new(said, words.to_owned()));
        explanation.of_loss(&link, Loss::Transport).kind()
    }

    #[test]
    fn each_kind_is_told_once_whatever_its_words() {
        let mut told = Told::default();
        assert!(told.is_news(kind(SAID[0], "not at 10:01")));
        assert!(!told.is_news(kind(SAID[0], "not at 10:02")));
        assert!(told.is_news(kind(SAID[1], "not at 10:02")));
        for said in [SAID[0], SAID[1]] {
            assert!(!told.is_news(kind(said, "not at 10:03")));
        }
        told.forget();
        for said in [SAID[0], SAID[1]] {
            assert!(told.is_news(kind(said, "not at 10:04")));
        }
    }

    #[test]
    fn so_many_kinds_are_known_and_no_more() {
        let mut told = Told::default();
        let of = |at: usize| kind(SAID[at], "");
        for at in 0..KINDS {
            assert!(told.is_news(of(at)));
        }
        for at in 0..KINDS {
            assert!(!told.is_news(of(at)));
        }
        // One above pushes the oldest out, and that one comes back in the place of the next.
        assert!(told.is_news(of(KINDS)));
        for at in 1..=KINDS {
            assert!(!told.is_news(of(at)));
        }
        assert!(told.is_news(of(0)));
        assert!(told.is_news(of(1)));
        assert!(!told.is_news(of(3)));
        assert_eq!(told.kinds.len(), KINDS);
    }
}
