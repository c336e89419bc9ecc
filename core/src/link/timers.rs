//! What time does to a link.

use super::{Half, Link};
use crate::Instant;
use crate::error::Loss;
use crate::event::{ChannelId, Event};
use crate::life::{Input, Life};
use crate::observe::Call;

impl Link {
    /// The moment at which to call [`Link::handle_timeout`], unless something else comes first;
    /// `None` when only input or a command can change anything.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        let mut deadline = self.handshake_deadline.min(self.close_deadline);
        if self.life == Life::Offline {
            deadline = deadline.min(self.connect_at).min(self.retain_deadline);
        }
        if self.life == Life::Finishing || (self.life == Life::Ended && self.connected) {
            deadline = deadline.min(self.linger_deadline);
        }
        if self.is_watched() {
            deadline = deadline.min(self.ping_at()).min(self.give_up_at());
        }
        if self.life != Life::Ended {
            for half in &self.halves {
                deadline = deadline.min(match half {
                    Half::Send(half) => half.next_expiry(),
                    Half::Receive(half) => half.deadline(),
                });
            }
        }
        (deadline != Instant::FAR_FUTURE).then_some(deadline)
    }

    /// Time has passed. Calling it early or often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Timeout);
        let now = self.now;
        // First, so that what has expired by now is not withdrawn by an end that is found out now.
        if self.life != Life::Ended {
            self.time_halves();
        }
        if self.life == Life::Offline {
            if self.retain_deadline <= now {
                self.lose(Loss::StayedAway);
            } else if self.connect_at <= now {
                self.connect_at = Instant::FAR_FUTURE;
                let connects = self.step(Input::ConnectDue);
                debug_assert_eq!(connects, Ok(true));
            }
        }
        if self.handshake_deadline <= now {
            self.lose(Loss::HandshakeTooSlow);
        }
        if self.close_deadline <= now {
            self.lose(Loss::CloseTooSlow);
        }
        if self.linger_deadline <= now && self.connected {
            self.connection_ended();
        }
        if self.is_watched() && self.give_up_at() <= now {
            self.lose(Loss::Silence);
        }
        if self.is_watched() && self.ping_at() <= now {
            self.ping();
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
                    self.wants_output |= self.life == Life::Closing;
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
        self.is_native() && matches!(self.life, Life::Open | Life::Closing)
    }

    /// When to write a PING: either to ask a silent peer whether it is there, or to tell one that
    /// has been sending all the while, a long message perhaps, that this end is.
    fn ping_at(&self) -> Instant {
        let ping = self.config.patience.ping;
        let ask = if self.ping_outstanding {
            Instant::FAR_FUTURE
        } else {
            self.heard + ping
        };
        let tell = if self.heard > self.spoke && self.to_ping.is_none() {
            self.spoke + ping
        } else {
            Instant::FAR_FUTURE
        };
        ask.min(tell)
    }

    fn give_up_at(&self) -> Instant {
        self.heard + self.config.patience.give_up
    }

    fn ping(&mut self) {
        self.ping_outstanding = true;
        self.to_ping = Some(self.rng.next_u64());
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
        self.release_at = self.now + self.config.patience.ping;
        self.spent.release_memory();
        for half in &mut self.halves {
            match half {
                Half::Send(half) => half.release_memory(),
                Half::Receive(half) => half.release_memory(),
            }
        }
    }

    /// Something came from the peer.
    pub(super) fn hear(&mut self) {
        self.heard = self.now;
        self.ping_outstanding = false;
        if matches!(self.life, Life::Open | Life::Closing) {
            // The peer goes on beyond its greeting: this connection is a good one.
            self.backoff.reset();
        }
    }

    /// Forgets the transport connection once both of its directions have ended.
    pub(super) fn end_connection_if_done(&mut self) {
        if self.read_ended && self.write_ended {
            self.connection_ended();
        }
    }

    /// Forgets the transport connection; in `Finishing`, that is the orderly end.
    pub(super) fn connection_ended(&mut self) {
        self.connected = false;
        self.wants_output = false;
        self.farewell = None;
        if self.life == Life::Finishing {
            let reason = self.closing.end_reason();
            self.fail(Input::Failed, reason, None);
            self.wants_output = false;
        }
    }
}
