//! Records what links do, reads it, and plays it back.
//!
//! A [`Capture`] is a file; [`Setup::capture`](crate::Setup::capture) records links in it. The
//! format is specified in `docs/capture.md`, and the program shows it (`countersign trace`).

pub use countersign_capture::*;

/// The types of records that are not in the root.
pub use countersign_core::{Disconnect, Instant, TakeOver, wire};
