//! The reason that an end gives when it closes a link (`docs/protocol.md`, Close).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use crate::escaped::Escaped;
use crate::wire::{MAX_TEXT, cut};

/// All is well: this end has sent everything that it wanted to send.
pub const ALL_WELL: u32 = 0;
/// Codes from here on are countersign's, those below are the application's.
pub const RESERVED: u32 = 0xFFFF_0000;
/// The link was declared to end with its session, and the session is over.
pub const SESSION_OVER: u32 = 0xFFFF_0001;
/// The application dropped a link on which it may have wanted to send more, without closing it.
pub const DROPPED: u32 = 0xFFFF_0002;
/// The program is about to end, and closes links on which its application may have wanted to send
/// more.
pub const GOING_AWAY: u32 = 0xFFFF_0003;
/// Messages that the end had accepted were withdrawn by its close, and its application gave no
/// other reason.
pub const WITHDRAWN: u32 = 0xFFFF_0004;

/// The reason that an end gives when it closes a link: that all is well, or what is not.
///
/// If the sender's reason is anything but 'all is well', the receiver has not got everything: its
/// `recv` ends with an error that has this reason, and not with the end of the stream.
///
/// ```
/// use countersign_core::CloseReason;
///
/// let failed = CloseReason::new(3, "the input could not be read");
/// assert!(!failed.is_all_well());
/// assert_eq!(failed.to_string(), "the input could not be read (code 3)");
/// assert!(CloseReason::ALL_WELL.is_all_well());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CloseReason {
    /// Zero for 'all is well', one of the application's codes below [`RESERVED`], or one of
    /// countersign's.
    pub code: u32,
    /// Text for people, at most 256 bytes of UTF-8; what is longer is cut between two characters.
    pub text: String,
    /// Whether another link between the two ends may succeed.
    pub again: bool,
}

impl CloseReason {
    /// All is well.
    pub const ALL_WELL: Self = Self {
        code: ALL_WELL,
        text: String::new(),
        again: false,
    };

    /// Creates a reason with one of the application's codes and a text for people.
    #[must_use]
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            again: false,
        }
    }

    /// Says that another link between the two ends may succeed.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Whether all is well.
    #[must_use]
    pub const fn is_all_well(&self) -> bool {
        self.code == ALL_WELL
    }

    /// Cuts the text to what the wire carries.
    pub(crate) fn cut(mut self) -> Self {
        if self.text.len() > MAX_TEXT {
            self.text = cut(&self.text, MAX_TEXT).to_owned();
        }
        self
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = match self.code {
            ALL_WELL => "all is well",
            SESSION_OVER => "the session is over",
            DROPPED => "the application let go of the link without closing it",
            GOING_AWAY => "the program is about to end",
            WITHDRAWN => "messages that were to be sent were withdrawn",
            _ if self.text.is_empty() => return write!(f, "code {}", self.code),
            _ => return write!(f, "{} (code {})", Escaped::new(&self.text), self.code),
        };
        f.write_str(known)?;
        if self.text.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", Escaped::new(&self.text))
        }
    }
}
