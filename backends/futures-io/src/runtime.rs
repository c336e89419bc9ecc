//! What a runtime is, and its streams, timers and tasks as the shared driver wants them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_driver::{
    Alarm, Clock, Connecting, Dial, Driver, LinkError, READ, Setup, Timer, Transport,
};
use countersign_endpoint::{Buffer, SetupError};
use futures_io::{AsyncRead, AsyncWrite};

/// What a [`Runtime`] runs, and what its timers are.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What links need of a runtime besides its streams: tasks and timers.
///
/// Links keep clones: make it cheap, or put it into an [`Arc`], which is a runtime too. The
/// [crate's example](crate) has one.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a task until it is done, beside all others and beside whoever has called this.
    ///
    /// A task that is dropped before has its link end as lost.
    fn spawn(&self, task: Task);

    /// What time it is for [`Runtime::sleep_until`]: that of the machine, unless the runtime has a
    /// clock of its own, which can be paused in tests, say.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// A future that is ready at `deadline` or soon after it, and not before.
    fn sleep_until(&self, deadline: Instant) -> Task;
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn spawn(&self, task: Task) {
        (**self).spawn(task);
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        (**self).sleep_until(deadline)
    }
}

/// Any stream of futures-io's.
#[derive(Debug)]
pub(crate) struct Stream<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Stream<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            Pin::new(&mut self.0).poll_read(context, space)
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| Pin::new(&mut self.0).poll_write(context, bytes))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

fn clock<R: Runtime + Clone>(runtime: &R) -> Clock {
    let runtime = runtime.clone();
    Clock::following(move || runtime.now())
}

/// The same setup, for links that go by the runtime's clock.
pub(crate) fn timed<R: Runtime + Clone>(runtime: &R, setup: Setup) -> Setup {
    setup.timed_by(clock(runtime))
}

/// A timer of the runtime's.
pub(crate) fn alarm<R: Runtime + Clone>(runtime: &R) -> impl Timer + Send + use<R> {
    let clock = clock(runtime);
    let runtime = runtime.clone();
    Alarm::timed_by(clock, move |deadline| runtime.sleep_until(deadline))
}

/// Drives a link in a task of its own.
pub(crate) fn start<R: Runtime + Clone, D: Dial<Transport: Send> + Send + 'static>(
    runtime: &R,
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Connecting, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    runtime.spawn(Box::pin(driver.run(alarm(runtime))));
    Ok(connecting)
}
