//! Captures: everything that goes into links and comes out of them, in a file, and back into the
//! core.
//!
//! A [`Capture`] makes an observer for each link. What it writes is specified in `docs/capture.md`.
//! [`Reader`] reads it, and [`replay`] makes the same calls on links of its own and compares what
//! comes of them: the core is deterministic, so a capture of something that went wrong is a
//! regression test.
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
//! A capture holds in clear what was encrypted on its way, the payloads only if
//! [`Options::payloads`] says so. Guard it like the messages themselves.
//!
//! # Map
//!
//! `capture` is the file and its thread, `observer` turns calls into records; `record` is what a
//! record says, `encode` and `decode` are the bytes; `split` finds payloads; `replay` plays.

mod capture;
mod config;
mod decode;
mod encode;
mod observer;
mod record;
mod replay;
mod split;

pub use capture::{Capture, Captured, DEFAULT_LIMIT, MIN_LIMIT, Options, QUEUE};
pub use decode::{Header, MAX_DATA, ReadError, Reader, VERSION};
pub use record::{Data, Ended, Entry, Gone, Happened, Outcome, Part, Record, Said, Taken};
pub use replay::{Difference, Replay, ReplayError, Replayed, replay};
