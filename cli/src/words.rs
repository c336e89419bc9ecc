//! What the program says about links, in the terms of the command line.
//!
//! The library addresses programmers: it speaks of declarations, modes and receivers. Where its
//! terms differ from what the user typed, they are replaced here.

use std::fmt;

use countersign::{
    AcceptError, CloseReason, EndReason, Escaped, Incompatible, LinkError, Mode, PeerMisbehaved,
    Reason, Rejection, SecurityError, Verdict, VerdictCounts, VerdictKind, close, refuse, reject,
};

/// Formats a number of things: `1 message`, `2 messages`.
pub fn count(number: impl Into<u64>, one: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// Formats a number of bytes or of anything else that is counted in memory.
pub fn size(number: usize, one: &str) -> String {
    count(number as u64, one)
}

/// Says why a link ended or never came to be.
pub fn of_link(error: &LinkError) -> String {
    // This comes first, whatever became of the connection after it.
    if let Some(said) = error.peer_closes().filter(|said| !said.is_all_well()) {
        return of_peer(said);
    }
    if let Some(error) = error.security() {
        return of_security(error);
    }
    match error.reason() {
        EndReason::Incompatible(what) => incompatible(what),
        // The session of an earlier start, if this end was restarted; otherwise both would have
        // gone on.
        EndReason::Refused(refusal) if refusal.code == refuse::SESSION_OVER => {
            format!(
                "the peer waited for an earlier start of this end, and ends without it; {AGAIN}"
            )
        }
        // Not the fault of a peer whose dialect does not transmit the limit.
        EndReason::Peer(what @ PeerMisbehaved::MessageTooLarge { .. }) => {
            format!("the peer has sent {what}; raise --max-message")
        }
        _ => error.to_string(),
    }
}

/// What to do if the two ends can't go on together.
const AGAIN: &str = "start both again";

/// Says why a connection could not be secured. The library's advice is for programmers.
fn of_security(error: &SecurityError) -> String {
    let text = error.to_string();
    match error.reason() {
        Reason::PeerCertificateExpired { .. } | Reason::PeerCertificateNotYetValid { .. } => {
            text.replace("ignore validity dates", "let it in with --ignore-dates")
        }
        _ => text,
    }
}

/// Says why a peer was not admitted.
pub fn of_visitor(error: &AcceptError) -> String {
    let words = of_link(error.error());
    match error.peer() {
        Some(address) => format!("{address}: {words}"),
        None => words,
    }
}

fn incompatible(what: &Incompatible) -> String {
    match what {
        Incompatible::ModeConflict {
            both: Mode::Send, ..
        } => "both ends are to send; start one of them as `pipe recv`".to_owned(),
        Incompatible::ModeConflict {
            both: Mode::Receive,
            ..
        } => "both ends are to receive; start one of them as `pipe send`".to_owned(),
        Incompatible::ChannelMissing { channel, here } => {
            let channel = Escaped::new(channel);
            let end = if *here { "the peer" } else { "this end" };
            format!("only {end} has the channel '{channel}'; give both ends the same --channel")
        }
        other => other.to_string(),
    }
}

/// Says what the peer gave as its reason for closing when not all is well.
pub fn of_peer(reason: &CloseReason) -> String {
    if reason.code == close::SESSION_OVER {
        return format!("the peer has lost what was under way; {AGAIN}");
    }
    let says = match reason.code {
        1..close::RESERVED if !reason.text.is_empty() => Escaped::new(&reason.text).to_string(),
        _ => reason.to_string(),
    };
    format!("the peer broke off: {says}")
}

/// Says why the peer rejected a message.
pub fn of_rejection(rejection: &Rejection) -> String {
    match rejection.code {
        0..reject::RESERVED if !rejection.reason.is_empty() => {
            format!("the peer says: {}", Escaped::new(&rejection.reason))
        }
        _ => Verdict::Rejected(rejection.clone()).to_string(),
    }
}

/// What became of messages that were not handled, or may not have been.
#[derive(Debug)]
pub struct Missing<'a>(pub &'a VerdictCounts);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |count| if count == 1 { "was" } else { "were" };
        let mut separator = "";
        for kind in VerdictKind::ALL {
            let number = self.0[kind];
            let said = match kind {
                VerdictKind::Handled => continue,
                VerdictKind::Rejected => format!("{} rejected", verb(number)),
                VerdictKind::Superseded => format!("{} superseded", verb(number)),
                VerdictKind::Expired => format!("{} too late to be sent", verb(number)),
                VerdictKind::Withdrawn => format!("{} not sent", verb(number)),
                VerdictKind::Unknown => "may have been handled or not".to_owned(),
            };
            if number > 0 {
                write!(f, "{separator}{number} {said}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use countersign::Refusal;

    use super::*;

    #[test]
    fn one_is_one() {
        assert_eq!(count(0_u64, "message"), "0 messages");
        assert_eq!(count(1_u64, "message"), "1 message");
        assert_eq!(count(2_u64, "byte"), "2 bytes");
    }

    #[test]
    fn what_was_not_sent_was_not_handled() {
        let mut counts = VerdictCounts::default();
        counts[VerdictKind::Handled] = 3;
        counts[VerdictKind::Withdrawn] = 1;
        assert_eq!(Missing(&counts).to_string(), "1 was not sent");
        counts[VerdictKind::Unknown] = 2;
        counts[VerdictKind::Rejected] = 2;
        assert_eq!(
            Missing(&counts).to_string(),
            "2 were rejected, 1 was not sent, 2 may have been handled or not"
        );
    }

    #[test]
    fn ends_that_do_not_fit_are_told_in_words_that_were_typed() {
        let error = |what| LinkError::new(EndReason::Incompatible(what));
        let channel = || "main".to_owned();
        for (what, words) in [
            (
                Incompatible::ModeConflict {
                    channel: channel(),
                    both: Mode::Send,
                },
                "both ends are to send; start one of them as `pipe recv`",
            ),
            (
                Incompatible::ModeConflict {
                    channel: channel(),
                    both: Mode::Receive,
                },
                "both ends are to receive; start one of them as `pipe send`",
            ),
            (
                Incompatible::ChannelMissing {
                    channel: "a\x1bb".to_owned(),
                    here: true,
                },
                "only the peer has the channel 'a\\u{1b}b'; give both ends the same --channel",
            ),
            (
                Incompatible::ChannelMissing {
                    channel: channel(),
                    here: false,
                },
                "only this end has the channel 'main'; give both ends the same --channel",
            ),
        ] {
            assert_eq!(of_link(&error(what)), words);
        }
    }

    #[test]
    fn the_peers_reason_is_told_in_its_words() {
        let error = |theirs| {
            LinkError::new(EndReason::Closed {
                by_us: false,
                ours: CloseReason::ALL_WELL,
                theirs,
            })
        };
        for (reason, words) in [
            (
                CloseReason::new(2, "it was ended by SIGINT"),
                "the peer broke off: it was ended by SIGINT",
            ),
            (CloseReason::new(7, ""), "the peer broke off: code 7"),
            (
                CloseReason::new(close::DROPPED, ""),
                "the peer broke off: the application let go of the link without closing it",
            ),
            (
                CloseReason::new(close::WITHDRAWN, ""),
                "the peer broke off: messages that were to be sent were withdrawn",
            ),
            (
                CloseReason::new(2, "\x1b[2J\nerror: no"),
                "the peer broke off: \\u{1b}[2J\\nerror: no",
            ),
        ] {
            assert_eq!(of_link(&error(reason)), words);
        }
    }

    #[test]
    fn advice_is_in_flags_where_the_library_has_none() {
        let (now, time) = (SystemTime::now(), SystemTime::UNIX_EPOCH);
        for reason in [
            Reason::PeerCertificateExpired {
                not_after: time,
                now,
            },
            Reason::PeerCertificateNotYetValid {
                not_before: now,
                now: time,
            },
        ] {
            let words = of_security(&SecurityError::from(reason));
            assert!(
                words.ends_with(", or let it in with --ignore-dates"),
                "{words}"
            );
        }
    }

    #[test]
    fn what_is_over_is_started_again() {
        let refusal = Refusal::new(refuse::SESSION_OVER, "the words of a library");
        let refused = LinkError::new(EndReason::Refused(refusal));
        let closed = CloseReason::new(close::SESSION_OVER, "the words of a library");
        for words in [of_link(&refused), of_peer(&closed)] {
            assert!(words.ends_with("; start both again"), "{words}");
            assert!(!words.contains("library"), "{words}");
        }
    }
}
