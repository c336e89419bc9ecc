//! Recording what links do, reading it, and playing it back.
//!
//! A [`Capture`] is a file; [`Setup::capture`](crate::Setup::capture) has links recorded in it. The
//! format is specified in `docs/capture.md`, and the program shows it (`countersign trace`).

pub use countersign_capture::*;

/// What records speak of, besides what the root has.
pub use countersign_core::{Disconnect, Instant, TakeOver, wire};
