//! Sessions: what outlives a connection, and how the next one goes on with it
//! (`docs/protocol.md`, Sessions).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::arriving::Waiting;
use super::connection::{Connection, LastFrame, ToGreet};
use super::timers::Timer;
use super::{Half, Link, PeerId};
use crate::channel::{Mode, Policy};
use crate::config::Role;
use crate::error::{EndReason, Loss, PeerMisbehaved, SessionLoss};
use crate::event::Event;
use crate::observe::Call;
use crate::receive::append;
use crate::state::{Input, LinkState};
use crate::wire::{ChannelEntry, Greeting, NOT_KNOWN, OwnedGreeting, SessionOutcome};
use crate::{GoneSession, Instant, Sequence, SessionId, abort};

/// What two ends have in common beyond a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Session {
    /// Zeros where there is none.
    pub(super) id: SessionId,
    /// Whom it is held with.
    peer: Option<PeerId>,
    /// The peer's policies, in the order of HELLO: they can't change within a session.
    policies: Vec<Option<Policy>>,
    pub(super) resumes: u64,
    /// The link ends with this: the one that it was declared to end with is lost.
    pub(super) over: Option<SessionLoss>,
    /// Opener: how often HELLO has named the session. Acceptor: the attempt that it took last.
    /// Modulo 2^24.
    pub(super) attempt: u32,
    /// Opener: HELLO has named the session.
    named: bool,
    /// Acceptor: when the session began.
    pub(super) began: Instant,
    /// Acceptor: whoever comes is put to the caller.
    pub(super) asks: bool,
}

/// Attempts to resume are counted modulo 2^24.
const ATTEMPTS: u32 = 1 << 24;

/// Whether an attempt is newer than another (RFC 1982, with 24 bits).
const fn is_newer(attempt: u32, than: u32) -> bool {
    let ahead = attempt.wrapping_sub(than) % ATTEMPTS;
    ahead > 0 && ahead < ATTEMPTS / 2
}

impl Link {
    pub(super) fn has_session(&self) -> bool {
        self.session.id != [0; 16]
    }

    /// Ends a link whose peer is away, because the caller has no room for it.
    pub fn evict(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Evict);
        if self.state == LinkState::Offline {
            self.lose(Loss::Evicted);
        }
    }

    /// Ends the link because this end no longer accepts the identity of the peer, and tells the peer
    /// where it can: [`EndReason::Revoked`] at both ends. Messages on the wire get the verdict
    /// `Unknown`, the rest `Withdrawn`. A link in which everything is said already just finishes.
    ///
    /// The tlsstream dialect has no words for it: there the caller ends the connection in a way
    /// that can't be taken for an orderly one.
    pub fn revoke(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Revoke);
        if self.state == LinkState::Finishing {
            return;
        }
        let reason = EndReason::Revoked { by_us: true };
        let last_frame = self.is_native().then(|| LastFrame::Abort {
            code: abort::NOT_TRUSTED,
            text: "this end no longer accepts the identity of its peer".to_string(),
        });
        self.fail(Input::Failed, reason, last_frame);
    }

    /// Whom the session is held with; `None` before there is one, and on a plain connection.
    #[must_use]
    pub fn session_peer(&self) -> Option<PeerId> {
        self.session.peer.filter(|_| self.has_session())
    }

    /// What to remember of this link's session once the link has ended: with it a peer that comes
    /// back too late can be told what had become of its messages.
    #[must_use]
    pub fn gone_session(&self) -> GoneSession {
        let channels = self.config.channels.iter().zip(&self.halves);
        let settled = channels.filter_map(|(config, half)| match half {
            Half::Receive(half) => Some((config.name().to_string(), half.settled())),
            Half::Send(_) => None,
        });
        GoneSession::new(self.session.id, self.session.peer, settled.collect())
    }

    // The handshake's part.

    /// Whether the opener's next HELLO names the session.
    pub(super) fn names_session(&mut self) -> bool {
        self.session.named = self.has_session() && self.session.peer == self.peer;
        if self.session.named {
            self.session.attempt = (self.session.attempt + 1) % ATTEMPTS;
        }
        self.session.named
    }

    /// What the next HELLO says about which attempt it is.
    pub(super) fn attempt(&self) -> u32 {
        if self.session.named {
            self.session.attempt
        } else {
            0
        }
    }

    /// An acceptor has read and checked the head of a HELLO that names a session.
    pub(super) fn on_named_session(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if self.is_resumed_by(hello, self.peer) {
            if self.is_next_attempt(hello.head.attempt) {
                return self.resume_with(hello);
            }
            self.lose(Loss::Replaced);
            return Ok(());
        }
        if self.session.asks {
            self.await_admission(hello);
            return Ok(());
        }
        self.begin_session(hello, SessionOutcome::NotKnown)
    }

    /// An acceptor has read and checked the head of a HELLO that names none.
    pub(super) fn on_new_session(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if !self.session.asks {
            return self.begin_session(hello, SessionOutcome::New);
        }
        self.await_admission(hello);
        Ok(())
    }

    fn await_admission(&mut self, hello: &Greeting<'_>) {
        self.connection.waiting = Some(Waiting::Hello(OwnedGreeting::new(hello)));
    }

    /// A peer of the tlsstream dialect has proved who it is.
    pub(super) fn on_stream_secured(&mut self) {
        if self.session.asks && self.role == Role::Acceptor {
            self.connection.waiting = Some(Waiting::Stream(Vec::new()));
        } else {
            self.stream_open();
        }
    }

    /// Keeps what comes in the tlsstream dialect while its peer waits to be admitted; false if it
    /// does not.
    pub(super) fn keep_stream(&mut self, input: &[u8]) -> bool {
        let waits = self.state == LinkState::Greeting;
        // With one byte more than it may send, the peer has broken the protocol, whatever follows.
        let most = self.most_unconfirmed().saturating_add(1);
        match &mut self.connection.waiting {
            Some(Waiting::Stream(kept)) if waits => {
                let room = most.saturating_sub(kept.len());
                append(kept, &input[..input.len().min(room)], most);
                true
            }
            _ => false,
        }
    }

    /// Whether this HELLO may go on with this acceptor's session: it comes from whom the session
    /// is held with, and declares the same channels.
    pub(super) fn is_resumed_by(&self, hello: &Greeting<'_>, peer: Option<PeerId>) -> bool {
        let same = |(number, theirs): (usize, ChannelEntry<'_>)| {
            let ours = self
                .wire
                .get(number)
                .map(|at| &self.config.channels[usize::from(*at)]);
            let policy = self.session.policies.get(number);
            ours.is_some_and(|ours| ours.name() == theirs.name && ours.mode() != theirs.mode)
                && policy == Some(&theirs.policy)
        };
        self.has_session()
            && hello.head.session == self.session.id
            && peer == self.session.peer
            && hello.channels().count() == self.wire.len()
            && hello.channels().enumerate().all(same)
    }

    /// Whether a HELLO with this attempt was written after the one that this acceptor has followed
    /// last.
    pub(super) fn is_next_attempt(&self, attempt: u32) -> bool {
        #[cfg(planted)]
        if self.errs_about_attempts() {
            return true;
        }
        is_newer(attempt, self.session.attempt)
    }

    /// The acceptor goes on with its session.
    pub(super) fn resume_with(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        for theirs in hello.channels() {
            super::greeting::check_entry(&theirs, SessionOutcome::Resumed)?;
        }
        self.session.attempt = hello.head.attempt;
        self.connection.to_greet = ToGreet::Welcome(SessionOutcome::Resumed);
        self.agree(hello, true)
    }

    /// The opener hears what became of the session.
    pub(super) fn on_outcome(&mut self, welcome: &Greeting<'_>) -> Result<bool, PeerMisbehaved> {
        let head = &welcome.head;
        let same = head.session == self.session.id;
        match (self.session.named, head.outcome) {
            (false, SessionOutcome::New) => {
                if self.has_session() {
                    self.lose_session(SessionLoss::OtherPeer, &[])?;
                }
                Ok(false)
            }
            (true, SessionOutcome::Resumed) if same => Ok(true),
            (true, SessionOutcome::NotKnown) if !same => {
                self.lose_session(SessionLoss::NotKnown, &known(welcome))?;
                Ok(false)
            }
            (true, SessionOutcome::TooOld) if !same => {
                self.lose_session(SessionLoss::TooOld, &known(welcome))?;
                Ok(false)
            }
            _ => Err(PeerMisbehaved::Greeting),
        }
    }

    /// Both ends are agreed on whom the session is held with, and about what.
    pub(super) fn hold_session(&mut self, id: SessionId, greeting: &Greeting<'_>) {
        if self.role == Role::Acceptor {
            self.session.began = self.now;
        }
        self.session.id = id;
        self.session.peer = self.peer;
        self.session.policies = greeting.channels().map(|theirs| theirs.policy).collect();
    }

    /// What the next greeting says that this end had settled of an old session.
    pub(super) fn settled_once(&self, channel: usize) -> Sequence {
        let settled = self.connection.settled_once.get(channel).copied().flatten();
        settled.unwrap_or(NOT_KNOWN)
    }

    // The connection's part.

    /// There is a new connection.
    pub(super) fn begin_connection(&mut self) {
        self.connections += 1;
        self.connection = Connection::opened(&self.config, self.now);
        self.timers.stop(Timer::Connect);
        self.timers.stop(Timer::Linger);
        self.timers
            .start(Timer::Handshake, self.now, self.config.timeouts.handshake);
        #[cfg(planted)]
        self.err_at_beginning();
    }

    /// The connection is of no use any more. What that means for the link depends on why, on the
    /// role and on the policy.
    pub(super) fn lose(&mut self, loss: Loss) {
        let idle = matches!(self.state, LinkState::Offline | LinkState::Ended);
        if idle && loss.spares_session() {
            return;
        }
        if !self.outlives(loss) {
            let reason = if self.misses_only_the_farewell(loss) {
                self.closing.end_reason()
            } else {
                EndReason::Lost(loss)
            };
            self.fail(Input::Failed, reason, None);
            self.connection_ended();
            return;
        }
        let was_up = matches!(self.state, LinkState::Open | LinkState::Closing);
        self.disconnect(loss);
        // An attempt that fails takes nothing with it: there was no session yet.
        if was_up && !self.is_native() {
            // Without figures from the peer this can't contradict anything.
            let _ = self.lose_session(SessionLoss::Dialect, &[]);
        }
    }

    /// Whether a link that is given up had said DONE, and then lost the connection to a peer that
    /// stays away: every message has its verdict and is settled, and the peer has asked to close
    /// or agreed to it. It may have ended already, and its DONE been lost with the connection.
    fn misses_only_the_farewell(&self, loss: Loss) -> bool {
        let is_away = !matches!(self.state, LinkState::Open | LinkState::Closing);
        let by_choice = matches!(loss, Loss::NotTrusted | Loss::Abandoned);
        self.closing.ever_done && is_away && !by_choice
    }

    /// Decides whether the link waits for another connection, and for how long.
    pub(super) fn outlives(&mut self, loss: Loss) -> bool {
        // Anybody may take the place of a peer for a while, and must not end what is not theirs; and
        // a certificate may be renewed.
        let was_up = !self.wire.is_empty();
        let waits_if_up = matches!(loss, Loss::Unproven | Loss::OutOfDate);
        if !loss.spares_session() || (waits_if_up && !was_up) {
            return false;
        }
        if self.session.over.is_some() || self.ends_with_connection() {
            return false;
        }
        match self.role {
            Role::Opener => {
                let policy = &self.config.reconnect;
                let at = self.backoff.fail(self.now, policy, &mut self.rng);
                let due = at.filter(|at| *at != Instant::NEVER);
                self.timers.put(Timer::Connect, due);
                at.is_some()
            }
            Role::Acceptor => {
                let retain = self.config.timeouts.retain;
                // A return that fails does not begin the time anew.
                if self.timers.get(Timer::Retain).is_none() {
                    self.timers.start(Timer::Retain, self.now, retain);
                }
                self.has_session() && !retain.is_zero()
            }
        }
    }

    /// Lets go of the connection and waits for the next.
    pub(super) fn disconnect(&mut self, loss: Loss) {
        let was_up = matches!(self.state, LinkState::Open | LinkState::Closing);
        if !matches!(self.step(Input::ConnectionLost), Ok(true)) {
            return;
        }
        self.last_loss = Some(loss);
        self.timers.stop(Timer::Handshake);
        self.connection_ended();
        for half in &mut self.halves {
            if let Half::Receive(half) = half {
                half.connection_lost();
            }
        }
        if was_up {
            self.push_event(Event::Lost(loss));
        }
    }
}

/// What an acceptor that can't resume says that it had settled, in the order of HELLO.
fn known(welcome: &Greeting<'_>) -> Vec<Option<Sequence>> {
    let settled = |theirs: ChannelEntry<'_>| {
        (theirs.mode == Mode::Receive && theirs.handled != NOT_KNOWN).then_some(theirs.handled)
    };
    welcome.channels().map(settled).collect()
}
