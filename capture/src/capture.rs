//! The file of a capture, and the thread that writes it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_core::{ChannelConfig, Config, Dialect, Mode, Observe};

use crate::encode;
use crate::observer::Observer;
use crate::split::Split;

/// The default limit of a capture, in bytes: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;
/// The smallest limit that a capture can have, in bytes.
pub const MIN_LIMIT: u64 = 4096;
/// How many bytes may wait to be written, besides as many that are being written: 32 MiB. A capture
/// ends if its file takes bytes more slowly than links produce them.
pub const QUEUE: usize = 32 << 20;

/// The limit of a capture, and whether payloads are in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    limit: u64,
    payloads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            payloads: false,
        }
    }
}

impl Options {
    /// Returns the defaults: [`DEFAULT_LIMIT`], and no payloads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most bytes of the capture, [`MIN_LIMIT`] at least. When they are full, the capture
    /// ends, so that what was recorded can be played back; nothing else ends.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets whether the payloads of messages are in the capture. Without them, their lengths are,
    /// and everything around them.
    #[must_use]
    pub fn payloads(mut self, payloads: bool) -> Self {
        self.payloads = payloads;
        self
    }
}

/// How a capture ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The size of the capture in bytes.
    pub bytes: u64,
    /// `finished`, or what ended it before: `limit`, `overrun` (more than [`QUEUE`] waited to be
    /// written) or `too-large` (a call with more bytes, or more room for them, than
    /// [`MAX_DATA`](crate::MAX_DATA)).
    pub why: &'static str,
}

/// A capture of any number of links.
///
/// [`Capture::observer`] returns the observer with which a link is created
/// ([`Link::observed`](countersign_core::Link::observed)); backends do that for the links whose
/// setup has the capture. It ends with [`Capture::finish`], or when it and all of its links are
/// dropped. A program that exits before may leave the last of it unwritten, so finish it.
///
/// Whatever happens to a capture, the links go on as if it did not exist.
#[derive(Clone, Debug)]
pub struct Capture {
    inner: Arc<Inner>,
    end_guard: Arc<EndGuard>,
    writer: Arc<Mutex<Option<JoinHandle<io::Result<()>>>>>,
}

impl Capture {
    /// Captures to a new file, which on Unix only its owner can read.
    ///
    /// Logs a warning: the file shows what was encrypted on its way to anyone who can read it.
    ///
    /// # Errors
    ///
    /// The path exists already or can't be written, or the limit is below [`MIN_LIMIT`].
    pub fn file(path: impl AsRef<Path>, options: Options) -> io::Result<Self> {
        let path = path.as_ref();
        check(options)?;
        let mut open = OpenOptions::new();
        open.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let file = open.open(path)?;
        let what = if options.payloads {
            "all that these links carry"
        } else {
            "all that these links do, but for the payloads of messages"
        };
        tracing::warn!("capture: whoever reads {} can read {what}", path.display());
        Self::to(file, options)
    }

    /// Captures to any writer, in a separate thread.
    ///
    /// # Errors
    ///
    /// The thread can't be started, or the limit is below [`MIN_LIMIT`].
    pub fn to(sink: impl Write + Send + 'static, options: Options) -> io::Result<Self> {
        check(options)?;
        let inner = Arc::new(Inner::new(options, true));
        let shared = inner.clone();
        let writer = std::thread::Builder::new()
            .name("countersign-capture".to_owned())
            .spawn(move || shared.write_all(sink))?;
        Ok(Self {
            end_guard: Arc::new(EndGuard(inner.clone())),
            inner,
            writer: Arc::new(Mutex::new(Some(writer))),
        })
    }

    /// Returns an observer for one link, which is created with it.
    #[must_use]
    pub fn observer(&self) -> Box<dyn Observe> {
        let link = self.inner.links_begun.fetch_add(1, Ordering::Relaxed) + 1;
        let end_guard = Some(self.end_guard.clone());
        Box::new(Observer::new(self.inner.clone(), end_guard, link))
    }

    /// Ends the capture, waits until all of it is written, and returns how it ended. What its links
    /// do from here on is not recorded.
    ///
    /// # Errors
    ///
    /// The capture could not be written, and has nothing after that point. A second call does not
    /// wait and returns no error.
    pub fn finish(&self) -> io::Result<Captured> {
        self.inner.end("finished");
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let written = writer.join();
            written.unwrap_or_else(|_| Err(io::Error::other("the capture's thread panicked")))?;
        }
        let state = self.inner.lock();
        Ok(Captured {
            bytes: state.total,
            why: state.ended.unwrap_or_default(),
        })
    }
}

fn check(options: Options) -> io::Result<()> {
    if options.limit < MIN_LIMIT {
        let text = format!("a capture's limit is {MIN_LIMIT} bytes at least");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// Ends a capture when the last clone is dropped.
#[derive(Debug)]
pub(crate) struct EndGuard(Arc<Inner>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end("finished");
    }
}

/// The state that a capture's observers and its thread share.
#[derive(Debug)]
pub(crate) struct Inner {
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

impl Inner {
    fn new(options: Options, is_live: bool) -> Self {
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
    fn write_all(&self, mut sink: impl Write) -> io::Result<()> {
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
