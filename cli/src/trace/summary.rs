//! Totals of a capture: frames, bytes, verdicts, and how long these took.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign::capture::{Entry, Record, RecordedEvent, Said, Taken};

use crate::words::{count, size};

use super::figures::Known;
use super::line::{Line, Way, plain, quoted};

/// Counts so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    first: Option<u64>,
    last: u64,
    links: BTreeMap<u64, Link>,
    /// By kind: frames received, frames sent.
    frames: BTreeMap<String, (u64, u64)>,
    /// By link and channel.
    channels: BTreeMap<(u64, String), Channel>,
}

#[derive(Debug, Default)]
struct Link {
    came: u64,
    went: u64,
    /// How it ended.
    end: Option<String>,
    /// In microseconds.
    round_trips: Vec<u64>,
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
    /// How old messages with times were at most when they were taken, in microseconds.
    ages: Vec<u64>,
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
            let round_trip = line.millis_of("round_trip_ms");
            let link = self.links.entry(record.link).or_default();
            link.round_trips.extend(round_trip);
        }
        match &record.entry {
            Entry::In(data) => self.links.entry(record.link).or_default().came += data.len(),
            Entry::Out {
                outcome: Some(Said::Bytes(data)),
                ..
            } => self.links.entry(record.link).or_default().went += data.len(),
            Entry::Event {
                outcome: Some(Some(RecordedEvent::Ended(ended))),
            } => self.links.entry(record.link).or_default().end = Some(ended.name.clone()),
            entry => {
                let first = lines.first();
                let Some(name) = first.and_then(|line| line.channel.clone()) else {
                    return;
                };
                let channel = self.channels.entry((record.link, name)).or_default();
                let age = first.and_then(|line| line.millis_of("age_most_ms"));
                channel.ages.extend(age);
                tally(channel, entry, now);
            }
        }
    }

    /// Renders the summary, for people.
    pub(super) fn render(&self, known: &BTreeMap<u64, Known>) -> String {
        let micros = self.last.saturating_sub(self.first.unwrap_or(self.last));
        let seconds = (micros as f64 / 1e6).max(1e-6);
        let mut text = format!(
            "{:.6} s, {}\n",
            micros as f64 / 1e6,
            size(self.links.len(), "link")
        );
        for (number, link) in &self.links {
            let end = link
                .end
                .as_ref()
                .map_or("open".to_owned(), |end| plain(end));
            let _ = writeln!(
                text,
                "link {number}: {} in, {:.0}/s; {} out, {:.0}/s; {end}",
                count(link.came, "byte"),
                link.came as f64 / seconds,
                count(link.went, "byte"),
                link.went as f64 / seconds
            );
            let known = known.get(number).copied().unwrap_or_default();
            if let Some(told) = of_time(&link.round_trips, known) {
                let _ = writeln!(text, "link {number}: {told}");
            }
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
    if let Some(spread) = spread(&channel.latencies) {
        parts.push(format!("to the verdict {spread}"));
    }
    if channel.taken > 0 {
        parts.push(format!(
            "{} taken, {}",
            channel.taken,
            count(channel.taken_bytes, "byte")
        ));
    }
    if let Some(spread) = spread(&channel.ages) {
        parts.push(format!("age when taken {spread}"));
    }
    if parts.is_empty() {
        parts.push("nothing".to_owned());
    }
    parts.join("; ")
}

/// Says how long things took, if there are any.
fn spread(micros: &[u64]) -> Option<String> {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    let [least, half, most_of, most] =
        [least, at(50), at(99), most].map(|micros| micros as f64 / 1e3);
    Some(format!(
        "{least:.3} ms at least, {half:.3} ms median, {most_of:.3} ms in 99 of 100, {most:.3} ms \
         at most"
    ))
}

/// Says what a link knew of its connection.
fn of_time(round_trips: &[u64], known: Known) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(spread) = spread(round_trips) {
        parts.push(format!("round trips {spread}"));
    }
    if let Some(clock) = known.clock {
        let millis = clock.as_secs_f64() * 1e3;
        parts.push(format!("the peer's clock known to {millis:.3} ms"));
    }
    if let Some(rate) = known.rate {
        parts.push(format!("{rate} bytes/s delivered"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
