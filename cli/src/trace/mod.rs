//! `countersign trace`: shows what is in a capture.
//!
//! - `frames` finds frames in bytes, `links` says what each record is about, `clock` has round trips.
//! - `line` formats that, for people and for programs.
//! - `summary` counts, and `figures` plays the capture along to know what only links knew.

mod clock;
mod figures;
mod frames;
pub(crate) mod kinds;
mod line;
mod links;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use countersign::Escaped;
use countersign::capture::{ReadError, Reader, Record, Replay, ReplayError};

use crate::args::TraceArgs;
use crate::exit::Failure;
use crate::stdio;
use crate::words::count;
use figures::Figures;
use line::Line;
use links::Links;
use summary::Summary;

/// Prints what is in a capture.
///
/// # Errors
/// The file can't be read or is not a capture, standard output can't be written, there is no time
/// between `--from` and `--to`, or a replay did something else.
pub fn run(args: &TraceArgs) -> Result<(), Failure> {
    if args.to.is_some_and(|to| args.from > Some(to)) {
        return Err(Failure::usage(
            "--from is later than --to; nothing is between them",
        ));
    }
    let name = args.file.display();
    let out = stdio::output()?;
    let bytes = match args.file.as_os_str() == "-" {
        true => read(stdio::input()?),
        false => File::open(&args.file).and_then(read),
    };
    let bytes = bytes.map_err(|error| {
        Failure::files(format!("{name}: cannot be read ({error})")).because(error)
    })?;
    let reader = Reader::new(&bytes).map_err(|error| unreadable(args, &error))?;
    let mut out = BufWriter::new(out);
    let result = if args.replay {
        replay(args, reader, &mut out)
    } else {
        tell(args, reader, &mut out)
    };
    let (written, result) = match result {
        Ok(result) => (out.flush(), result),
        Err(error) => (Err(error), Ok(())),
    };
    result.and(stdio::finish(written))
}

fn read(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(args: &TraceArgs, error: &ReadError) -> Failure {
    Failure::files(format!("{}: {error}", args.file.display()))
}

/// Reports how a capture ends.
fn conclude(
    args: &TraceArgs,
    reader: &Reader<'_>,
    error: Option<&ReadError>,
) -> Result<(), Failure> {
    let name = args.file.display();
    match error {
        // Its writer was killed, or still writes.
        Some(error @ ReadError::Truncated { .. }) => tracing::warn!("{name}: {error}"),
        Some(error) => return Err(unreadable(args, error)),
        None if reader.is_complete() => {}
        None => tracing::warn!("{name}: the capture breaks off without its end"),
    }
    Ok(())
}

type Told = io::Result<Result<(), Failure>>;

fn tell(args: &TraceArgs, mut reader: Reader<'_>, out: &mut impl Write) -> Told {
    let (mut links, mut summary) = (Links::default(), Summary::default());
    let mut there = There::default();
    let mut figures = Figures::new(reader.header().payloads);
    let (mut begin, mut wrong) = (None, None);
    while let Some(record) = reader.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                wrong = Some(error);
                break;
            }
        };
        let time = record.time.as_micros();
        if begin.is_none() && time > 0 {
            begin = Some(time);
        }
        let begin = begin.unwrap_or(time);
        let mut lines = links.lines(&record);
        there.note(record.link, &lines);
        if let Some(age) = figures.step(&record, reader.offset()) {
            // A message that is taken is one line.
            lines = lines.into_iter().map(|line| line.age(&age)).collect();
        }
        if args.link.is_some_and(|link| link != record.link) || !is_within(args, time, begin) {
            continue;
        }
        let lines: Vec<Line> = lines
            .into_iter()
            .filter(|line| is_wanted(args, line))
            .collect();
        if args.summary {
            summary.add(&record, &lines);
            continue;
        }
        for line in lines {
            let text = if args.json {
                line.json(args.payloads)
            } else {
                line.render(begin, args.payloads)
            };
            writeln!(out, "{text}")?;
        }
    }
    if args.summary {
        write!(out, "{}", summary.render(&figures.finish()))?;
    }
    Ok(conclude(args, &reader, wrong.as_ref()).and_then(|()| there.check(args)))
}

/// The links and channels of a capture, which can be selected by number or name.
#[derive(Debug, Default)]
struct There {
    links: BTreeSet<u64>,
    channels: BTreeSet<String>,
}

impl There {
    fn note(&mut self, link: u64, lines: &[Line]) {
        // Number 0 stands for all links.
        if link > 0 {
            self.links.insert(link);
        }
        for line in lines {
            if let Some(name) = line
                .channel
                .as_ref()
                .filter(|name| !self.channels.contains(*name))
            {
                self.channels.insert(name.clone());
            }
        }
    }

    /// Fails if something that was asked for does not exist: an empty answer would hide a typing
    /// error.
    fn check(&self, args: &TraceArgs) -> Result<(), Failure> {
        if let Some(link) = args.link.filter(|link| !self.links.contains(link)) {
            let links = list(&self.links);
            return Err(Failure::usage(format!(
                "--link {link}: the capture has no such link; there is {links}"
            )));
        }
        let missing = args
            .channel
            .iter()
            .find(|name| !self.channels.contains(*name));
        let Some(name) = missing else {
            return Ok(());
        };
        let (name, channels) = (Escaped::new(name), list(&self.channels));
        Err(Failure::usage(format!(
            "--channel {name}: the capture has nothing about such a channel; there is {channels}"
        )))
    }
}

/// Lists all items, or says that there are none.
fn list<T: ToString>(of: &BTreeSet<T>) -> String {
    let all: Vec<String> = of.iter().map(ToString::to_string).collect();
    match all.is_empty() {
        true => "none at all".to_owned(),
        false => Escaped::whole(all.join(", ")).to_string(),
    }
}

fn is_within(args: &TraceArgs, time: u64, begin: u64) -> bool {
    let since = std::time::Duration::from_micros(time.saturating_sub(begin));
    args.from.is_none_or(|from| since >= from) && args.to.is_none_or(|to| since <= to)
}

fn is_wanted(args: &TraceArgs, line: &Line) -> bool {
    let channel = line.channel.as_ref();
    let channel =
        args.channel.is_empty() || channel.is_some_and(|name| args.channel.contains(name));
    let mut kinds = args.kind.iter();
    channel && (args.kind.is_empty() || kinds.any(|kind| kind.eq_ignore_ascii_case(&line.kind)))
}

fn replay(args: &TraceArgs, mut reader: Reader<'_>, out: &mut impl Write) -> Told {
    let mut replay = Replay::new(reader.header().payloads);
    let mut links = Links::default();
    let mut wrong = None;
    while let Some(record) = reader.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                wrong = Some(error);
                break;
            }
        };
        if let Err(error) = replay.step(&record, reader.offset()) {
            return differs(args, &error, &mut links, out);
        }
        links.lines(&record);
    }
    let links = count(replay.replayed().links, "link");
    let records = count(replay.replayed().records, "record");
    writeln!(out, "{links} did the same again, {records}")?;
    Ok(conclude(args, &reader, wrong.as_ref()))
}

/// Shows what a link did, and what its replay did.
fn differs(args: &TraceArgs, error: &ReplayError, links: &mut Links, out: &mut impl Write) -> Told {
    if let ReplayError::Differs(difference) = error {
        let mut show = |what: &str, record: Option<&Record>| -> io::Result<()> {
            writeln!(out, "{what}:")?;
            let lines = record.map(|record| links.lines(record)).unwrap_or_default();
            for line in &lines {
                writeln!(out, "{}", line.render(0, true))?;
            }
            if lines.is_empty() {
                writeln!(out, "    nothing")?;
            }
            Ok(())
        };
        // The second is read as if it followed the first, so where output cuts a frame, only the
        // first is shown in frames.
        show("captured", Some(&difference.captured))?;
        show("replayed", difference.replayed.as_ref())?;
    }
    Ok(Err(Failure::failed(format!(
        "{}: {error}",
        args.file.display()
    ))))
}
