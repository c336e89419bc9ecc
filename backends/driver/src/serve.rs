//! The loop that accepts a listener's connections, for any runtime.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::accept_queue::{AcceptQueue, AcceptorTask};
use crate::error::LinkError;
use crate::pending::PendingConnection;
use crate::setup::Setup;
use crate::transport::Timer;

/// The first pause after an error that is not about one connection.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause: each is twice the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many connections are accepted in a row before the task yields.
const ACCEPTS_PER_TURN: u32 = 64;

/// Accepts connections and starts what serves them, until the listener is closed, drained or
/// dropped.
///
/// `accept` returns a future of the next connection and its peer's address; `start` runs the result
/// of [`PendingConnection::serve`] in a separate task or thread; `timers` makes timers of the
/// runtime. If a connection has an error that concerns it alone, `start` calls
/// [`PendingConnection::refuse`] and returns `Ok`. When the system runs out of a resource, such as
/// file descriptors, there is a pause before the next attempt, for up to a second as errors repeat.
///
/// Returns the task once `accept` is dropped. For the application, the listener is closed when the
/// task is dropped: if closing the socket takes longer, drop the task after that.
pub async fn serve<S, F, T: Timer>(
    mut task: AcceptorTask,
    accept: impl FnMut() -> F,
    start: impl FnMut(S, PendingConnection) -> io::Result<()>,
    timers: impl Fn() -> T,
) -> AcceptorTask
where
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>>,
{
    {
        let (queue, setup) = (task.queue.clone(), task.setup.clone());
        let pauses = Pauses::new(timers());
        let mut accepting = pin!(accept_all(queue, setup, accept, start, pauses));
        let mut shutdown = pin!(task.shutdown(timers()));
        poll_fn(|context| match shutdown.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => accepting.as_mut().poll(context),
        })
        .await;
    }
    task
}

async fn accept_all<S, F, T: Timer>(
    queue: Arc<AcceptQueue>,
    setup: Setup,
    mut accept: impl FnMut() -> F,
    mut start: impl FnMut(S, PendingConnection) -> io::Result<()>,
    mut pauses: Pauses<T>,
) where
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>>,
{
    for round in 1_u32.. {
        if round % ACCEPTS_PER_TURN == 0 {
            yield_now().await;
        }
        queue.has_room().await;
        let (stream, peer) = match accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
                continue;
            }
            Err(error) => {
                pauses.pause(&error, &queue).await;
                continue;
            }
        };
        let pending = match PendingConnection::new(&queue, peer, &setup) {
            Ok(pending) => pending,
            Err(error) => {
                queue.refuse(peer, LinkError::transport(error));
                continue;
            }
        };
        if let Err(error) = start(stream, pending) {
            pauses.pause(&error, &queue).await;
            queue.refuse(peer, LinkError::transport(error));
        } else {
            pauses.end(&queue);
        }
    }
}

/// Yields to other tasks, and to the shutdown of the listener.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether an error of accepting is about one connection that was closed too soon, and not about
/// the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    )
}

/// The pauses before another connection is accepted, after an error.
struct Pauses<T> {
    timer: T,
    /// The next pause, while errors repeat.
    next: Option<Duration>,
}

impl<T: Timer> Pauses<T> {
    fn new(timer: T) -> Self {
        Self { timer, next: None }
    }

    async fn pause(&mut self, error: &io::Error, queue: &AcceptQueue) {
        // Strangers can use up the descriptors again and again, so their quota applies.
        if self.next.is_none() && queue.may_warn(None) {
            tracing::warn!(%error, "no connection can be accepted; trying again from time to time");
        }
        let pause = self.next.unwrap_or(FIRST_PAUSE);
        self.next = Some((2 * pause).min(LONGEST_PAUSE));
        let until = self.timer.now() + pause;
        poll_fn(|context| self.timer.poll_until(context, until)).await;
    }

    fn end(&mut self, queue: &AcceptQueue) {
        if self.next.take().is_some() && queue.may_warn(None) {
            tracing::info!("connections are accepted again");
        }
    }
}
