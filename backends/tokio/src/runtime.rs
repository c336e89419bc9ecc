//! tokio's streams, timer and tasks, as the shared driver wants them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_driver::{
    Alarm, Clock, Connecting, Dial, Driver, LinkError, READ, Setup, Timer, Transport,
};
use countersign_endpoint::{Buffer, SetupError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep_until;

/// Any stream of tokio's.
#[derive(Debug)]
pub(crate) struct Stream<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Stream<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            let mut space = ReadBuf::new(space);
            let result = Pin::new(&mut self.0).poll_read(context, &mut space);
            result.map_ok(|()| space.filled().len())
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
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// tokio's clock, which can be paused.
fn clock() -> Clock {
    Clock::following(|| tokio::time::Instant::now().into_std())
}

/// The same setup, for links that go by tokio's clock.
pub(crate) fn timed(setup: Setup) -> Setup {
    setup.timed_by(clock())
}

/// A timer of tokio's.
pub(crate) fn alarm() -> impl Timer + Send {
    Alarm::timed_by(clock(), |deadline: Instant| sleep_until(deadline.into()))
}

/// Drives a link in a task of its own.
pub(crate) fn drive<D: Dial<Transport: Send> + Send + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Connecting, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    tokio::spawn(driver.run(alarm()));
    Ok(connecting)
}
