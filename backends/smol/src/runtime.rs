//! smol's tasks and timers.

use std::time::Instant;

use countersign_futures_io::{Runtime, Task};
use smol::Timer;

/// smol's global executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smol;

impl Runtime for Smol {
    fn spawn(&self, task: Task) {
        smol::spawn(task).detach();
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(async move {
            Timer::at(deadline).await;
        })
    }
}
