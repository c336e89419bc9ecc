//! tokio's streams, timer and tasks, as the shared driver wants them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use countersign_driver::endpoint::{Buffer, SetupError};
use countersign_driver::{Connecting, Dial, Driver, Link, LinkError, READ, Timer, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

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

/// One of tokio's timers, made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When `sleep` is over.
    set_to: Option<Instant>,
}

impl Timer for Alarm {
    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // A deadline that moves away with every byte that arrives is not worth setting the timer
        // again each time: it is left to go off early, and then set to what is true by then.
        if self.set_to.is_none_or(|set_to| deadline < set_to) {
            self.set(deadline);
        }
        let Some(sleep) = &mut self.sleep else {
            return Poll::Pending;
        };
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if deadline <= Instant::now() {
            self.set_to = None;
            return Poll::Ready(());
        }
        self.set(deadline);
        self.sleep
            .as_mut()
            .map_or(Poll::Pending, |sleep| sleep.as_mut().poll(context))
    }
}

impl Alarm {
    fn set(&mut self, deadline: Instant) {
        self.set_to = Some(deadline);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline.into()),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline.into()))),
        }
    }
}

/// Drives a link in a task of its own, and waits until the peer has accepted this end.
pub(crate) async fn establish<D: Dial<Transport: Send> + Send + 'static>(
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Link, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    tokio::spawn(driver.run(Alarm::default()));
    connecting.connected().await
}
