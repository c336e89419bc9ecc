//! Connections in memory that can be cut.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use countersign_endpoint::Buffer;
use countersign_interleavings::{Memory, Transport, memory};
use shuttle::sync::Mutex;

/// What joins the two ends of a connection.
#[derive(Clone, Default)]
pub(crate) struct Cable(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    cut: bool,
    wakers: Vec<Waker>,
}

impl Cable {
    /// One of its ends.
    pub(crate) fn of(&self, end: Memory) -> End {
        let cable = self.clone();
        End { end, cable }
    }

    pub(crate) fn cut(&self) {
        let mut ends = self.0.lock().unwrap();
        ends.cut = true;
        let wakers = std::mem::take(&mut ends.wakers);
        drop(ends);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// An error once it is cut; until then whoever asks is woken by that.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        let mut ends = self.0.lock().unwrap();
        if ends.cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if !ends
            .wakers
            .iter()
            .any(|known| known.will_wake(context.waker()))
        {
            ends.wakers.push(context.waker().clone());
        }
        Ok(())
    }
}

/// An end of a connection that can be cut.
pub(crate) struct End {
    end: Memory,
    cable: Cable,
}

impl Transport for End {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.cable.check(context)?;
        self.end.poll_read(context, buffer)
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.cable.check(context)?;
        self.end.poll_write(context, buffer)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_shutdown(context)
    }
}

/// Where connections are opened and accepted.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Arrivals>>);

#[derive(Default)]
struct Arrivals {
    waiting: VecDeque<End>,
    accepting: Option<Waker>,
    latest: Cable,
}

impl Network {
    pub(crate) fn open(&self) -> impl Future<Output = io::Result<End>> + use<> {
        let (near, far) = memory();
        let cable = Cable::default();
        let mut arrivals = self.0.lock().unwrap();
        arrivals.latest = cable.clone();
        arrivals.waiting.push_back(cable.of(far));
        let accepting = arrivals.accepting.take();
        drop(arrivals);
        accepting.into_iter().for_each(Waker::wake);
        std::future::ready(Ok(cable.of(near)))
    }

    pub(crate) fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(End, Option<SocketAddr>)>> + use<> {
        let network = self.clone();
        poll_fn(move |context| {
            let mut arrivals = network.0.lock().unwrap();
            match arrivals.waiting.pop_front() {
                Some(end) => Poll::Ready(Ok((end, None))),
                None => {
                    arrivals.accepting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// Cuts the latest connection.
    pub(crate) fn cut(&self) {
        let latest = self.0.lock().unwrap().latest.clone();
        latest.cut();
    }
}

/// What a future gives at once, if it does; then it is dropped.
pub(crate) async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
