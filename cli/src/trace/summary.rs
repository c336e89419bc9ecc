//! Totals of a capture: frames, bytes, verdicts, and how long these took.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign::capture::{Entry, Record, RecordedEvent, Said, Taken};

use crate::words::{count, size};

use super::line::{Line, Way, plain, quoted};

/// Counts so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    first: Option<u64>,
    last: u64,
    /// By link: bytes received, bytes sent, and how it ended.
    links: BTreeMap<u64, (u64, u64, Option<String>)>,
    /// By kind: frames received, frames sent.
    frames: BTreeMap<String, (u64, u64)>,
    /// By link and channel.
    channels: BTreeMap<(u64, String), Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    /// When messages without a verdict were sent.
    open: BTreeMap<u64, u64>,
    sent: u64,
    sent_bytes: u64,
    taken: u64,
    taken_bytes: u64,
    verdicts: BTreeMap<String, u64>,
    /// From sending to the verdict, in microseconds.
    latencies: Vec<u64>,
}

impl Channel {
    fn settle(&mut self, number: u64, now: u64, verdict: &str) {
        if let Some(sent) = self.open.remove(&number) {
            self.latencies.push(now.saturating_sub(sent));
            *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
        }
    }
}

impl Summary {
    /// Counts a record and its lines.
    pub(super) fn add(&mut self, record: &Record, lines: &[Line]) {
        let now = record.time.as_micros();
        if now > 0 {
            self.first.get_or_insert(now);
            self.last = self.last.max(now);
        }
        if record.link > 0 {
            self.links.entry(record.link).or_default();
        }
        for line in lines.iter().filter(|line| line.way != Way::Here) {
            let (came, went) = self.frames.entry(line.kind.clone()).or_default();
            *(if line.way == Way::In { came } else { went }) += 1;
        }
        let channel = lines.first().and_then(|line| line.channel.clone());
        match (&record.entry, channel) {
            (Entry::In(data), _) => self.links.entry(record.link).or_default().0 += data.len(),
            (
                Entry::Out {
                    outcome: Some(Said::Bytes(data)),
                    ..
                },
                _,
            ) => self.links.entry(record.link).or_default().1 += data.len(),
            (
                Entry::Event {
                    outcome: Some(Some(RecordedEvent::Ended(ended))),
                },
                _,
            ) => self.links.entry(record.link).or_default().2 = Some(ended.name.clone()),
            (entry, Some(channel)) => {
                let channel = self.channels.entry((record.link, channel)).or_default();
                tally(channel, entry, now);
            }
            _ => {}
        }
    }

    /// Renders the summary, for people.
    pub(super) fn render(&self) -> String {
        let micros = self.last.saturating_sub(self.first.unwrap_or(self.last));
        let seconds = (micros as f64 / 1e6).max(1e-6);
        let mut text = format!(
            "{:.6} s, {}\n",
            micros as f64 / 1e6,
            size(self.links.len(), "link")
        );
        for (link, (came, went, end)) in &self.links {
            let end = end.as_ref().map_or("open".to_owned(), |end| plain(end));
            let _ = writeln!(
                text,
                "link {link}: {} in, {:.0}/s; {} out, {:.0}/s; {end}",
                count(*came, "byte"),
                *came as f64 / seconds,
                count(*went, "byte"),
                *went as f64 / seconds
            );
        }
        for (kind, (came, went)) in &self.frames {
            let _ = writeln!(text, "{}: {came} in, {went} out", plain(kind));
        }
        for ((link, name), channel) in &self.channels {
            let _ = writeln!(
                text,
                "link {link} channel {}: {}",
                quoted(name),
                told(channel)
            );
        }
        text
    }
}

fn tally(channel: &mut Channel, entry: &Entry, now: u64) {
    match entry {
        Entry::Send {
            message,
            outcome: Some(Ok(number)),
            ..
        } => {
            channel.open.insert(*number, now);
            channel.sent += 1;
            channel.sent_bytes += message.len();
        }
        Entry::Take {
            outcome: Some(Taken::Message(_, length)),
            ..
        } => {
            channel.taken += 1;
            channel.taken_bytes = channel.taken_bytes.saturating_add(*length);
        }
        Entry::Event {
            outcome: Some(Some(RecordedEvent::Verdict { sequence, kind, .. })),
        } => channel.settle(*sequence, now, kind),
        Entry::Event {
            outcome: Some(Some(RecordedEvent::Handled { first, last, .. })),
        } if first <= last => {
            let numbers: Vec<u64> = channel.open.range(first..=last).map(|(n, _)| *n).collect();
            for number in numbers {
                channel.settle(number, now, "handled");
            }
        }
        _ => {}
    }
}

fn told(channel: &Channel) -> String {
    let mut parts = Vec::new();
    if channel.sent > 0 {
        let mut text = format!(
            "{} sent, {}",
            channel.sent,
            count(channel.sent_bytes, "byte")
        );
        for (verdict, count) in &channel.verdicts {
            let _ = write!(text, ", {count} {}", plain(verdict));
        }
        if !channel.open.is_empty() {
            let _ = write!(text, ", {} without a verdict", channel.open.len());
        }
        parts.push(text);
    }
    let mut latencies = channel.latencies.clone();
    latencies.sort_unstable();
    if let (Some(least), Some(most)) = (latencies.first(), latencies.last()) {
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        let [least, half, most_of, most] =
            [*least, at(50), at(99), *most].map(|micros| micros as f64 / 1e3);
        parts.push(format!(
            "to the verdict {least:.3} ms at least, {half:.3} ms median, {most_of:.3} ms in 99 of \
             100, {most:.3} ms at most"
        ));
    }
    if channel.taken > 0 {
        parts.push(format!(
            "{} taken, {}",
            channel.taken,
            count(channel.taken_bytes, "byte")
        ));
    }
    if parts.is_empty() {
        parts.push("nothing".to_owned());
    }
    parts.join("; ")
}
