//! Leases, for programs without a runtime.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use countersign_driver as driver;

use crate::block;
use crate::timeout::WaitTimeoutError;

/// The lease of a channel that was declared with
/// [`lease`](countersign_core::ReceiveChannel::lease): whether the newest message taken from it is
/// young enough to be acted on still. Returned by [`Link::lease`](crate::Link::lease).
///
/// It lapses that long after the moment at which the peer sent that message, whatever the network,
/// the peer's process or the queues do (`docs/live.md`), and when the link ends. It does not keep the
/// link open. A clone is another handle of the same lease.
///
/// ```no_run
/// # use countersign_std::Link;
/// # fn example(link: &Link, set_motors: fn(bool)) -> Result<(), Box<dyn std::error::Error>> {
/// let lease = link.lease("drive")?;
/// // In a thread of its own, which nothing else can hold up.
/// lease.on_change_in_thread("motors", move |held| set_motors(held))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease(driver::Lease);

impl Lease {
    pub(crate) fn new(lease: driver::Lease) -> Self {
        Self(lease)
    }

    /// Whether the lease is held at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// Returns when the lease lapses unless another message renews it, while it is held.
    #[must_use]
    pub fn lapses_at(&self) -> Option<Instant> {
        self.0.lapses_at()
    }

    /// Waits until the lease is not held: at once, if it is not. This thread watches the time itself,
    /// so it depends on no other.
    pub fn lapsed(&self) {
        while let Some(at) = self.0.lapses_at() {
            let left = at.saturating_duration_since(Instant::now());
            // It may be renewed meanwhile, or end with the link.
            let _ = block::on_for(self.0.lapsed(), left);
        }
    }

    /// As [`Lease::lapsed`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn lapsed_timeout(&self, limit: Duration) -> Result<(), WaitTimeoutError> {
        block::on_for(self.0.lapsed(), limit)
    }

    /// Waits until the lease is held: at once, if it is. Returns false when the link has ended, so
    /// that it never will be again.
    #[must_use]
    pub fn held(&self) -> bool {
        block::on(self.0.held())
    }

    /// As [`Lease::held`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn held_timeout(&self, limit: Duration) -> Result<bool, WaitTimeoutError> {
        block::on_for(self.0.held(), limit)
    }

    /// Calls `callback` with true when the lease is held and with false when it has lapsed, in turn,
    /// beginning with false if it is not held, until the link has ended. The last call is with false.
    pub fn on_change(&self, mut callback: impl FnMut(bool)) {
        if !self.is_held() {
            callback(false);
        }
        while self.held() {
            callback(true);
            self.lapsed();
            callback(false);
        }
    }

    /// As [`Lease::on_change`], in a thread with this name, which ends with the link.
    ///
    /// # Errors
    ///
    /// The system provides no thread.
    ///
    /// # Panics
    ///
    /// Panics if the name contains a zero byte.
    pub fn on_change_in_thread(
        &self,
        name: impl Into<String>,
        callback: impl FnMut(bool) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let lease = self.clone();
        let thread = thread::Builder::new().name(name.into());
        thread.spawn(move || lease.on_change(callback))
    }
}
