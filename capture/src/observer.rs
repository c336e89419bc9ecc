//! The observer that turns a link's calls into records.

use std::sync::Arc;

use countersign_core::{Call, Instant, Observe, Outcome, TakeOver};

use crate::cbor::Cbor;
use crate::encode;
use crate::recording::{EndGuard, Recording};

/// Records one link.
#[derive(Debug)]
pub(crate) struct Observer {
    recording: Arc<Recording>,
    /// Keeps the capture from ending.
    _end_guard: Option<Arc<EndGuard>>,
    link: u64,
    time: u64,
    /// The record that is being written, without its head.
    body: Cbor,
    /// How many items the record has; zero if there is no record.
    items: usize,
    last: Last,
}

/// What the last call means for the directions of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    Opened,
    TakeOver { incoming: Option<u64> },
    Other,
}

impl Observer {
    pub(crate) fn new(
        recording: Arc<Recording>,
        end_guard: Option<Arc<EndGuard>>,
        link: u64,
    ) -> Self {
        Self {
            recording,
            _end_guard: end_guard,
            link,
            time: 0,
            body: Cbor::new(),
            items: 0,
            last: Last::Other,
        }
    }

    fn begin(&mut self) {
        // A call that never returned has no outcome.
        self.finish();
        self.body.uint(self.link).uint(self.time);
        self.items = 2;
    }

    fn finish(&mut self) {
        if self.items > 0 {
            self.recording
                .record(self.items, self.body.bytes_so_far(), self.time);
        }
        self.items = 0;
        self.body.clear();
    }

    /// Writes a record that has nothing but a name and perhaps a value.
    fn note(&mut self, name: &str, value: Option<u64>) {
        self.begin();
        self.body.text(name);
        self.items += 1;
        if let Some(value) = value {
            self.body.uint(value);
            self.items += 1;
        }
        self.finish();
    }
}

impl Observe for Observer {
    fn id(&self) -> u64 {
        self.link
    }

    fn call(&mut self, now: Instant, call: &Call<'_>) {
        if self.recording.has_ended() {
            return;
        }
        self.time = now.as_micros();
        self.last = match *call {
            Call::Opened => Last::Opened,
            Call::TakeOver { incoming } => Last::TakeOver { incoming },
            _ => Last::Other,
        };
        if let Call::New { config, .. } = call {
            self.recording.begin_link(self.link, config);
        }
        if let (Call::Opened, Some(clock)) = (call, self.recording.unix_micros()) {
            self.note("clock", Some(clock));
        }
        self.begin();
        let Self {
            body,
            recording,
            link,
            ..
        } = self;
        let written = recording.with_split(*link, 0, |split| encode::call(body, call, split));
        self.items += written;
        let size = match *call {
            Call::Input(input) => input.len(),
            Call::PollOutput { space } => space,
            _ => 0,
        };
        if size as u64 > crate::MAX_DATA {
            self.recording.end("too-large");
        }
        if !encode::has_outcome(call) {
            self.finish();
        }
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        if self.items == 0 {
            return;
        }
        let Self {
            body,
            recording,
            link,
            ..
        } = self;
        recording.with_split(*link, 1, |split| encode::outcome(body, outcome, split));
        self.items += 1;
        self.finish();
        match (self.last, outcome) {
            (Last::Opened, Outcome::InOrder(Ok(()))) => self.recording.begin_connection(self.link),
            (Last::TakeOver { incoming }, Outcome::TakenOver(TakeOver::Done)) => {
                self.recording.move_connection(incoming, self.link);
            }
            _ => {}
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if self.recording.has_ended() {
            return;
        }
        self.note("gone", None);
        self.recording.forget_link(self.link);
    }
}
