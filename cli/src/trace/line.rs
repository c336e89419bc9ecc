//! One line of a trace, for people and for programs.
//!
//! Names, reasons and payloads come from the peer. Only printable characters of them reach a
//! terminal: all others are escaped.

use std::fmt::Write as _;
use std::time::Duration;

use countersign::{Age, Escaped};

use crate::words::count;

/// The most bytes that are shown of a payload.
pub(super) const PREVIEW: usize = 48;

/// The direction of a line's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// From the peer.
    In,
    /// To the peer.
    Out,
    /// Between the link and its application, or its driver.
    Here,
}

/// A field's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Number(u64),
    /// Microseconds, which are shown in milliseconds.
    Millis(u64),
    Text(String),
    Hex(Vec<u8>),
}

/// The payload of a message or of a part of one, or a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Payload {
    pub(super) length: u64,
    /// Its beginning, unless it was left out.
    pub(super) bytes: Option<Vec<u8>>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// In microseconds, on the capture's clock.
    pub(super) time: u64,
    pub(super) link: u64,
    /// The number of the link's connection; zero before the first.
    pub(super) connection: u64,
    pub(super) way: Way,
    /// A frame's type, in capitals, or the name of the record.
    pub(super) kind: String,
    pub(super) channel: Option<String>,
    pub(super) fields: Vec<(&'static str, Value)>,
    pub(super) payload: Option<Payload>,
}

impl Line {
    pub(super) fn number(mut self, name: &'static str, value: u64) -> Self {
        self.fields.push((name, Value::Number(value)));
        self
    }

    pub(super) fn millis(mut self, name: &'static str, micros: u64) -> Self {
        self.fields.push((name, Value::Millis(micros)));
        self
    }

    /// Returns what a field has in microseconds that is shown in milliseconds.
    pub(super) fn millis_of(&self, name: &str) -> Option<u64> {
        let mut fields = self.fields.iter();
        fields.find_map(|(field, value)| match value {
            Value::Millis(micros) if *field == name => Some(*micros),
            _ => None,
        })
    }

    /// Adds the age of the message that is taken.
    pub(super) fn age(self, age: &Age) -> Self {
        let micros = |bound: Duration| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        self.millis("age_least_ms", micros(age.at_least))
            .millis("age_most_ms", micros(age.at_most))
    }

    /// Adds the reply to a message.
    pub(super) fn reply(mut self, reply: Payload) -> Self {
        self.payload = Some(reply);
        self.text("reply", "yes")
    }

    pub(super) fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, Value::Text(value.into())));
        self
    }

    pub(super) fn hex(mut self, name: &'static str, value: &[u8]) -> Self {
        self.fields.push((name, Value::Hex(value.to_vec())));
        self
    }

    pub(super) fn on(mut self, channel: impl Into<String>) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// Renders the line for people. `begin` is when the capture began.
    pub(super) fn render(&self, begin: u64, payloads: bool) -> String {
        let since = self.time.saturating_sub(begin);
        let way = match self.way {
            Way::In => '<',
            Way::Out => '>',
            Way::Here => '.',
        };
        let mut text = format!(
            "{:>5}.{:06} {}/{} {way} {}",
            since / 1_000_000,
            since % 1_000_000,
            self.link,
            self.connection,
            plain(&self.kind)
        );
        if let Some(channel) = &self.channel {
            let _ = write!(text, " {}", quoted(channel));
        }
        for (name, value) in &self.fields {
            let _ = match value {
                Value::Number(number) => write!(text, " {name}={number}"),
                Value::Millis(micros) => write!(text, " {name}={}", millis(*micros)),
                Value::Text(value) => write!(text, " {name}={}", quoted(value)),
                Value::Hex(value) => write!(text, " {name}={}", hex(value)),
            };
        }
        if let Some(payload) = &self.payload {
            let _ = write!(text, " {}", count(payload.length, "byte"));
            match &payload.bytes {
                Some(bytes) if payloads => {
                    let more = if payload.length > bytes.len() as u64 {
                        "..."
                    } else {
                        ""
                    };
                    let _ = write!(text, " \"{}\"{more}", bytes.escape_ascii());
                }
                None if payloads && payload.length > 0 => text.push_str(" (left out)"),
                _ => {}
            }
        }
        text
    }

    /// Renders the line for programs: one JSON object, in ASCII.
    pub(super) fn json(&self, payloads: bool) -> String {
        let way = match self.way {
            Way::In => "in",
            Way::Out => "out",
            Way::Here => "here",
        };
        let mut text = format!(
            "{{\"time\":{},\"link\":{},\"connection\":{},\"way\":\"{way}\",\"kind\":{}",
            self.time,
            self.link,
            self.connection,
            json_text(&self.kind)
        );
        if let Some(channel) = &self.channel {
            let _ = write!(text, ",\"channel\":{}", json_text(channel));
        }
        for (name, value) in &self.fields {
            let _ = match value {
                Value::Number(number) => write!(text, ",\"{name}\":{number}"),
                Value::Millis(micros) => write!(text, ",\"{name}\":{}", millis(*micros)),
                Value::Text(value) => write!(text, ",\"{name}\":{}", json_text(value)),
                Value::Hex(value) => write!(text, ",\"{name}\":\"{}\"", hex(value)),
            };
        }
        if let Some(payload) = &self.payload {
            let _ = write!(text, ",\"bytes\":{}", payload.length);
            if let Some(bytes) = payload.bytes.as_ref().filter(|_| payloads) {
                let _ = write!(text, ",\"payload\":\"{}\"", hex(bytes));
            }
        }
        text.push('}');
        text
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the text as it is if it is a plain word, otherwise quoted and with special characters
/// escaped.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("{:?}", Escaped::whole(text))
    }
}

/// Returns the text with special characters escaped.
pub(super) fn plain(text: &str) -> String {
    Escaped::whole(text).to_string()
}

fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => json.push_str("\\\""),
            Ok(b'\\') => json.push_str("\\\\"),
            Ok(byte @ b' '..=b'~') => json.push(byte.into()),
            _ => _ = write!(json, "\\u{unit:04x}"),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_odd_reaches_a_terminal() {
        let nasty = "\u{1b}[2J\u{9b}31m\u{202e}\"\\\n\u{7f}\u{fff9}\u{10ffff}";
        let line = Line {
            time: 1_500_000,
            link: 1,
            connection: 2,
            way: Way::In,
            kind: nasty.to_owned(),
            channel: None,
            fields: Vec::new(),
            payload: Some(Payload {
                length: 4,
                bytes: Some(b"\x1b[0m".to_vec()),
            }),
        };
        let line = line.on(nasty).text("reason", nasty).hex("id", &[0xab]);
        let line = line.millis("life_ms", 300_050);
        let text = line.render(500_000, true);
        assert!(text.starts_with("    1.000000 1/2 < "), "{text}");
        let end = "id=ab life_ms=300.050 4 bytes \"\\x1b[0m\"";
        assert!(text.ends_with(end), "{text}");
        assert!(line.json(true).contains(",\"life_ms\":300.050,"));
        for text in [text, line.json(true)] {
            assert!(
                text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{text}"
            );
        }
        assert!(
            line.json(true)
                .contains("\\u001b[2J\\u009b31m\\u202e\\\"\\\\\\u000a")
        );
    }
}
