//! Captures of links: records everything that goes into links and comes out of them to a file, and
//! replays it into the core.
//!
//! A [`Capture`] creates an observer for each link. `docs/capture.md` specifies what it writes.
//! [`Reader`] reads it, and [`replay`] makes the same calls on new links and compares the outcomes.
//! The core is deterministic, so a capture of a failure is a regression test.
//!
//! ```
//! use countersign_capture::{Capture, Options, replay};
//! use countersign_core::{Config, Instant, Link, Role, SendChannel};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("link.capture");
//! let capture = Capture::file(&path, Options::new().limit(1 << 20))?;
//! let config = Config::new().channel(SendChannel::new("main"));
//! let mut link = Link::observed(&config, Role::Opener, [1; 16], capture.observer())?;
//! link.handle_timeout(Instant::from_micros(5));
//! assert!(link.wants_connect());
//! capture.finish()?;
//!
//! let replayed = replay(&std::fs::read(&path)?)?;
//! assert!(replayed.complete);
//! # Ok(())
//! # }
//! ```
//!
//! A capture holds in clear text what was encrypted on its way, and the payloads only if
//! [`Options::payloads`] is set. Guard it like the messages themselves.
//!
//! # Map
//!
//! `capture` is the file and its thread, `observer` turns calls into records, `record` has the
//! types of records, `encode` and `decode` convert them to bytes and back, `config` does so for
//! declarations, `split` finds payloads, and `replay` plays captures back.

mod capture;
mod cbor;
mod config;
mod decode;
mod encode;
mod observer;
mod options;
mod record;
mod recording;
mod replay;
mod split;

pub use capture::{Capture, Captured};
pub use decode::{Header, MAX_DATA, ReadError, Reader, VERSION};
pub use options::{DEFAULT_LIMIT, MIN_LIMIT, Options, QUEUE};
pub use record::{Data, Ended, Entry, Gone, Outcome, Part, Record, RecordedEvent, Said, Taken};
pub use replay::{Difference, Replay, ReplayError, Replayed, replay};
