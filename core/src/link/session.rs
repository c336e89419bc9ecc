//! Sessions: what outlives a connection, and how the next one resumes it (`docs/protocol.md`,
//! Sessions).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::admission::PendingRequest;
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

/// The state that two ends share beyond a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Session {
    /// Zeros if there is no session.
    pub(super) id: SessionId,
    /// The identity that the session is held with.
    peer: Option<PeerId>,
    /// The peer's policies, in the order of HELLO: they can't change within a session.
    policies: Vec<Option<Policy>>,
    pub(super) resumes: u64,
    /// Set once the session is lost with which the link was declared to end.
    pub(super) over: Option<SessionLoss>,
    /// Opener: how often HELLO has named the session. Acceptor: the attempt that it accepted last.
    /// Modulo 2^24.
    pub(super) attempt: u32,
    /// Opener: whether this connection's HELLO names the session.
    named: bool,
    /// Acceptor: when the session began.
    pub(super) began: Instant,
    /// Acceptor: whether the caller decides about a peer that does not resume the session.
    pub(super) asks_to_admit: bool,
}

/// The modulus of the count of attempts to resume.
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
            self.on_connection_lost(Loss::Evicted);
        }
    }

    /// Ends the link because this end no longer accepts the identity of the peer, and notifies the
    /// peer if it can: [`EndReason::Revoked`] at both ends. Messages on the wire get the verdict
    /// `Unknown`, the others `Withdrawn`. A link on which both ends are done already just finishes.
    ///
    /// The tlsstream dialect can't express this: there the caller ends the connection in a way that
    /// can't be taken for an orderly end.
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

    /// Returns the identity that the session is held with; `None` before there is a session, and on
    /// a plain connection.
    #[must_use]
    pub fn session_peer(&self) -> Option<PeerId> {
        self.session.peer.filter(|_| self.has_session())
    }

    /// Returns what to remember of this link's session once the link has ended. With it, a peer
    /// that comes back too late can be told what became of its messages.
    #[must_use]
    pub fn gone_session(&self) -> GoneSession {
        let channels = self.config.channels.iter().zip(&self.halves);
        let settled = channels.filter_map(|(config, half)| match half {
            Half::Receive(half) => Some((config.name().to_string(), half.settled())),
            Half::Send(_) => None,
        });
        GoneSession::new(self.session.id, self.session.peer, settled.collect())
    }

    // The handshake.

    /// Decides whether the opener's next HELLO names the session, and counts the attempt if so.
    pub(super) fn names_session(&mut self) -> bool {
        self.session.named = self.has_session() && self.session.peer == self.peer;
        if self.session.named {
            self.session.attempt = (self.session.attempt + 1) % ATTEMPTS;
        }
        self.session.named
    }

    /// Returns the `attempt` field of the next HELLO.
    pub(super) fn attempt(&self) -> u32 {
        if self.session.named {
            self.session.attempt
        } else {
            0
        }
    }

    /// Handles a HELLO that names a session, at an acceptor that has checked its head.
    pub(super) fn on_named_session(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if self.is_resumed_by(hello, self.peer) {
            if self.is_next_attempt(hello.head.attempt) {
                return self.resume_with(hello);
            }
            self.on_connection_lost(Loss::Replaced);
            return Ok(());
        }
        if self.session.asks_to_admit {
            self.await_admission(hello);
            return Ok(());
        }
        self.begin_session(hello, SessionOutcome::NotKnown)
    }

    /// Handles a HELLO that names no session, at an acceptor that has checked its head.
    pub(super) fn on_new_session(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if !self.session.asks_to_admit {
            return self.begin_session(hello, SessionOutcome::New);
        }
        self.await_admission(hello);
        Ok(())
    }

    fn await_admission(&mut self, hello: &Greeting<'_>) {
        self.connection.pending_request = Some(PendingRequest::Hello(OwnedGreeting::new(hello)));
    }

    /// Handles a secured connection in the tlsstream dialect.
    pub(super) fn on_stream_secured(&mut self) {
        if self.session.asks_to_admit && self.role == Role::Acceptor {
            self.connection.pending_request = Some(PendingRequest::Stream(Vec::new()));
        } else {
            self.stream_open();
        }
    }

    /// Buffers input in the tlsstream dialect while its peer waits to be admitted. Returns false if
    /// the peer does not wait.
    pub(super) fn buffer_stream(&mut self, input: &[u8]) -> bool {
        let waits = self.state == LinkState::Greeting;
        // One byte beyond what the peer may send is enough to see the violation.
        let most = self.max_unconfirmed().saturating_add(1);
        match &mut self.connection.pending_request {
            Some(PendingRequest::Stream(kept)) if waits => {
                let room = most.saturating_sub(kept.len());
                append(kept, &input[..input.len().min(room)], most);
                true
            }
            _ => false,
        }
    }

    /// Whether this HELLO may resume this acceptor's session: it comes from the peer that the
    /// session is held with, and declares the same channels.
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

    /// Whether a HELLO with this attempt was written after the one that this acceptor accepted
    /// last.
    pub(super) fn is_next_attempt(&self, attempt: u32) -> bool {
        #[cfg(planted)]
        if self.errs_about_attempts() {
            return true;
        }
        is_newer(attempt, self.session.attempt)
    }

    /// Resumes the acceptor's session.
    pub(super) fn resume_with(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        for theirs in hello.channels() {
            super::greeting::check_entry(&theirs, SessionOutcome::Resumed)?;
        }
        self.session.attempt = hello.head.attempt;
        self.connection.to_greet = ToGreet::Welcome(SessionOutcome::Resumed);
        self.apply_greeting(hello, true)
    }

    /// Handles the outcome in a WELCOME. Returns whether the session was resumed.
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

    /// Records a session that both ends have agreed on.
    pub(super) fn adopt_session(&mut self, id: SessionId, greeting: &Greeting<'_>) {
        if self.role == Role::Acceptor {
            self.session.began = self.now;
        }
        self.session.id = id;
        self.session.peer = self.peer;
        self.session.policies = greeting.channels().map(|theirs| theirs.policy).collect();
    }

    /// Returns what WELCOME says that this end had settled of a session that can't be resumed.
    pub(super) fn old_settled(&self, channel: usize) -> Sequence {
        let settled = self.connection.old_settled.get(channel).copied().flatten();
        settled.unwrap_or(NOT_KNOWN)
    }

    // The connection.

    /// Begins a new connection.
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

    /// Handles the loss of the connection. What it means for the link depends on the reason, the
    /// role and the policy.
    pub(super) fn on_connection_lost(&mut self, loss: Loss) {
        let idle = matches!(self.state, LinkState::Offline | LinkState::Ended);
        if idle && loss.keeps_session() {
            return;
        }
        if !self.await_connection(loss) {
            let reason = if self.counts_as_closed(loss) {
                self.closing.end_reason()
            } else {
                EndReason::Lost(loss)
            };
            self.fail(Input::Failed, reason, None);
            self.connection_ended();
            return;
        }
        let was_up = self.state.carries_messages();
        self.disconnect(loss);
        // Only if the link was up: an attempt that fails has no session to lose.
        if was_up && !self.is_native() {
            // Without numbers from the peer there is nothing to contradict.
            let _ = self.lose_session(SessionLoss::Dialect, &[]);
        }
    }

    /// Whether a link that is given up counts as closed: this end has sent DONE, then lost the
    /// connection, and the peer stays away. Every message has its verdict and is settled then, and
    /// the peer has asked to close or agreed to it. It may have ended already, with its DONE lost
    /// with the connection.
    fn counts_as_closed(&self, loss: Loss) -> bool {
        let is_away = !self.state.carries_messages();
        let by_choice = matches!(loss, Loss::NotTrusted | Loss::Abandoned);
        self.closing.ever_done && is_away && !by_choice
    }

    /// Decides whether the link waits for another connection, and for how long. Starts the timer
    /// that it takes.
    pub(super) fn await_connection(&mut self, loss: Loss) -> bool {
        // Anyone may answer in place of the peer for a while, and must not end a link that is not
        // theirs; and a certificate may be renewed.
        let was_up = !self.wire.is_empty();
        let waits_if_up = matches!(loss, Loss::Unproven | Loss::OutOfDate);
        if !loss.keeps_session() || (waits_if_up && !was_up) {
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
                self.timers.set(Timer::Connect, due);
                at.is_some()
            }
            Role::Acceptor => {
                let retain = self.config.timeouts.retain;
                // A failed attempt to return does not restart the time.
                if self.timers.get(Timer::Retain).is_none() {
                    self.timers.start(Timer::Retain, self.now, retain);
                }
                self.has_session() && !retain.is_zero()
            }
        }
    }

    /// Drops the connection and waits for the next.
    pub(super) fn disconnect(&mut self, loss: Loss) {
        let was_up = self.state.carries_messages();
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

/// Returns what an acceptor that can't resume had settled, by its own account, in the order of
/// HELLO.
fn known(welcome: &Greeting<'_>) -> Vec<Option<Sequence>> {
    let settled = |theirs: ChannelEntry<'_>| {
        (theirs.mode == Mode::Receive && theirs.handled != NOT_KNOWN).then_some(theirs.handled)
    };
    welcome.channels().map(settled).collect()
}
