//! The model's lease: what the application may be told of a channel's authority.

use core::time::Duration;

use countersign_core::{Event, Instant};

use crate::lasting::usual::Chan;

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// How long a message's authority lasts, if the channel has a lease.
    time: Option<Duration>,
    /// When it has lapsed for certain, once a message was taken that may have renewed it.
    until: Option<Instant>,
    /// Whether the application was last told that it is held.
    held: bool,
    now: Instant,
}

impl Lease {
    pub(crate) fn new(chan: &Chan) -> Self {
        Self {
            time: chan.lease.map(Duration::from_millis),
            until: None,
            held: false,
            now: Instant::ZERO,
        }
    }

    /// The application takes a message of this age.
    pub(crate) fn take(&mut self, now: Instant, accepted: Instant) {
        let until = self.time.map(|time| accepted + time);
        self.until = self.until.max(until.filter(|until| *until > now));
    }

    /// The link's clock has advanced to `now`.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.now = now;
    }

    pub(crate) fn told(&mut self, event: &Event) {
        let held = matches!(event, Event::LeaseHeld(_));
        assert!(held != self.held, "told again: {event:?}");
        let renewed = self.until.is_some();
        assert!(
            !held || renewed,
            "held without a message that is young enough"
        );
        self.held = held;
    }

    /// All events have been read.
    pub(crate) fn check(&self) {
        let lapsed = self.until.is_none_or(|until| until <= self.now);
        assert!(!self.held || !lapsed, "not told that the lease has lapsed");
    }
}
