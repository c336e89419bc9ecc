//! The demo's results as a table.

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};
use countersign::VerdictKind;

use super::check::Received;
use super::traffic::Sent;
use super::{COMMANDS, VIDEO};

/// Returns a table with both channels side by side.
pub(super) fn render(video: (&[Sent], &[Received]), commands: (&[Sent], &[Received])) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", VIDEO, COMMANDS]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut row = |name: &str, value: &dyn Fn(&[Sent]) -> String| {
        table.add_row([name.to_owned(), value(video.0), value(commands.0)]);
    };
    row("messages", &|sent| sent.len().to_string());
    row("bytes", &|sent| bytes(sent.iter()).to_string());
    for kind in VerdictKind::ALL {
        row(kind.name(), &|sent| with(sent, kind).count().to_string());
    }
    row("send to handled, median", &|sent| show(took(sent, 50)));
    row("send to handled, 99th percentile", &|sent| {
        show(took(sent, 99))
    });
    row("handled in a second", &messages_per_second);
    row("handled bytes in a second", &bytes_per_second);
    for (name, percent) in [
        ("age when taken, median", 50),
        ("age when taken, 99th percentile", 99),
        ("age when taken, oldest", 100),
    ] {
        let of = |received| show(age(received, percent));
        table.add_row([name.to_owned(), of(video.1), of(commands.1)]);
    }
    table
}

fn with(sent: &[Sent], kind: VerdictKind) -> impl Iterator<Item = &Sent> {
    sent.iter().filter(move |message| message.verdict == kind)
}

fn bytes<'a>(messages: impl Iterator<Item = &'a Sent>) -> usize {
    messages.map(|message| message.bytes).sum()
}

/// Returns the age that `percent` of 100 messages had at most when they were taken, as far as their
/// receiver knows, or `None` without messages.
fn age(received: &[Received], percent: usize) -> Option<Duration> {
    let ages = received.iter().filter_map(|message| message.age);
    percentile(ages.collect(), percent)
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Option<Duration> {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.checked_sub(1)?).copied()
}

/// Returns the time within which `percent` of 100 handled messages were handled, or `None` without
/// messages.
fn took(sent: &[Sent], percent: usize) -> Option<Duration> {
    let handled = with(sent, VerdictKind::Handled);
    percentile(handled.map(|message| message.took).collect(), percent)
}

fn show(time: Option<Duration>) -> String {
    match time {
        // No more than three digits repeat from run to run.
        Some(time) if time < Duration::from_millis(1) => format!("{} µs", time.as_micros()),
        Some(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        None => "-".to_owned(),
    }
}

/// Returns the time from the first message handed to the link to the last verdict, in seconds.
fn elapsed(sent: &[Sent]) -> Option<f64> {
    let first = sent.first()?.at;
    let last = sent.iter().map(|message| message.at + message.took).max()?;
    let seconds = last.saturating_duration_since(first).as_secs_f64();
    (seconds > 0.0).then_some(seconds)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "one digit after the point is shown"
)]
fn messages_per_second(sent: &[Sent]) -> String {
    let handled = with(sent, VerdictKind::Handled).count();
    elapsed(sent).map_or("-".to_owned(), |seconds| {
        format!("{:.1}", handled as f64 / seconds)
    })
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded for people anyway"
)]
fn bytes_per_second(sent: &[Sent]) -> String {
    let handled = bytes(with(sent, VerdictKind::Handled));
    elapsed(sent).map_or("-".to_owned(), |seconds| {
        ByteSize((handled as f64 / seconds) as u64)
            .display()
            .si()
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let at = Instant::now();
        let sent: Vec<_> = (1..=200)
            .rev()
            .map(|millis| Sent {
                hash: [0; 32],
                bytes: 10,
                verdict: VerdictKind::Handled,
                at,
                took: Duration::from_millis(millis),
            })
            .collect();
        assert_eq!(took(&sent, 50), Some(Duration::from_millis(100)));
        assert_eq!(took(&sent, 99), Some(Duration::from_millis(198)));
        assert_eq!(took(&sent[..1], 99), Some(Duration::from_millis(200)));
        assert_eq!(took(&[], 50), None);
        assert_eq!(elapsed(&sent), Some(0.2));
        assert!(
            render((&sent, &[]), (&[], &[]))
                .to_string()
                .contains("100.00 ms")
        );
    }
}
