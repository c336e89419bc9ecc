//! Escaping of foreign text in what is shown to people: a reason, a name, a file's path.
//!
//! A peer may choose its text to attack a terminal or a log: a newline forges a line, an escape
//! sequence moves the cursor, a change of direction turns a sentence round.

use core::fmt::{self, Write as _};

/// Shows a text so that it stays within its line and has no effect on a terminal.
///
/// `Display` escapes characters that are not printable (`\n`, `\u{1b}`, `\u{202e}`), and combining
/// marks where they pile up or have no character of the text to combine with. It breaks off with
/// `…` after [`LIMIT`](Escaped::LIMIT) characters. `Debug` does the same within quotes, and also
/// escapes quotes and backslashes. What is escaped already stays as it is.
///
/// Every `Display` in this project shows text of a peer, a certificate or a file in this way. The
/// data themselves are unchanged, so programs that show a `reason` or a `text` themselves do the
/// same:
///
/// ```
/// use countersign_core::Escaped;
///
/// let text = "no\r\n2026-11-29 ERROR \u{1b}[2Jforged";
/// assert_eq!(
///     format!("the peer refused: {}", Escaped::new(text)),
///     r"the peer refused: no\r\n2026-11-29 ERROR \u{1b}[2Jforged"
/// );
/// assert_eq!(format!("{:?}", Escaped::new("'a' or \"b\"")), r#""'a' or \"b\"""#);
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<T> {
    text: T,
    limit: usize,
}

impl Escaped<()> {
    /// How many characters of a text are shown at most, unless it is shown whole.
    pub const LIMIT: usize = 512;
}

impl<T: fmt::Display> Escaped<T> {
    /// Shows `text`, or its beginning if it is longer than [`LIMIT`](Escaped::LIMIT).
    pub const fn new(text: T) -> Self {
        let limit = Escaped::LIMIT;
        Self { text, limit }
    }

    /// Shows all of `text`, which is known to have a bound: a line of a log, say.
    pub const fn whole(text: T) -> Self {
        let limit = usize::MAX;
        Self { text, limit }
    }
}

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper::new(f, self.limit, false), "{}", self.text)
    }
}

impl<T: fmt::Display> fmt::Debug for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escaper::new(f, self.limit, true), "{}", self.text)?;
        f.write_char('"')
    }
}

/// Writes text to a formatter, escaping what may not be shown.
struct Escaper<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    /// How many characters may still be written; `None` once the limit was exceeded.
    left: Option<usize>,
    in_quotes: bool,
    /// How many marks may still combine with the character before.
    marks: u8,
}

impl<'a, 'f> Escaper<'a, 'f> {
    /// As many marks as languages put on one letter.
    const MARKS: u8 = 3;

    fn new(out: &'a mut fmt::Formatter<'f>, limit: usize, in_quotes: bool) -> Self {
        Self {
            out,
            left: Some(limit),
            in_quotes,
            marks: 0,
        }
    }

    fn put(&mut self, character: char) -> fmt::Result {
        match self.left {
            None => Ok(()),
            Some(0) => {
                self.left = None;
                self.out.write_char('…')
            }
            Some(left) => {
                self.left = Some(left - 1);
                self.out.write_char(character)
            }
        }
    }

    fn escape(&mut self, character: char) -> fmt::Result {
        self.marks = 0;
        character.escape_debug().try_for_each(|one| self.put(one))
    }
}

impl fmt::Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\\' if self.in_quotes => self.escape(character)?,
                ' '..='~' => {
                    self.marks = Self::MARKS;
                    self.put(character)?;
                }
                _ => match kind(character) {
                    Kind::Printable => {
                        self.marks = Self::MARKS;
                        self.put(character)?;
                    }
                    Kind::Mark if self.marks > 0 => {
                        self.marks -= 1;
                        self.put(character)?;
                    }
                    Kind::Mark | Kind::Other => self.escape(character)?,
                },
            }
            if self.left.is_none() {
                break;
            }
        }
        Ok(())
    }
}

enum Kind {
    Printable,
    /// Combines with the character before it.
    Mark,
    Other,
}

/// Returns the kind of a character that is not ASCII. The standard library's tables have it, but
/// not directly: a mark is escaped only at the beginning of a text.
fn kind(character: char) -> Kind {
    let mut pair = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut pair[1..]).len();
    let pair = core::str::from_utf8(&pair[..=length]).unwrap_or_default();
    let is_escaped = |mut escaped: core::str::EscapeDebug<'_>| escaped.any(|one| one == '\\');
    match (
        is_escaped(pair[1..].escape_debug()),
        is_escaped(pair.escape_debug()),
    ) {
        (false, _) => Kind::Printable,
        (true, false) => Kind::Mark,
        (true, true) => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::{format, vec};

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, shown) in [
            ("a\u{1b}[2J\u{7}", r"a\u{1b}[2J\u{7}"),
            ("a\r\n\tb\0", r"a\r\n\tb\0"),
            ("\u{7f}\u{9b}31m\u{85}", r"\u{7f}\u{9b}31m\u{85}"),
            (
                "\u{202e}\u{2066}\u{200f}\u{200b}",
                r"\u{202e}\u{2066}\u{200f}\u{200b}",
            ),
            (
                "\u{2028}\u{2029}\u{a0}\u{feff}\u{ad}",
                r"\u{2028}\u{2029}\u{a0}\u{feff}\u{ad}",
            ),
            (
                "\u{e0041}\u{fff9}\u{10ffff}\u{e000}",
                r"\u{e0041}\u{fff9}\u{10ffff}\u{e000}",
            ),
        ] {
            assert_eq!(Escaped::new(text).to_string(), shown);
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in [
            "",
            "'no' \"such\" order: C:\\temp \\n",
            "Türe klemmt, déjà vu, e\u{301}",
            "नमस्ते",
            "ไม่มี",
            "注文なし 🤖",
        ] {
            assert_eq!(Escaped::new(text).to_string(), text);
            let twice = Escaped::new(Escaped::new(text));
            assert_eq!(twice.to_string(), text);
        }
    }

    #[test]
    fn marks_combine_with_letters_of_the_text_and_do_not_pile_up() {
        assert_eq!(Escaped::new("\u{301}a").to_string(), r"\u{301}a");
        assert_eq!(Escaped::new("\n\u{301}").to_string(), r"\n\u{301}");
        let heap = Escaped::new("a\u{301}\u{301}\u{301}\u{301}\u{301}").to_string();
        assert_eq!(heap, "a\u{301}\u{301}\u{301}\\u{301}\\u{301}");
    }

    #[test]
    fn a_long_text_breaks_off_at_the_limit() {
        let fits = String::from_utf8(vec![b'a'; Escaped::LIMIT]).unwrap();
        assert_eq!(Escaped::new(&fits).to_string(), fits);
        let above = format!("{fits}a");
        assert_eq!(Escaped::new(&above).to_string(), format!("{fits}…"));
        assert_eq!(Escaped::whole(&above).to_string(), above);
        // Escaped characters count as long as they are shown.
        let shown = Escaped::new("\u{1b}".repeat(Escaped::LIMIT)).to_string();
        assert_eq!(shown.chars().count(), Escaped::LIMIT + 1);
    }

    #[test]
    fn debug_is_quoted() {
        assert_eq!(format!("{:?}", Escaped::new("a\"\\\n'")), r#""a\"\\\n'""#);
    }

    #[test]
    fn pieces_are_shown_like_the_whole() {
        let text = "e\u{301}\u{1b}[2J नमस्ते\n";
        for (at, _) in text.char_indices() {
            let (begin, end) = text.split_at(at);
            let pieces = Escaped::new(format_args!("{begin}{end}")).to_string();
            assert_eq!(pieces, Escaped::new(text).to_string());
        }
    }

    #[test]
    fn what_a_peer_says_is_escaped_wherever_it_is_shown() {
        use crate::{CloseReason, ConfigError, ConfigProblem, EndReason, Incompatible, Mode};
        use crate::{Policy, Refusal, Rejection, Verdict, reject};

        let nasty = "no\r\n\u{1b}]0;owned\u{7}\u{202e}";
        let text = || String::from(nasty);
        let verdict = |code| {
            let reason = text();
            Verdict::Rejected(Rejection { code, reason })
        };
        let of_channels = [
            Incompatible::ModeConflict {
                channel: text(),
                both: Mode::Send,
            },
            Incompatible::ChannelMissing {
                channel: text(),
                here: true,
            },
            Incompatible::PolicyConflict {
                channel: text(),
                required: Policy::Latest,
            },
        ];
        let reasons = [
            EndReason::AccusedByPeer {
                code: 1,
                text: text(),
            },
            EndReason::Refused(Refusal::new(5, text())),
            EndReason::TurnedAway(Refusal::busy(text())),
            EndReason::Closed {
                by_us: true,
                ours: CloseReason::ALL_WELL,
                theirs: CloseReason::new(1, text()),
            },
        ];
        let config = ConfigError {
            channel: Some(text()),
            problem: ConfigProblem::NameTaken,
        };
        let channels = of_channels.into_iter().map(EndReason::Incompatible);
        let mut shown: vec::Vec<_> = channels
            .chain(reasons)
            .flat_map(|reason| [format!("{reason}"), format!("{reason:?}")])
            .collect();
        for verdict in [verdict(1), verdict(reject::TOO_LARGE)] {
            shown.extend([format!("{verdict}"), format!("{verdict:?}")]);
        }
        shown.extend([format!("{config}"), format!("{config:?}")]);
        for line in shown {
            assert!(
                line.contains(r"no\r\n\u{1b}]0;owned\u{7}\u{202e}"),
                "{line}"
            );
            assert!(line.chars().all(|one| (' '..='~').contains(&one)), "{line}");
        }
    }
}
