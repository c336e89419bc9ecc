//! Authority that lapses (`docs/protocol.md`, Leases).

use core::time::Duration;

use super::ReceiveHalf;
use crate::age::Timing;
use crate::{ChannelId, Event, Instant};

/// The lease of a channel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Lease {
    /// How long the authority of a message lasts, in microseconds.
    time: u64,
    /// When it lapses, while it is held.
    pub(super) until: Option<Instant>,
    /// Whether it is held by what was reported last.
    told: bool,
    /// Whether it has changed since. Between two reports it may lapse and be held again, or the
    /// other way round, any number of times.
    changed: bool,
    /// Whether the link has ended: it can't be held again.
    over: bool,
}

impl Lease {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            time: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            until: None,
            told: false,
            changed: false,
            over: false,
        }
    }

    /// Notes that the application takes a message.
    fn renew(&mut self, now: Instant, timing: &Timing) {
        let until = timing.reaches(self.time);
        if self.over || until <= now {
            return;
        }
        if self.until.is_none() {
            self.changed = true;
        }
        self.until = self.until.max(Some(until));
    }

    /// Notes the passing of time. Returns whether it has lapsed.
    fn lapse_by(&mut self, now: Instant) -> bool {
        let lapses = self.until.is_some_and(|until| until <= now);
        if lapses {
            self.until = None;
            self.changed = true;
        }
        lapses
    }

    /// Returns the next change to report.
    fn poll_event(&mut self, channel: ChannelId) -> Option<Event> {
        if !self.changed {
            return None;
        }
        // Where it is again as it was told, both changes are reported.
        self.told = !self.told;
        self.changed = self.told != self.until.is_some();
        Some(if self.told {
            Event::LeaseHeld(channel)
        } else {
            Event::LeaseLapsed(channel)
        })
    }
}

impl ReceiveHalf {
    /// Renews the lease, because the application takes a message with this timing.
    pub(super) fn renew_lease(&mut self, now: Instant, timing: &Timing) {
        if let Some(lease) = &mut self.lease {
            lease.lapse_by(now);
            lease.renew(now, timing);
        }
    }

    /// Notes the passing of time. Returns whether the lease has lapsed.
    pub(super) fn lapse_lease(&mut self, now: Instant) -> bool {
        self.lease.as_mut().is_some_and(|lease| lease.lapse_by(now))
    }

    /// Ends the lease with the link: nothing holds it from here on.
    pub(super) fn end_lease(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.over = true;
            lease.lapse_by(Instant::NEVER);
        }
    }

    /// Returns when the lease lapses, while it is held.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        self.lease.as_ref()?.until
    }

    /// Returns the next change of the lease to report.
    pub(super) fn poll_lease(&mut self, channel: ChannelId) -> Option<Event> {
        self.lease.as_mut()?.poll_event(channel)
    }
}
