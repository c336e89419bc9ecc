//! What time does to a link.

use core::time::Duration;

use super::{Half, Link};
use crate::Instant;
use crate::error::Loss;
use crate::event::{ChannelId, Event};
use crate::observe::Call;
use crate::state::{Input, LinkState};

/// What a link waits for, but not for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// Opener: to connect again.
    Connect,
    /// Acceptor: for the peer to come back.
    Retain,
    /// For a connection to be secured and greeted.
    Handshake,
    /// For a close that does not move.
    Close,
    /// For a connection to end on which everything is said.
    Linger,
}

impl Timer {
    /// In the order in which those that are due go off.
    const ALL: [Self; 5] = [
        Self::Retain,
        Self::Connect,
        Self::Handshake,
        Self::Close,
        Self::Linger,
    ];
}

/// When each of them goes off, of those that run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// This one alone.
    pub(super) fn only(timer: Timer, at: Option<Instant>) -> Self {
        let mut timers = Self::default();
        timers.put(timer, at);
        timers
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    pub(super) fn put(&mut self, timer: Timer, at: Option<Instant>) {
        self.0[timer as usize] = at;
    }

    /// Goes off so long after `now`.
    pub(super) fn start(&mut self, timer: Timer, now: Instant, wait: Duration) {
        self.put(timer, now.checked_add(wait));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }
}

impl Link {
    /// The moment at which to call [`Link::handle_timeout`], unless something else comes first;
    /// `None` when only input or a command can change anything.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        let timers = Timer::ALL
            .into_iter()
            .filter_map(|timer| self.running(timer));
        let watch = [self.ping_at(), self.give_up_at()].into_iter().flatten();
        let halves = self
            .halves
            .iter()
            .filter(|_| self.state != LinkState::Ended);
        let halves = halves.filter_map(|half| match half {
            Half::Send(half) => half.next_expiry(),
            Half::Receive(half) => half.deadline(),
        });
        timers.chain(watch).chain(halves).min()
    }

    /// When a timer goes off, if it counts now: the time that a peer has to come back does not end an
    /// attempt to do so.
    pub(super) fn running(&self, timer: Timer) -> Option<Instant> {
        let counts = match timer {
            Timer::Connect | Timer::Retain => self.state == LinkState::Offline,
            Timer::Linger => self.connection.is_there,
            Timer::Handshake | Timer::Close => true,
        };
        self.timers.get(timer).filter(|_| counts)
    }

    /// Time has passed. Calling it early or often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Timeout);
        // First, so that what has expired by now is not withdrawn by an end that is found out now.
        if self.state != LinkState::Ended {
            self.time_halves();
        }
        for timer in Timer::ALL {
            if self.is_due(self.running(timer)) {
                self.go_off(timer);
            }
        }
        if self.is_due(self.give_up_at()) {
            self.lose(Loss::Silence);
        }
        if self.is_due(self.ping_at()) {
            self.ping();
        }
    }

    fn is_due(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }

    fn go_off(&mut self, timer: Timer) {
        match timer {
            Timer::Connect => {
                self.timers.stop(Timer::Connect);
                let connects = self.step(Input::ConnectDue);
                debug_assert_eq!(connects, Ok(true));
            }
            Timer::Retain => self.lose(Loss::StayedAway),
            Timer::Handshake => self.lose(Loss::HandshakeTooSlow),
            Timer::Close => self.lose(Loss::CloseTooSlow),
            Timer::Linger => self.connection_ended(),
        }
    }

    fn time_halves(&mut self) {
        for (at, half) in self.halves.iter_mut().enumerate() {
            match half {
                Half::Send(half) => {
                    // What is gone may have held back what follows, or leave a SKIP to write.
                    self.wants_output |= half.expire(self.now, &mut self.spent);
                    self.has_news |= half.has_news();
                    // What CLOSE has named and will not come after all has to be said.
                    self.wants_output |= self.state == LinkState::Closing;
                }
                Half::Receive(half) => {
                    if half.handle_timeout(self.now) {
                        let silent =
                            Event::Silent(ChannelId(u16::try_from(at).unwrap_or(u16::MAX)));
                        if !self.events.contains(&silent) {
                            self.events.push_back(silent);
                        }
                        self.has_news = true;
                    }
                    self.wants_output |= half.wants_output();
                }
            }
        }
    }

    /// Whether silence counts: only `countersign/1` can ask a silent peer whether it is there.
    fn is_watched(&self) -> bool {
        self.is_native() && matches!(self.state, LinkState::Open | LinkState::Closing)
    }

    /// When to write a PING: either to ask a silent peer whether it is there, or to tell one that
    /// has been sending all the while, a long message perhaps, that this end is.
    fn ping_at(&self) -> Option<Instant> {
        let connection = &self.connection;
        let ask = (!connection.ping_outstanding).then_some(connection.heard);
        let tells = connection.heard > connection.spoke && connection.to_ping.is_none();
        let tell = tells.then_some(connection.spoke);
        let since = ask
            .into_iter()
            .chain(tell)
            .min()
            .filter(|_| self.is_watched())?;
        since.checked_add(self.config.timeouts.ping)
    }

    fn give_up_at(&self) -> Option<Instant> {
        let heard = Some(self.connection.heard).filter(|_| self.is_watched())?;
        heard.checked_add(self.config.timeouts.give_up)
    }

    fn ping(&mut self) {
        self.connection.ping_outstanding = true;
        self.connection.to_ping = Some(self.rng.next_u64());
        self.wants_output = true;
        self.release_memory();
    }

    /// A ping goes or has come: one end was silent for a while, so this is the moment to let go of
    /// what a busy link kept for the next message. Whichever end asks first, the other may never
    /// come to ask.
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

    /// Something came from the peer.
    pub(super) fn note_arrival(&mut self) {
        self.connection.heard = self.now;
        self.connection.ping_outstanding = false;
        if matches!(self.state, LinkState::Open | LinkState::Closing) {
            // The peer goes on beyond its greeting: this connection is a good one.
            self.backoff.reset();
        }
    }

    /// Forgets the transport connection once both of its directions have ended.
    pub(super) fn end_connection_if_done(&mut self) {
        if self.connection.read_ended && self.connection.write_ended {
            self.connection_ended();
        }
    }

    /// Forgets the transport connection; in `Finishing`, that is the orderly end.
    pub(super) fn connection_ended(&mut self) {
        self.connection.is_there = false;
        self.wants_output = false;
        self.connection.last_frame = None;
        if self.state == LinkState::Finishing {
            let reason = self.closing.end_reason();
            self.fail(Input::Failed, reason, None);
            self.wants_output = false;
        }
    }
}
