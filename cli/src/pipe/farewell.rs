//! What a pipe says to its peer when it closes the link and not all is well.

use std::fmt;

use countersign::CloseReason;

use crate::exit::{Failure, Signal};

/// The pipe's input, or its output, failed.
const STREAM: u32 = 1;
/// The pipe was asked to stop.
const STOPPED: u32 = 2;
/// The pipe has its peer already.
const TAKEN: u32 = 3;
/// The peer closed the link before the pipe was done, or its session was lost.
const TOO_EARLY: u32 = 4;

/// Why a pipe ends before its stream does: for whoever runs it, and what its peer is told.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    pub(super) farewell: CloseReason,
}

impl Broken {
    pub(super) fn new(failure: Failure, farewell: CloseReason) -> Self {
        Self { failure, farewell }
    }

    /// The pipe was asked to stop.
    pub(super) fn stopped(by: Signal) -> Self {
        Self::new(Failure::stopped(by), stopped(by))
    }
}

/// The sender can't go on with its input.
pub(super) fn input(why: impl fmt::Display) -> CloseReason {
    CloseReason::new(STREAM, format!("its input failed: {why}"))
}

/// The receiver can't go on with its output.
pub(super) fn output(why: impl fmt::Display) -> CloseReason {
    CloseReason::new(STREAM, format!("its output failed: {why}"))
}

/// The pipe was asked to stop.
pub(super) fn stopped(by: Signal) -> CloseReason {
    CloseReason::new(STOPPED, format!("it was ended by {by}"))
}

/// Somebody else is the pipe's peer.
pub(super) fn taken() -> CloseReason {
    CloseReason::new(TAKEN, "it has its peer already")
}

/// The stream had not ended.
pub(super) fn too_early() -> CloseReason {
    CloseReason::new(TOO_EARLY, "its stream had not ended")
}
