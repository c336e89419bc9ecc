//! Verdicts of messages.

use alloc::string::String;
use core::fmt;
use core::ops::{AddAssign, Index, IndexMut};

use bytes::Bytes;

use crate::escaped::Escaped;
use crate::redact::Redacted;

/// The longest reason a rejection can carry, in bytes of UTF-8 (`docs/protocol.md`, Settling).
pub const MAX_REASON: usize = 256;

/// Codes of rejections by countersign itself. The application's codes are those below
/// [`reject::RESERVED`].
pub mod reject {
    /// Codes from here on are countersign's.
    pub const RESERVED: u32 = 0xFFFF_0000;
    /// The receiving application took the message and dropped it without handling it.
    pub const DROPPED: u32 = 0xFFFF_0001;
    /// The receiving application no longer receives on the channel.
    pub const NO_RECEIVER: u32 = 0xFFFF_0002;
    /// The message is larger than the peer accepts, which was known only once the link was up.
    pub const TOO_LARGE: u32 = 0xFFFF_0003;
    /// The message was late when the receiving application would have taken it: its verdict is
    /// [`Expired`](super::Verdict::Expired).
    pub const EXPIRED: u32 = 0xFFFF_0004;
}

/// Why a receiving application rejected a message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rejection {
    /// The application's code, or one of [`reject`].
    pub code: u32,
    /// Text for people, at most [`MAX_REASON`] bytes.
    pub reason: String,
}

impl Rejection {
    /// Makes a rejection with a code of the application and a text for people.
    #[must_use]
    pub fn new(code: u32, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }
}

/// What became of a message. Every message gets exactly one verdict (`docs/protocol.md`, Verdicts).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The receiving application handled the message, and gave this reply if it gave one.
    Handled(Option<Bytes>),
    /// The receiving application rejected the message.
    Rejected(Rejection),
    /// A newer message replaced it before it was put on the wire (`Latest` only).
    Superseded,
    /// It was late: its expiry came before it was put on the wire, or before the receiving
    /// application would have taken it. No application has taken it.
    Expired,
    /// It was never put on the wire, because the link ended first.
    Withdrawn,
    /// It was on the wire when the session was lost; it may or may not have been handled.
    Unknown,
}

impl Verdict {
    /// The verdict of a message that was handled without a reply.
    pub const HANDLED: Self = Self::Handled(None);

    /// Returns which of the six verdicts this is, without the rejection's details.
    #[must_use]
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::Handled(_) => VerdictKind::Handled,
            Self::Rejected(_) => VerdictKind::Rejected,
            Self::Superseded => VerdictKind::Superseded,
            Self::Expired => VerdictKind::Expired,
            Self::Withdrawn => VerdictKind::Withdrawn,
            Self::Unknown => VerdictKind::Unknown,
        }
    }

    /// Whether the message was handled.
    #[must_use]
    pub const fn is_handled(&self) -> bool {
        matches!(self, Self::Handled(_))
    }

    /// Returns the receiver's reply, if the message was handled and the receiver gave one.
    #[must_use]
    pub const fn reply(&self) -> Option<&Bytes> {
        match self {
            Self::Handled(reply) => reply.as_ref(),
            _ => None,
        }
    }

    /// Returns `Ok` for a message that was handled, for callers that take every other verdict as an
    /// error.
    ///
    /// # Errors
    ///
    /// Any other verdict, as [`NotHandled`].
    ///
    /// ```
    /// use countersign_core::Verdict;
    ///
    /// assert!(Verdict::HANDLED.into_result().is_ok());
    /// let error = Verdict::Expired.into_result().unwrap_err();
    /// assert_eq!(error.verdict(), &Verdict::Expired);
    /// assert_eq!(error.to_string(), "the message was not handled: expired");
    /// ```
    pub fn into_result(self) -> Result<(), NotHandled> {
        self.into_reply().map(drop)
    }

    /// As [`into_result`](Self::into_result), with the reply, if the receiver gave one.
    ///
    /// # Errors
    ///
    /// Any other verdict, as [`NotHandled`].
    pub fn into_reply(self) -> Result<Option<Bytes>, NotHandled> {
        match self {
            Self::Handled(reply) => Ok(reply),
            other => Err(NotHandled(other)),
        }
    }
}

/// A verdict other than [`Verdict::Handled`], as an error.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NotHandled(Verdict);

impl NotHandled {
    /// Returns what became of the message instead.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.0
    }
}

crate::debug_as_display!(NotHandled);

impl fmt::Display for NotHandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not handled: {}", self.0)
    }
}

impl core::error::Error for NotHandled {}

impl From<Verdict> for Result<(), NotHandled> {
    fn from(verdict: Verdict) -> Self {
        verdict.into_result()
    }
}

impl fmt::Debug for Verdict {
    /// Leaves the reply out, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Handled(None) => "Handled",
            Self::Handled(Some(reply)) => {
                let reply = Redacted(reply.len());
                return f.debug_tuple("Handled").field(&reply).finish();
            }
            Self::Rejected(rejection) => {
                return f.debug_tuple("Rejected").field(rejection).finish();
            }
            Self::Superseded => "Superseded",
            Self::Expired => "Expired",
            Self::Withdrawn => "Withdrawn",
            Self::Unknown => "Unknown",
        };
        f.write_str(name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) if rejection.code == reject::DROPPED => {
                f.write_str("rejected: the receiver let go of it without handling it")
            }
            Self::Rejected(rejection) if rejection.code == reject::NO_RECEIVER => {
                f.write_str("rejected: nobody receives on the channel any more")
            }
            Self::Rejected(rejection) if rejection.code == reject::TOO_LARGE => {
                write!(f, "rejected: {}", Escaped::new(&rejection.reason))
            }
            Self::Rejected(rejection) if rejection.reason.is_empty() => {
                write!(f, "rejected with code {}", rejection.code)
            }
            Self::Rejected(rejection) => {
                write!(
                    f,
                    "rejected with code {}: {}",
                    rejection.code,
                    Escaped::new(&rejection.reason)
                )
            }
            other => write!(f, "{}", other.kind()),
        }
    }
}

/// The six kinds of [`Verdict`], for counting.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VerdictKind {
    /// See [`Verdict::Handled`].
    Handled,
    /// See [`Verdict::Rejected`].
    Rejected,
    /// See [`Verdict::Superseded`].
    Superseded,
    /// See [`Verdict::Expired`].
    Expired,
    /// See [`Verdict::Withdrawn`].
    Withdrawn,
    /// See [`Verdict::Unknown`].
    Unknown,
}

impl VerdictKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Handled,
        Self::Rejected,
        Self::Superseded,
        Self::Expired,
        Self::Withdrawn,
        Self::Unknown,
    ];

    /// Returns the kind's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many messages got each verdict.
///
/// ```
/// use countersign_core::{VerdictCounts, VerdictKind};
///
/// let mut counts = VerdictCounts::default();
/// counts[VerdictKind::Handled] += 3;
/// assert_eq!(counts.total(), 3);
/// assert_eq!(counts.to_string(), "3 handled");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct VerdictCounts([u64; 6]);

impl VerdictCounts {
    /// Returns the number of all verdicts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<VerdictKind> for VerdictCounts {
    type Output = u64;

    fn index(&self, kind: VerdictKind) -> &u64 {
        &self.0[kind as usize]
    }
}

impl IndexMut<VerdictKind> for VerdictCounts {
    fn index_mut(&mut self, kind: VerdictKind) -> &mut u64 {
        &mut self.0[kind as usize]
    }
}

impl AddAssign for VerdictCounts {
    fn add_assign(&mut self, rhs: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(rhs.0) {
            *mine += theirs;
        }
    }
}

impl fmt::Display for VerdictCounts {
    /// Writes the counts that are not zero, separated by commas; `none` if all are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for kind in VerdictKind::ALL {
            if self[kind] > 0 {
                write!(f, "{}{} {kind}", if any { ", " } else { "" }, self[kind])?;
                any = true;
            }
        }
        if any { Ok(()) } else { f.write_str("none") }
    }
}
