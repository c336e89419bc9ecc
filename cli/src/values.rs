//! The values of flags: what each may be, and the error for one that is invalid.
//!
//! One rule holds for every time: it has a unit, and only 0 needs none.

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use countersign::capture::MIN_LIMIT;
use countersign::{Fingerprint, MAX_CHANNEL_NAME};

/// One value of `--peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The fingerprint of a public key as it was written, or what was meant as one.
    Fingerprint(String),
    /// A file with certificates or fingerprints.
    File(PathBuf),
}

impl From<OsString> for Peer {
    /// Takes what looks like a fingerprint as one, unless there is a file of that name.
    fn from(word: OsString) -> Self {
        let is_fingerprint = |text: &&str| {
            let is_whole = text.get(..7).is_some_and(|start| {
                start.eq_ignore_ascii_case("sha256:") || start.eq_ignore_ascii_case("sha256/")
            });
            is_whole || (Fingerprint::is_meant(text) && !Path::new(text).exists())
        };
        match word.to_str().filter(is_fingerprint) {
            Some(text) => Self::Fingerprint(text.to_owned()),
            None => Self::File(word.into()),
        }
    }
}

/// The most that `--max-message` takes, in bytes: both ends hold a whole message in memory.
pub const MAX_MESSAGE_LIMIT: usize = 1 << 30;

/// Parses the size of the largest message, in bytes.
pub(crate) fn max_message(text: &str) -> Result<usize, String> {
    match usize::try_from(size(text)?) {
        Ok(size @ 1..=MAX_MESSAGE_LIMIT) => Ok(size),
        _ => Err(format!(
            "a message has from 1 byte to {}GiB",
            MAX_MESSAGE_LIMIT >> 30
        )),
    }
}

/// Parses the size of a capture, in bytes.
pub(crate) fn capture_limit(text: &str) -> Result<u64, String> {
    match size(text)? {
        size @ MIN_LIMIT.. => Ok(size),
        _ => Err(format!("a capture's limit is {MIN_LIMIT} bytes at least")),
    }
}

/// Parses a number of bytes. One that is too large to represent counts as the largest.
fn size(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.parse().unwrap_or(u64::MAX));
    }
    let size = text.parse::<ByteSize>();
    let size = size.map_err(|_| "neither a number of bytes nor a size such as 64MiB")?;
    Ok(size.as_u64())
}

/// Parses how long something takes or is waited for.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text);
    time.map_err(|_| {
        "a time is a number with its unit, such as 200ms, 1.5s or 5m; only 0 needs none".to_owned()
    })
}

/// Parses how long a message is worth sending.
pub(crate) fn expiry(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("with 0 every message is late before it is sent".to_owned()),
        time => Ok(time),
    }
}

/// Parses a channel's name.
pub(crate) fn channel(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MAX_CHANNEL_NAME => Ok(text.to_owned()),
        _ => Err(format!(
            "a channel's name has from 1 to {MAX_CHANNEL_NAME} bytes"
        )),
    }
}

/// Parses for how many days a certificate is valid.
pub(crate) fn days(text: &str) -> Result<u32, String> {
    /// The calendar of certificates ends with the year 9999.
    const MOST: u32 = 366 * 8000;
    number(text, 1..=MOST)
}

/// Parses how many pictures a film has.
pub(crate) fn frames(text: &str) -> Result<u32, String> {
    number(text, 1..=1_000_000)
}

/// Parses how often something is done.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    number(text, 0..=u32::MAX)
}

/// Parses the number of a link in a capture.
pub(crate) fn link(text: &str) -> Result<u64, String> {
    number(text, 1..=u64::MAX)
}

fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "not a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_as_large_as_memory_bears() {
        for (text, bytes) in [
            ("1", 1),
            ("1000", 1000),
            ("64KiB", 65536),
            ("1.5KiB", 1536),
            ("1GiB", MAX_MESSAGE_LIMIT),
            ("1073741824", MAX_MESSAGE_LIMIT),
        ] {
            assert_eq!(max_message(text), Ok(bytes), "{text}");
        }
        for text in [
            "0",
            "1073741825",
            "1TiB",
            "20000000000000000000000",
            "99999999999TiB",
        ] {
            let error = max_message(text).unwrap_err();
            assert_eq!(error, "a message has from 1 byte to 1GiB", "{text}");
        }
    }

    #[test]
    fn sizes_have_units_that_everybody_knows() {
        for text in ["", "lots", "-5", "5 parsecs", "MiB"] {
            for error in [
                max_message(text).unwrap_err(),
                capture_limit(text).unwrap_err(),
            ] {
                let expected = "neither a number of bytes nor a size such as 64MiB";
                assert_eq!(error, expected, "{text}");
            }
        }
        assert_eq!(capture_limit("4096"), Ok(MIN_LIMIT));
        let error = capture_limit("4095").unwrap_err();
        assert_eq!(error, "a capture's limit is 4096 bytes at least");
    }

    #[test]
    fn a_time_has_a_unit_but_for_zero() {
        for (text, time) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("200ms", Duration::from_millis(200)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.001754s", Duration::from_micros(1754)),
            ("1h 30m", Duration::from_secs(5400)),
        ] {
            assert_eq!(duration(text), Ok(time), "{text}");
        }
        for text in ["", "5", "1.5", "-1s", "soon", "infs", "99999999999999999y"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("only 0 needs none"), "{text}: {error}");
        }
    }

    #[test]
    fn a_message_lives_for_a_moment_at_least() {
        assert_eq!(expiry("1ns"), Ok(Duration::from_nanos(1)));
        for text in ["0", "0s", "0ms"] {
            assert!(expiry(text).unwrap_err().contains("late before"), "{text}");
        }
    }

    #[test]
    fn a_channel_has_a_name() {
        let longest = "x".repeat(MAX_CHANNEL_NAME);
        assert_eq!(channel(&longest), Ok(longest.clone()));
        for text in [String::new(), longest + "x"] {
            let error = channel(&text).unwrap_err();
            assert_eq!(error, "a channel's name has from 1 to 64 bytes");
        }
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(frames("1000000"), Ok(1_000_000));
        for text in ["0", "1000001", "-1", "1.5", "x", ""] {
            let error = frames(text).unwrap_err();
            assert_eq!(error, "not a whole number from 1 to 1000000", "{text}");
        }
    }
}
