//! The leases of a link's channels: how long the messages that were taken may hold them.

use std::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, Config, Event, Instant, Link, LinkState, Message,
};

use super::arrivals::Came;

/// The books of one channel's lease.
#[derive(Debug)]
struct Lease {
    time: Duration,
    /// The messages taken so far hold it no longer.
    until: Option<Instant>,
    /// As its application was told last.
    held: bool,
}

/// By channel.
#[derive(Debug)]
pub(super) struct Leases(Vec<Option<Lease>>);

impl Leases {
    pub(super) fn new(config: &Config) -> Self {
        let of = |channel: &ChannelConfig| match channel {
            ChannelConfig::Receive(channel) => channel.get_lease(),
            ChannelConfig::Send(_) => None,
        };
        let lease = |time| Lease {
            time,
            until: None,
            held: false,
        };
        let channels = config.channels().iter().map(of);
        Self(channels.map(|time| time.map(lease)).collect())
    }

    /// The channels have changed places, before anything has come.
    pub(super) fn reverse(&mut self) {
        self.0.reverse();
    }

    /// The link tells something.
    pub(super) fn receive(&mut self, event: &Event) {
        let (channel, held) = match event {
            Event::LeaseHeld(channel) => (channel, true),
            Event::LeaseLapsed(channel) => (channel, false),
            _ => return,
        };
        let lease = self.0[usize::from(channel.0)].as_mut();
        let lease = lease.expect("a channel without a lease");
        assert!(held != lease.held, "told again: {event:?}");
        lease.held = held;
    }

    /// The application has taken a message that came like this.
    pub(super) fn take(
        &mut self,
        now: Instant,
        channel: ChannelId,
        message: &Message,
        came: Came,
        link: &Link,
    ) {
        let Some(lease) = &mut self.0[usize::from(channel.0)] else {
            return;
        };
        if !came.timed {
            return;
        }
        let mut until = came.at + lease.time;
        if let Some(age) = came.age(now) {
            until = until.min(now + lease.time.saturating_sub(Duration::from_micros(age)));
        }
        lease.until = lease.until.max(Some(until));
        // Its clocks may drift by a thousandth.
        let slack = lease.time / 1000 + Duration::from_micros(2);
        if let Some(age) = message.age(now)
            && age.at_most + slack < lease.time
            && link.state() != LinkState::Ended
        {
            assert!(link.lease_until(channel).is_some(), "young, and not held");
        }
    }

    /// Returns when the last of them has lapsed, if nothing more is taken.
    pub(super) fn last(&self) -> Option<Instant> {
        self.0
            .iter()
            .flatten()
            .filter_map(|lease| lease.until)
            .max()
    }

    /// The last of them has lapsed.
    pub(super) fn check_lapsed(&self) {
        let held = self.0.iter().flatten().any(|lease| lease.held);
        assert!(!held, "held for ever");
    }

    /// All is told and nothing is due at `now`, and the link is asked again at `deadline`.
    pub(super) fn check(&self, now: Instant, deadline: Option<Instant>, link: &Link) {
        for (number, lease) in (0..).zip(&self.0) {
            let until = link.lease_until(ChannelId(number));
            let Some(lease) = lease else {
                assert_eq!(until, None, "a lease of nothing");
                continue;
            };
            assert_eq!(until.is_some(), lease.held, "told something else");
            if until.is_some() {
                assert!(until <= lease.until, "held for too long: {until:?}");
                assert!(until > Some(now), "lapsed, and held");
                assert!(deadline.is_some_and(|at| Some(at) <= until), "slept over");
                assert!(link.state() != LinkState::Ended, "held after the end");
            }
        }
    }
}
