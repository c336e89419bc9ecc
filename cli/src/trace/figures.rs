//! What links knew of time: found by a replay, since a capture has only what they were told.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::Age;
use countersign::capture::{Entry, Instant, Record, Replay};

/// What a link knew of its connections, as of the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    /// How closely it knew the peer's clock.
    pub(super) clock: Option<Duration>,
    /// How many bytes arrived in a second where there was enough to send.
    pub(super) rate: Option<u64>,
}

/// Plays a capture along with what is read of it, for as long as links do the same again.
#[derive(Debug)]
pub(super) struct Figures {
    replay: Option<Replay>,
    now: Instant,
    known: BTreeMap<u64, Known>,
}

impl Figures {
    /// `payloads` is whether the capture has them.
    pub(super) fn new(payloads: bool) -> Self {
        Self {
            replay: Some(Replay::new(payloads)),
            now: Instant::ZERO,
            known: BTreeMap::new(),
        }
    }

    /// Plays a record, which begins at `offset`. Returns how old the message was that it took.
    pub(super) fn step(&mut self, record: &Record, offset: usize) -> Option<Age> {
        // A link forgets these with its connection.
        if matches!(record.entry, Entry::Lost(_) | Entry::Eof | Entry::Gone) {
            self.note(record.link);
        }
        self.now = self.now.max(record.time);
        if record.link > 0 {
            self.known.entry(record.link).or_default();
        }
        let replay = self.replay.as_mut()?;
        if replay.step(record, offset).is_err() {
            // What follows would be about other links than those of the capture.
            self.replay = None;
        }
        self.replay.as_ref()?.age()
    }

    fn note(&mut self, link: u64) {
        let Some(playing) = self.replay.as_ref().and_then(|replay| replay.link(link)) else {
            return;
        };
        let status = playing.status(self.now);
        let known = self.known.entry(link).or_default();
        let clock = status.clock.map(|clock| clock.uncertainty());
        known.clock = clock.or(known.clock);
        known.rate = status.rate.or(known.rate);
    }

    /// Returns what links knew in the end.
    pub(super) fn finish(mut self) -> BTreeMap<u64, Known> {
        for link in self.known.keys().copied().collect::<Vec<_>>() {
            self.note(link);
        }
        self.known
    }
}
