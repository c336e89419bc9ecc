//! An in-memory connection within one process.

use std::io;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use countersign_endpoint::Buffer;

use crate::sync::{Mutex, MutexGuard};
use crate::transport::{READ, Transport};

/// How much one direction buffers, in bytes.
const CAPACITY: usize = 64 * 1024;

/// One end of an in-memory connection. Dropping it ends the connection for the other end too.
#[derive(Debug)]
pub struct Memory {
    reads: Direction,
    writes: Direction,
}

/// Makes the two ends of an in-memory connection.
#[must_use]
pub fn memory() -> (Memory, Memory) {
    let (up, down) = (Direction::default(), Direction::default());
    let near = Memory {
        reads: down.clone(),
        writes: up.clone(),
    };
    let far = Memory {
        reads: up,
        writes: down,
    };
    (near, far)
}

#[derive(Clone, Debug, Default)]
struct Direction(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Buffer,
    /// The writing end has shut it down.
    ended: bool,
    /// The reading end is gone.
    reader_gone: bool,
    /// The task that waits for the other end.
    waiting: Option<Waker>,
}

impl Direction {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes the task that waits for that. While `work` returns `Pending`,
    /// the context's task waits: an end only waits when the other has to act, so never both of
    /// them.
    fn with<R>(
        &self,
        context: &Context<'_>,
        work: impl FnOnce(&mut State) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let mut state = self.lock();
        let result = work(&mut state);
        if result.is_pending() {
            let former = state.waiting.replace(context.waker().clone());
            drop(state);
            drop(former);
        } else {
            let waiting = state.waiting.take();
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
        result
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        work(&mut state);
        let waiting = state.waiting.take();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Transport for Memory {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.reads.with(context, |state| {
            if state.bytes.is_empty() && !state.ended {
                return Poll::Pending;
            }
            let moved = buffer.fill(READ, |space| {
                let count = state.bytes.filled().len().min(space.len());
                space[..count].copy_from_slice(&state.bytes.filled()[..count]);
                Poll::Ready(Ok(count))
            });
            if let Poll::Ready(Ok(count)) = moved {
                state.bytes.consume(count);
            }
            state.bytes.release();
            moved
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.writes.with(context, |state| {
            if state.reader_gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = CAPACITY - state.bytes.filled().len();
            if room == 0 {
                return Poll::Pending;
            }
            buffer.drain(|bytes| {
                let count = bytes.len().min(room);
                state.bytes.space(count)[..count].copy_from_slice(&bytes[..count]);
                state.bytes.commit(count);
                Poll::Ready(Ok(count))
            })
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.change(|state| state.ended = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.writes.change(|state| state.ended = true);
        self.reads.change(|state| state.reader_gone = true);
    }
}
