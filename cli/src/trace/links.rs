//! The links of a capture, as far as it has been read, and what each record says about them.

use std::collections::BTreeMap;

use countersign::capture::TakeOver;
use countersign::capture::{Data, Entry, Outcome, Record, RecordedEvent, Said, Taken};
use countersign::{ChannelConfig, Config, Dialect, Mode, Role};

use super::clock::Asked;
use super::frames::{Direction, Field, Found, Note};
use super::line::{Line, PREVIEW, Payload, Way};

/// What has been read of one link.
#[derive(Debug)]
pub(super) struct Known {
    role: Role,
    dialect: Dialect,
    /// This end's mode on the first channel, which is what matters in the tlsstream dialect.
    mode: Mode,
    /// The names of its channels, as it declares them.
    names: Vec<String>,
    /// The same, as they are numbered on the wire.
    wire: Vec<String>,
    connection: u64,
    input: Direction,
    output: Direction,
    /// The times that it has written on the connection.
    asked: Asked,
}

impl Known {
    fn new(role: Role, config: &Config) -> Self {
        let dialect = config.get_dialect();
        let mut known = Self {
            role,
            dialect,
            mode: Mode::Send,
            names: Vec::new(),
            wire: Vec::new(),
            connection: 0,
            input: Direction::Rubbish,
            output: Direction::Rubbish,
            asked: Asked::default(),
        };
        known.declare(config.channels());
        if role == Role::Opener {
            known.wire.clone_from(&known.names);
        }
        known.begin();
        known
    }

    /// Notes what the link declares, which may change until its peer is admitted. In the tlsstream
    /// dialect, where only the mode shows what comes, the connection is read accordingly from then
    /// on.
    fn declare(&mut self, channels: &[ChannelConfig]) {
        let mode = channels.first().map_or(Mode::Send, ChannelConfig::mode);
        self.names = names_of(channels);
        let changes = std::mem::replace(&mut self.mode, mode) != mode;
        if self.dialect == Dialect::TlsStream {
            self.wire.clone_from(&self.names);
            if changes {
                self.begin();
            }
        }
    }

    fn connect(&mut self) {
        self.connection += 1;
        self.begin();
    }

    /// Starts to read a connection from its beginning.
    fn begin(&mut self) {
        self.input = Direction::new(self.dialect, self.mode.opposite());
        self.output = Direction::new(self.dialect, self.mode);
        self.asked = Asked::default();
    }

    /// Returns the line of a frame, and notes what later ones are read by.
    fn frame(&mut self, found: Found, line: Line) -> Line {
        let (kind, channel, fields, payload, note) = match found {
            Found::Rubbish(why) => {
                let kind = "no-frame".to_owned();
                return Line { kind, ..line }.text("why", why);
            }
            Found::Frame {
                kind,
                channel,
                fields,
                payload,
                note,
            } => (kind, channel, fields, payload, note),
        };
        let (now, way) = (line.time, line.way);
        let mut line = Line {
            kind,
            channel: channel.map(|channel| name_of(&self.wire, channel)),
            ..line
        };
        for field in fields {
            line = match field {
                Field::Number(name, value) => line.number(name, value),
                Field::Millis(name, value) => line.millis(name, value),
                Field::Text(name, value) => line.text(name, value),
                Field::Hex(name, value) => line.hex(name, &value),
            };
        }
        let line = match (payload, &note) {
            (Some(reply), Note::Reply) => line.reply(reply),
            (payload, _) => Line { payload, ..line },
        };
        match self.take_note(note, way, now) {
            Some(round_trip) => line.millis("round_trip_ms", round_trip),
            None => line,
        }
    }

    /// Returns how long the way there and back took, in microseconds, if this frame shows it.
    fn take_note(&mut self, note: Note, way: Way, now: u64) -> Option<u64> {
        match (note, way) {
            (Note::Hello { names, .. }, Way::In) if self.role == Role::Acceptor => {
                self.wire = names;
            }
            (
                Note::Hello { time, .. } | Note::Welcome { time, .. } | Note::Ping(time),
                Way::Out,
            ) => {
                self.asked.ask(time);
            }
            (Note::Welcome { arrived, time }, Way::In) => {
                return self.asked.first_round_trip(now, arrived, time);
            }
            (Note::Pong(pong), Way::In) => return self.asked.round_trip(now, &pong),
            _ => {}
        }
        None
    }
}

fn names_of(channels: &[ChannelConfig]) -> Vec<String> {
    let names = channels.iter().map(ChannelConfig::name);
    names.map(str::to_owned).collect()
}

fn name_of(names: &[String], channel: u16) -> String {
    let name = names.get(usize::from(channel));
    name.cloned().unwrap_or_else(|| format!("#{channel}"))
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<u64, Known>);

impl Links {
    /// Returns the lines for a record, none if nothing happened.
    pub(super) fn lines(&mut self, record: &Record) -> Vec<Line> {
        self.note(record);
        let connection = self.0.get(&record.link).map_or(0, |link| link.connection);
        let line = |way, kind: &str| Line {
            time: record.time.as_micros(),
            link: record.link,
            connection,
            way,
            kind: kind.to_owned(),
            channel: None,
            fields: Vec::new(),
            payload: None,
        };
        match &record.entry {
            Entry::In(data) => self.frames(record.link, data, &line(Way::In, "")),
            Entry::Out {
                outcome: Some(Said::Bytes(data)),
                ..
            } => self.frames(record.link, data, &line(Way::Out, "")),
            Entry::Out { space, outcome } => match outcome {
                Some(Said::Idle) => Vec::new(),
                Some(Said::TooSmall(needed)) => {
                    let line = line(Way::Out, "too-small").number("space", *space);
                    vec![line.number("needed", *needed)]
                }
                Some(Said::End) => vec![line(Way::Out, "end")],
                _ => vec![never_returned(line(Way::Out, "out"))],
            },
            Entry::Event {
                outcome: Some(None),
            } => Vec::new(),
            entry => {
                let link = self.0.get(&record.link);
                let names = link.map_or(&[][..], |link| &link.names);
                vec![here(line(Way::Here, entry.name()), entry, names)]
            }
        }
    }

    /// Notes what a record changes.
    fn note(&mut self, record: &Record) {
        match &record.entry {
            Entry::New { role, config, .. } => {
                self.0.insert(record.link, Known::new(*role, config));
            }
            Entry::Declare(channels) => {
                if let Some(link) = self.0.get_mut(&record.link) {
                    link.declare(channels);
                }
            }
            Entry::Opened {
                in_order: Some(true),
            } => {
                if let Some(link) = self.0.get_mut(&record.link) {
                    link.connect();
                }
            }
            Entry::TakeOver {
                incoming: Some(incoming),
                outcome: Some(TakeOver::Done),
            } => {
                let Some(pending) = self.0.get_mut(incoming) else {
                    return;
                };
                let input = std::mem::replace(&mut pending.input, Direction::Rubbish);
                let wire = pending.wire.clone();
                if let Some(link) = self.0.get_mut(&record.link) {
                    link.connect();
                    (link.input, link.wire) = (input, wire);
                }
            }
            Entry::Gone => _ = self.0.remove(&record.link),
            _ => {}
        }
    }

    fn frames(&mut self, link: u64, data: &Data, line: &Line) -> Vec<Line> {
        let Some(link) = self.0.get_mut(&link) else {
            return Vec::new();
        };
        let direction = match line.way {
            Way::In => &mut link.input,
            _ => &mut link.output,
        };
        let found = direction.read(data).into_iter();
        found.map(|found| link.frame(found, line.clone())).collect()
    }
}

fn never_returned(line: Line) -> Line {
    line.text("outcome", "never returned")
}

fn settled(line: Line, outcome: Option<&Outcome<()>>) -> Line {
    match outcome {
        Some(Ok(())) => line,
        Some(Err(why)) => line.text("outcome", why),
        None => never_returned(line),
    }
}

fn in_order(line: Line, outcome: Option<bool>) -> Line {
    match outcome {
        Some(true) => line,
        Some(false) => line.text("outcome", "out of order"),
        None => never_returned(line),
    }
}

/// Returns the line for a record that is neither input nor output.
fn here(line: Line, entry: &Entry, names: &[String]) -> Line {
    let on = |line: Line, channel: u16| line.on(name_of(names, channel));
    match entry {
        Entry::New { role, config, .. } => {
            let role = match role {
                Role::Opener => "opener",
                Role::Acceptor => "acceptor",
            };
            let line = line.text("role", role);
            line.text("dialect", config.get_dialect().to_string())
        }
        Entry::Clock { unix_micros } => {
            let since = std::time::Duration::from_micros(*unix_micros);
            let time = std::time::UNIX_EPOCH.checked_add(since);
            // Years beyond 9999 can't be formatted.
            match time.filter(|_| since.as_secs() < 253_402_300_800) {
                Some(time) => {
                    let time = humantime::format_rfc3339_micros(time);
                    line.text("utc", time.to_string())
                }
                None => line.number("unix_micros", *unix_micros),
            }
        }
        Entry::Opened { in_order: outcome } => in_order(line, *outcome),
        Entry::Secured {
            peer,
            in_order: outcome,
        } => {
            let line = match peer {
                Some(peer) => line.hex("peer", &peer.0),
                None => line.text("peer", "plain"),
            };
            in_order(line, *outcome)
        }
        Entry::Lost(how) => line.text("how", how.name()),
        Entry::Send {
            channel,
            message,
            expires,
            outcome,
        } => {
            let mut line = on(line, *channel);
            if let Some(expires) = expires {
                let left = expires.as_micros().saturating_sub(line.time);
                line = line.number("expires_in", left);
            }
            line.payload = Some(payload(message));
            match outcome {
                Some(Ok(number)) => line.number("number", *number),
                Some(Err(why)) => line.text("outcome", why),
                None => never_returned(line),
            }
        }
        Entry::Take { channel, outcome } => {
            let mut line = on(line, *channel);
            match *outcome {
                Some(Taken::Message(number, length)) => {
                    let bytes = None;
                    line.payload = Some(Payload { length, bytes });
                    line.number("number", number)
                }
                Some(Taken::SessionBorder(why)) => line
                    .text("outcome", "session-border")
                    .text("why", why.name()),
                Some(Taken::Nothing) => line.text("outcome", "late"),
                None => never_returned(line),
            }
        }
        Entry::Handle {
            channel,
            sequence,
            reply,
            outcome,
        } => {
            let line = on(line, *channel).number("number", *sequence);
            settled(replied(line, reply.as_ref()), outcome.as_ref())
        }
        Entry::Reject {
            channel,
            sequence,
            code,
            reason,
            outcome,
        } => {
            let line = on(line, *channel).number("number", *sequence);
            let line = line.number("code", (*code).into()).text("reason", reason);
            settled(line, outcome.as_ref())
        }
        Entry::Abandon { channel, outcome } => settled(on(line, *channel), outcome.as_ref()),
        Entry::Close { mode, reason } => {
            let line = line.text("mode", format!("{mode:?}"));
            said(line, reason.code.into(), &reason.text, reason.again)
        }
        Entry::TakeOver { incoming, outcome } => {
            let line = match incoming {
                Some(incoming) => line.number("incoming", *incoming),
                None => line,
            };
            match outcome {
                Some(outcome) => line.text("outcome", format!("{outcome:?}")),
                None => never_returned(line),
            }
        }
        Entry::Declare(channels) => line.text("channels", names_of(channels).join(", ")),
        Entry::Admit { gone: Some(gone) } => line.hex("gone", &gone.session),
        Entry::Refuse(refusal) => said(line, refusal.code.into(), &refusal.text, refusal.again),
        Entry::End { why } => line.text("why", why),
        Entry::Event { outcome } => match outcome {
            Some(Some(happened)) => event(line, happened, names),
            _ => never_returned(line),
        },
        _ => line,
    }
}

/// Adds what an end says when it closes or refuses.
fn said(line: Line, code: u64, text: &str, again: bool) -> Line {
    let mut line = line.number("code", code);
    if again {
        line = line.text("again", "yes");
    }
    if code > 0 || !text.is_empty() {
        line = line.text("text", text);
    }
    line
}

fn replied(line: Line, reply: Option<&Data>) -> Line {
    match reply {
        Some(reply) => line.reply(payload(reply)),
        None => line,
    }
}

fn payload(data: &Data) -> Payload {
    use countersign::capture::Part;

    let known = match &data.0[..] {
        [] => Some(&[][..]),
        [Part::Bytes(bytes), ..] => Some(&bytes[..]),
        _ => None,
    };
    Payload {
        length: data.len(),
        bytes: known.map(|bytes| bytes[..bytes.len().min(PREVIEW)].to_vec()),
    }
}

fn event(line: Line, happened: &RecordedEvent, names: &[String]) -> Line {
    let line = line.text("event", happened.name());
    let on = |line: Line, channel: u16| line.on(name_of(names, channel));
    match happened {
        RecordedEvent::Because { why, .. } => line.text("why", why),
        RecordedEvent::OnChannel { channel, .. } => on(line, *channel),
        RecordedEvent::Handled {
            channel,
            first,
            last,
        } => on(line, *channel)
            .number("first", *first)
            .number("last", *last),
        RecordedEvent::Verdict {
            channel,
            sequence,
            kind,
            reply,
            rejection,
        } => {
            let line = on(line, *channel).number("number", *sequence);
            let line = replied(line.text("verdict", kind), reply.as_ref());
            match rejection {
                Some((code, reason)) => line.number("code", (*code).into()).text("reason", reason),
                None => line,
            }
        }
        RecordedEvent::Ended(ended) => line.text("why", &ended.name).text("text", &ended.text),
        _ => line,
    }
}
