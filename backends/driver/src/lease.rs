//! Leases: authority that lapses.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant as StdInstant;

use countersign_core::ChannelId;

use crate::link_event::LinkEvent;
use crate::shared::{Shared, State};
use crate::wakers::{Awaited, Waiting};

/// The lease of a channel that was declared with
/// [`lease`](countersign_core::ReceiveChannel::lease): whether the newest message taken from it is
/// young enough to be acted on still. Returned by [`Link::lease`](crate::Link::lease).
///
/// It lapses that long after the moment at which the peer sent that message, whatever the network,
/// the peer's process or the queues do (`docs/live.md`), and when the link ends. It does not keep the
/// link open. A clone is another handle of the same lease.
///
/// ```
/// # use countersign_driver::{Lease, Link, ChannelError};
/// # async fn example(link: &Link, start: impl Fn(), stop: impl Fn()) -> Result<(), ChannelError> {
/// let lease = link.lease("drive")?;
/// while lease.held().await {
///     start();
///     lease.lapsed().await;
///     stop();
/// }
/// # Ok(()) // the link has ended
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    channel: ChannelId,
}

impl Lease {
    pub(crate) fn new(shared: Arc<Shared>, channel: ChannelId) -> Self {
        Self { shared, channel }
    }

    /// Whether the lease is held at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.shared.with(|state| self.until(state).is_some())
    }

    /// Returns when the lease lapses unless another message renews it, while it is held.
    #[must_use]
    pub fn lapses_at(&self) -> Option<StdInstant> {
        let until = self.shared.with(|state| self.until(state));
        until.and_then(|until| self.shared.clock.to_timers(until))
    }

    /// Waits until the lease is not held: at once, if it is not.
    ///
    /// Cancel-safe: waiting changes nothing.
    pub async fn lapsed(&self) {
        let mut waiting = self.waiting();
        poll_fn(|context| {
            waiting.poll(context, |state| match self.until(state) {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            })
        })
        .await;
    }

    /// Waits until the lease is held: at once, if it is. Returns false when the link has ended, so
    /// that it never will be again.
    ///
    /// Cancel-safe: waiting changes nothing.
    pub async fn held(&self) -> bool {
        let mut waiting = self.waiting();
        poll_fn(|context| {
            waiting.poll(context, |state| {
                if self.until(state).is_some() {
                    Poll::Ready(true)
                } else if state.ended {
                    Poll::Ready(false)
                } else {
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Returns when the lease lapses, while it is held. The driver may be late to notice that it has
    /// lapsed, so the clock decides.
    fn until(&self, state: &State) -> Option<countersign_core::Instant> {
        let until = state.link.lease_until(self.channel)?;
        (self.shared.clock.now() < until).then_some(until)
    }

    fn waiting(&self) -> Waiting<&Shared> {
        Waiting::new(&self.shared, Awaited::Channel(self.channel))
    }
}

impl State {
    /// Reports a change of a channel's lease.
    pub(crate) fn on_lease(&mut self, channel: ChannelId, held: bool) {
        let config = &self.link.config().channels()[usize::from(channel.0)];
        let name = config.name().to_owned();
        self.push_event(if held {
            LinkEvent::LeaseHeld { channel: name }
        } else {
            LinkEvent::LeaseLapsed { channel: name }
        });
        self.wake(channel);
    }
}
