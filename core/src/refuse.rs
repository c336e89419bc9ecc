//! Codes of the REFUSE frame (`docs/protocol.md`, Handshake), and the acceptor's reason for it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use crate::escaped::Escaped;
use crate::wire::{MAX_TEXT, cut};

/// No protocol version in common.
pub const VERSION: u16 = 1;
/// A channel is in the same mode at both ends.
pub const MODE_CONFLICT: u16 = 2;
/// A channel is declared at one end only.
pub const CHANNEL_MISSING: u16 = 3;
/// The sender's policy is not the one that the receiver requires.
pub const POLICY_CONFLICT: u16 = 4;
/// The acceptor has too many links just now.
pub const BUSY: u16 = 5;
/// HELLO names a session whose opener has come back on another connection since.
pub const STALE: u16 = 6;
/// The acceptor's link was declared to end with its session, and the peer came back without it.
pub const SESSION_OVER: u16 = 7;
/// The acceptor's declaration for this peer is invalid: a mistake at its end.
pub const MISCONFIGURED: u16 = 8;
/// Codes from here on are the application's, those below are countersign's.
pub const APPLICATION: u16 = 0x8000;

/// The reason that an acceptor gives when it refuses a link, and whether another attempt can help.
///
/// ```
/// use countersign_core::{Refusal, refuse};
///
/// let closed = Refusal::new(refuse::APPLICATION + 1, "closed for the night").again();
/// assert!(closed.again);
/// assert_eq!(closed.to_string(), "closed for the night (code 32769)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// One of the application's codes from [`APPLICATION`] on, or one of countersign's.
    pub code: u16,
    /// Text for people, at most 256 bytes of UTF-8; what is longer is cut between two characters.
    pub text: String,
    /// Whether another attempt can help, with nothing changed at either end.
    pub again: bool,
}

impl Refusal {
    /// Creates a refusal with a code, the application's from [`APPLICATION`] on, and a text for
    /// people. The opener does not connect again.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            again: false,
        }
    }

    /// Creates a refusal for want of room: the opener connects again later.
    #[must_use]
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(BUSY, text).again()
    }

    /// Lets the opener connect again, after a time that its [`Reconnect`](crate::Reconnect)
    /// determines.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Returns the refusal with its text cut to what the wire carries.
    pub(crate) fn cut(&self) -> Self {
        Self {
            code: self.code,
            text: cut(&self.text, MAX_TEXT).to_owned(),
            again: self.again,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            write!(f, "code {}", self.code)
        } else {
            write!(f, "{} (code {})", Escaped::new(&self.text), self.code)
        }
    }
}
