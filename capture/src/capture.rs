//! The file of a capture, and the thread that writes it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use countersign_core::Observe;

use crate::observer::Observer;
use crate::options::Options;
use crate::recording::{EndGuard, Recording};

/// How a capture ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The size of the capture in bytes.
    pub bytes: u64,
    /// `finished`, or what ended it before: `limit`, `overrun` (more than [`QUEUE`](crate::QUEUE)
    /// waited to be written) or `too-large` (a call with more bytes, or more room for them, than
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
    recording: Arc<Recording>,
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
    /// The path exists already or can't be written, or the limit is below
    /// [`MIN_LIMIT`](crate::MIN_LIMIT).
    pub fn file(path: impl AsRef<Path>, options: Options) -> io::Result<Self> {
        let path = path.as_ref();
        options.check()?;
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
    /// The thread can't be started, or the limit is below [`MIN_LIMIT`](crate::MIN_LIMIT).
    pub fn to(sink: impl Write + Send + 'static, options: Options) -> io::Result<Self> {
        options.check()?;
        let recording = Arc::new(Recording::new(options, true));
        let shared = recording.clone();
        let writer = std::thread::Builder::new()
            .name("countersign-capture".to_owned())
            .spawn(move || shared.write_all(sink))?;
        Ok(Self {
            end_guard: Arc::new(EndGuard(recording.clone())),
            recording,
            writer: Arc::new(Mutex::new(Some(writer))),
        })
    }

    /// Returns an observer for one link, which is created with it.
    #[must_use]
    pub fn observer(&self) -> Box<dyn Observe> {
        let link = self.recording.next_link();
        let end_guard = Some(self.end_guard.clone());
        Box::new(Observer::new(self.recording.clone(), end_guard, link))
    }

    /// Ends the capture, waits until all of it is written, and returns how it ended. What its links
    /// do from here on is not recorded.
    ///
    /// # Errors
    ///
    /// The capture could not be written, and has nothing after that point. A second call does not
    /// wait and returns no error.
    pub fn finish(&self) -> io::Result<Captured> {
        self.recording.end("finished");
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let written = writer.join();
            written.unwrap_or_else(|_| Err(io::Error::other("the capture's thread panicked")))?;
        }
        let (bytes, why) = self.recording.size_and_end();
        Ok(Captured { bytes, why })
    }
}
