//! What a pipe tells its peer when it closes the link and not all is well.

use std::fmt;

use countersign::CloseReason;

use crate::exit::{Failure, Signal};

/// The pipe's input, or its output, failed.
const STREAM: u32 = 1;
/// The pipe was asked to stop.
const STOPPED: u32 = 2;
/// The pipe already has its peer.
const TAKEN: u32 = 3;
/// The peer closed the link before the pipe was done, or its session was lost.
const TOO_EARLY: u32 = 4;

/// Why a pipe ends before its stream does: the failure for the user, and the reason for the peer.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    pub(super) farewell: CloseReason,
}

impl Broken {
    pub(super) fn new(failure: Failure, farewell: CloseReason) -> Self {
        Self { failure, farewell }
    }

    /// Returns the end of a pipe that was asked to stop.
    pub(super) fn stopped(by: Signal) -> Self {
        Self::new(Failure::stopped(by), stopped(by))
    }
}

/// Returns the reason of a sender that can't continue with its input.
pub(super) fn input(why: impl fmt::Display) -> CloseReason {
    CloseReason::new(STREAM, format!("its input failed: {why}"))
}

/// Returns the reason of a receiver that can't continue with its output.
pub(super) fn output(why: impl fmt::Display) -> CloseReason {
    CloseReason::new(STREAM, format!("its output failed: {why}"))
}

/// Returns the reason of a pipe that was asked to stop.
pub(super) fn stopped(by: Signal) -> CloseReason {
    CloseReason::new(STOPPED, format!("it was ended by {by}"))
}

/// Returns the reason for a peer that comes when the pipe already has another.
pub(super) fn taken() -> CloseReason {
    CloseReason::new(TAKEN, "it has its peer already")
}

/// Returns the reason of a pipe whose stream had not ended.
pub(super) fn too_early() -> CloseReason {
    CloseReason::new(TOO_EARLY, "its stream had not ended")
}
