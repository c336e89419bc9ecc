//! What a capture has recorded and not yet written.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_core::{ChannelConfig, Config, Dialect, Mode};

use crate::encode;
use crate::options::{Options, QUEUE};
use crate::split::Split;

/// Ends a capture when the last clone is dropped.
#[derive(Debug)]
pub(crate) struct EndGuard(pub(crate) Arc<Recording>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end("finished");
    }
}

/// The state that a capture's observers and its thread share.
#[derive(Debug)]
pub(crate) struct Recording {
    options: Options,
    /// Whether a thread empties the queue, and the wall clock is recorded.
    is_live: bool,
    state: Mutex<State>,
    /// Notified when there is something to write, or when the capture has ended.
    changed: Condvar,
    ended: AtomicBool,
    links_begun: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The bytes that wait to be written.
    queue: Vec<u8>,
    /// The size so far in bytes, written or not.
    total: u64,
    ended: Option<&'static str>,
    /// The state of each link, if payloads are left out.
    links: BTreeMap<u64, Directions>,
}

/// The state of both directions of a link's connection: input, output.
#[derive(Debug)]
struct Directions {
    dialect: Dialect,
    mode: Mode,
    splits: [Split; 2],
}

impl Directions {
    fn new(dialect: Dialect, mode: Mode) -> Self {
        let splits = [mode.opposite(), mode].map(|mode| Split::new(dialect, mode));
        Self {
            dialect,
            mode,
            splits,
        }
    }
}

impl Recording {
    pub(crate) fn new(options: Options, is_live: bool) -> Self {
        let queue = if is_live {
            encode::header(options.payloads, now())
        } else {
            Vec::new()
        };
        Self {
            options,
            is_live,
            state: Mutex::new(State {
                total: queue.len() as u64,
                queue,
                ended: None,
                links: BTreeMap::new(),
            }),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            links_begun: AtomicU64::new(0),
        }
    }

    /// Returns the number of a link that begins.
    pub(crate) fn next_link(&self) -> u64 {
        self.links_begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns how many bytes there are, written or not, and what ended the capture.
    pub(crate) fn size_and_end(&self) -> (u64, &'static str) {
        let state = self.lock();
        (state.total, state.ended.unwrap_or_default())
    }

    /// Creates a capture that stays in memory, record by record.
    pub(crate) fn in_memory(payloads: bool) -> Self {
        let limit = u64::MAX;
        Self::new(Options { limit, payloads }, false)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the wall clock, if it is recorded.
    pub(crate) fn unix_micros(&self) -> Option<u64> {
        self.is_live.then(now)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Takes what was recorded since the last call, in memory.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().queue)
    }

    /// Adds a record of `items` items, if there is room for it.
    pub(crate) fn record(&self, items: usize, body: &[u8], time: u64) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        // No record has more than 23 items, so its head is one byte.
        let length = body.len() as u64 + 1;
        if state.total + length + encode::END_LEN as u64 > self.options.limit {
            return self.end_at(state, time, "limit");
        }
        if self.is_live && !state.queue.is_empty() && state.queue.len() + body.len() >= QUEUE {
            return self.end_at(state, time, "overrun");
        }
        let was_empty = state.queue.is_empty();
        state.queue.push(0x80 | u8::try_from(items).unwrap_or(0));
        state.queue.extend_from_slice(body);
        state.total += length;
        drop(state);
        if was_empty && self.is_live {
            self.changed.notify_one();
        }
    }

    pub(crate) fn end(&self, why: &'static str) {
        let state = self.lock();
        if state.ended.is_none() {
            self.end_at(state, 0, why);
        }
    }

    fn end_at(&self, mut state: MutexGuard<'_, State>, time: u64, why: &'static str) {
        let end = encode::end(time, why);
        state.total += end.len() as u64;
        state.queue.extend_from_slice(&end);
        state.ended = Some(why);
        state.links.clear();
        self.ended.store(true, Ordering::Relaxed);
        drop(state);
        self.changed.notify_one();
    }

    /// Runs the thread: writes records as soon as possible, so that little is lost with a program
    /// that crashes.
    ///
    /// It also logs the end of the capture. What else ends a capture does so during a call of a
    /// link, which may be locked, and a log subscriber may want to use that link.
    pub(crate) fn write_all(&self, mut sink: impl Write) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut logged = false;
        loop {
            let mut state = self.lock();
            while state.queue.is_empty() && state.ended.is_none() {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.queue, &mut batch);
            let ended = state.ended;
            drop(state);
            if let Some(why) = ended.filter(|_| !std::mem::replace(&mut logged, ended.is_some())) {
                log_end(why);
            }
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = sink.write_all(&batch).and_then(|()| sink.flush()) {
                self.give_up();
                tracing::warn!(%error, "the capture can't be written and ends");
                return Err(error);
            }
            batch.clear();
            // Memory of a busy moment is not needed in quiet ones.
            batch.shrink_to(1 << 16);
        }
    }

    /// Ends the capture after an error of the sink.
    fn give_up(&self) {
        let mut state = self.lock();
        state.ended.get_or_insert("error");
        state.queue = Vec::new();
        state.links.clear();
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn begin_link(&self, link: u64, config: &Config) {
        if self.options.payloads {
            return;
        }
        let mode = config
            .channels()
            .first()
            .map_or(Mode::Send, ChannelConfig::mode);
        let directions = Directions::new(config.get_dialect(), mode);
        self.lock().links.insert(link, directions);
    }

    pub(crate) fn forget_link(&self, link: u64) {
        if !self.options.payloads {
            self.lock().links.remove(&link);
        }
    }

    pub(crate) fn begin_connection(&self, link: u64) {
        if let Some(directions) = self.lock().links.get_mut(&link) {
            *directions = Directions::new(directions.dialect, directions.mode);
        }
    }

    /// Moves the state of an incoming connection's input to the link that has taken the connection
    /// over.
    pub(crate) fn move_connection(&self, incoming: Option<u64>, link: u64) {
        self.begin_connection(link);
        let mut state = self.lock();
        let moved = incoming.and_then(|incoming| state.links.get(&incoming));
        let Some([input, _]) = moved.map(|moved| moved.splits.clone()) else {
            return;
        };
        if let Some(directions) = state.links.get_mut(&link) {
            directions.splits[0] = input;
        }
    }

    /// Calls `work` with the splitter of a link's direction, if payloads are left out.
    pub(crate) fn with_split<R>(
        &self,
        link: u64,
        direction: usize,
        work: impl FnOnce(Option<&mut Split>) -> R,
    ) -> R {
        if self.options.payloads {
            return work(None);
        }
        let mut state = self.lock();
        match state.links.get_mut(&link) {
            Some(directions) => work(Some(&mut directions.splits[direction])),
            // The capture has ended meanwhile: nothing is recorded, so nothing may be kept either.
            None => work(Some(&mut Split::ignored())),
        }
    }
}

/// Logs why a capture has ended, unless it was asked to.
fn log_end(why: &str) {
    match why {
        "finished" => {}
        "limit" => tracing::info!("the capture has reached its limit and ends"),
        "overrun" => tracing::warn!("the capture ends: its file takes less than links do"),
        _ => tracing::warn!("the capture ends: a call had more bytes than it can record"),
    }
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
