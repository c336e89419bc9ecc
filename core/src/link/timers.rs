//! Timers and deadlines of a link.

use core::time::Duration;

use super::{Half, Link};
use crate::Instant;
use crate::error::Loss;
use crate::observe::Call;
use crate::state::{Input, LinkState};

/// The timers of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// Opener: the delay before the next attempt to connect.
    Connect,
    /// Acceptor: how long the session is kept for the peer to come back.
    Retain,
    /// The time limit of securing a connection and of its handshake.
    Handshake,
    /// The time limit of a close without progress.
    Close,
    /// The time limit for a connection to end once both ends are done with it.
    Linger,
}

impl Timer {
    /// All timers, in the order in which those that are due fire.
    const ALL: [Self; 5] = [
        Self::Retain,
        Self::Connect,
        Self::Handshake,
        Self::Close,
        Self::Linger,
    ];
}

/// When each running timer fires.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Returns timers of which only this one runs.
    pub(super) fn only(timer: Timer, at: Option<Instant>) -> Self {
        let mut timers = Self::default();
        timers.set(timer, at);
        timers
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        self.0[timer as usize] = at;
    }

    /// Starts the timer to fire `wait` after `now`.
    pub(super) fn start(&mut self, timer: Timer, now: Instant, wait: Duration) {
        self.set(timer, now.checked_add(wait));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.set(timer, None);
    }
}

/// Returns the earlier of two moments that may not be there.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Link {
    /// Returns when to call [`Link::handle_timeout`], unless something else comes first; `None`
    /// when only input or a command can change anything.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        // A loop, since drivers ask often and chained iterators take three times as long.
        let mut earliest = None;
        for timer in Timer::ALL {
            earliest = earlier(earliest, self.running(timer));
        }
        for watch in [self.ping_at(), self.give_up_at()] {
            earliest = earlier(earliest, watch);
        }
        if self.state != LinkState::Ended {
            for half in &self.halves {
                let deadline = match half {
                    Half::Send(half) => half.next_expiry(),
                    Half::Receive(half) => half.deadline(),
                };
                earliest = earlier(earliest, deadline);
            }
        }
        match &self.connection.pace {
            Some(pace) if self.state.carries_messages() => earlier(earliest, pace.deadline()),
            _ => earliest,
        }
    }

    /// Returns when a timer fires, if it applies in this state: [`Timer::Retain`] does not end an
    /// attempt of the peer to come back.
    pub(super) fn running(&self, timer: Timer) -> Option<Instant> {
        let at = self.timers.get(timer)?;
        let counts = match timer {
            Timer::Connect | Timer::Retain => self.state == LinkState::Offline,
            Timer::Linger => self.connection.is_open,
            Timer::Handshake | Timer::Close => true,
        };
        counts.then_some(at)
    }

    /// Handles the passing of time. Calling it early or often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Timeout);
        // First, so that what has expired by now is not withdrawn when the link ends below.
        if self.state != LinkState::Ended {
            self.handle_halves_timeout();
        }
        for timer in Timer::ALL {
            if self.is_due(self.running(timer)) {
                self.fire(timer);
            }
        }
        if self.state.carries_messages()
            && let Some(pace) = &mut self.connection.pace
        {
            self.wants_output |= pace.handle_timeout(self.now);
        }
        if self.is_due(self.give_up_at()) {
            self.on_connection_lost(Loss::Silence);
        }
        if self.is_due(self.ping_at()) {
            self.ping();
        }
    }

    fn is_due(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Connect => {
                self.timers.stop(Timer::Connect);
                let connects = self.step(Input::ConnectDue);
                debug_assert_eq!(connects, Ok(true));
            }
            Timer::Retain => self.on_connection_lost(Loss::StayedAway),
            Timer::Handshake => self.on_connection_lost(Loss::HandshakeTooSlow),
            Timer::Close => self.on_connection_lost(Loss::CloseTooSlow),
            Timer::Linger => self.connection_ended(),
        }
    }

    fn handle_halves_timeout(&mut self) {
        for half in &mut self.halves {
            match half {
                Half::Send(half) => {
                    // What was dropped may have held back what follows, or leave a SKIP to write.
                    self.wants_output |= half.expire(self.now, &mut self.spent);
                    self.has_events |= half.has_events();
                    // A SKIP may be due for messages that CLOSE has named and that will not be sent
                    // after all.
                    self.wants_output |= self.state == LinkState::Closing;
                }
                Half::Receive(half) => {
                    self.has_events |= half.handle_timeout(self.now);
                    self.wants_output |= half.wants_output();
                }
            }
        }
    }

    /// Whether silence of the peer is watched for: only `countersign/1` can ping a silent peer.
    fn checks_liveness(&self) -> bool {
        self.is_native() && self.state.carries_messages()
    }

    /// Returns when to write a PING: to check that a silent peer is alive, or to show a peer that
    /// has been sending all the while, a long message perhaps, that this end is.
    fn ping_at(&self) -> Option<Instant> {
        let connection = &self.connection;
        let probe = (!connection.ping_outstanding).then_some(connection.last_received);
        let is_quiet = connection.last_received > connection.last_sent && !connection.to_ping;
        let keep_alive = is_quiet.then_some(connection.last_sent);
        let since = probe
            .into_iter()
            .chain(keep_alive)
            .min()
            .filter(|_| self.checks_liveness())?;
        since.checked_add(self.config.timeouts.ping)
    }

    fn give_up_at(&self) -> Option<Instant> {
        let since = Some(self.connection.last_received).filter(|_| self.checks_liveness())?;
        since.checked_add(self.config.timeouts.give_up)
    }

    fn ping(&mut self) {
        self.connection.ping_outstanding = true;
        self.connection.to_ping = true;
        self.wants_output = true;
        self.release_memory();
    }

    /// Releases what a busy link keeps for the next message, when a PING is sent or received: one
    /// end was silent for a while then. It is done at either, because the end whose peer pings
    /// first may never send a PING itself.
    pub(super) fn release_memory(&mut self) {
        if self.now < self.release_at {
            return;
        }
        self.release_at = self.now + self.config.timeouts.ping;
        self.spent.release_memory();
        for half in &mut self.halves {
            match half {
                Half::Send(half) => half.release_memory(),
                Half::Receive(half) => half.release_memory(),
            }
        }
    }

    /// Notes that bytes have arrived from the peer.
    pub(super) fn note_arrival(&mut self) {
        self.connection.last_received = self.now;
        self.connection.ping_outstanding = false;
        if self.checks_liveness() {
            // Until it is read, nothing else about the peer's clock arrives with it.
            self.connection.to_ping |= self.connection.peer_clock.wants_to_ask(self.now);
            self.wants_output |= self.connection.to_ping;
        }
        if self.state.carries_messages() {
            // The peer sends beyond its greeting: this connection is a good one.
            self.backoff.reset();
        }
    }

    /// Forgets the transport connection once both of its directions have ended.
    pub(super) fn end_connection_if_done(&mut self) {
        if self.connection.read_ended && self.connection.write_ended {
            self.connection_ended();
        }
    }

    /// Forgets the transport connection. In `Finishing`, that is the orderly end.
    pub(super) fn connection_ended(&mut self) {
        self.connection.is_open = false;
        self.wants_output = false;
        self.connection.last_frame = None;
        if self.state == LinkState::Finishing {
            let reason = self.closing.end_reason();
            self.fail(Input::Failed, reason, None);
            self.wants_output = false;
        }
    }
}
