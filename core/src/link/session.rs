//! Sessions: what outlives a connection, and how the next one goes on with it
//! (`docs/protocol.md`, Sessions).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::connection::{Connection, Farewell, ToGreet};
use super::timers::Timer;
use super::{Half, Link, PeerId};
use crate::config::{ChannelConfig, Config, Mode, Policy, Role};
use crate::config_error::DeclareError;
use crate::error::{EndReason, Loss, PeerMisbehaved, SessionLoss};
use crate::event::Event;
use crate::life::{Input, Life};
use crate::observe::{Call, Outcome};
use crate::receive::append;
use crate::refuse::{self, Refusal};
use crate::sessions::{GoneSession, SessionId};
use crate::wire::{ChannelEntry, Greeting, NO_CHANNEL, NOT_KNOWN, OwnedGreeting, SessionOutcome};
use crate::{Instant, Sequence, abort};

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
    asks: bool,
}

/// What a peer that waits to be admitted has said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiting {
    Hello(OwnedGreeting),
    /// The tlsstream dialect, which begins without a greeting.
    Stream(Vec<u8>),
}

/// What a peer that waits for the caller's word wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Visit {
    /// A link that is not there yet.
    New,
    /// To go on with a session, of another link perhaps.
    Returns(SessionId),
}

/// What became of a connection whose peer has named a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TakeOver {
    /// It is this link's from here on.
    Done,
    /// The peer has come back on another connection since: the visitor has refused it and ended,
    /// and this link has not changed.
    Stale,
    /// This link was declared to end with its session
    /// ([`Config::single_session`](crate::Config::single_session)), and its peer, for which it
    /// waited, has come back without it: this link has ended as
    /// [`EndReason::SessionLost`], and the visitor has refused its peer and ended.
    SessionOver,
    /// The session is not this link's, or can't go on. Nothing has changed.
    NotMine,
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

    // An acceptor's routing.

    /// Makes whoever comes wait for the caller's word: for links that a listener makes, one for
    /// each connection, before it is known to whom the connection belongs and whether there is
    /// room for it. See [`Link::visit`].
    pub fn ask_to_admit(&mut self) {
        self.observer.call(self.now, Call::AskToAdmit);
        self.session.asks = true;
    }

    /// What the peer wants, where it waits for the caller's word: its HELLO has come, or, in the
    /// tlsstream dialect, it has proved who it is.
    ///
    /// The answer to a peer that [returns](Visit::Returns) is [`Link::take_over`] on the link that
    /// has the session. If there is none or it declines, and to [new](Visit::New) ones, it is
    /// [`Link::admit`] or [`Link::refuse`] on this one, perhaps behind [`Link::declare`]. Without an
    /// answer the handshake runs out of time.
    ///
    /// In the tlsstream dialect the peer may send a message meanwhile, which the link keeps.
    #[must_use]
    pub fn visit(&self) -> Option<Visit> {
        let waits = self.life == Life::Greeting;
        let waiting = self.connection.waiting.as_ref().filter(|_| waits)?;
        Some(match waiting {
            Waiting::Hello(hello) if hello.head.session != [0; 16] => {
                Visit::Returns(hello.head.session)
            }
            Waiting::Hello(_) | Waiting::Stream(_) => Visit::New,
        })
    }

    /// Goes on with this link's session on the connection of `visitor`, whose peer has named it.
    ///
    /// The connection that this link still has, if any, is lost from here on (fenced): nothing
    /// that comes on it may reach the link any more. [`Link::connection`] tells the two apart.
    /// `visitor` ends as [`EndReason::TakenOver`]. Both links have the same clock.
    ///
    /// [`TakeOver::NotMine`] where the visitor's peer is not the one that this session is held
    /// with, names another, declares other channels, or this link has ended; [`TakeOver::Stale`]
    /// where an older connection's HELLO comes after a newer one's.
    #[must_use]
    pub fn take_over(&mut self, now: Instant, visitor: &mut Self) -> TakeOver {
        self.begin_call(now);
        let (id, clock) = (visitor.observer.id(), visitor.now);
        let call = Call::TakeOver { visitor: id, clock };
        self.observe(&call, Outcome::TakenOver, |link| {
            link.take_connection(visitor)
        })
    }

    fn take_connection(&mut self, visitor: &mut Self) -> TakeOver {
        let over = matches!(self.life, Life::Finishing | Life::Ended);
        if over || self.role != Role::Acceptor || visitor.visit().is_none() {
            return TakeOver::NotMine;
        }
        let hello = match visitor.connection.waiting.take() {
            Some(Waiting::Hello(hello)) if self.is_resumed_by(&hello.greeting(), visitor.peer) => {
                hello
            }
            Some(Waiting::Hello(_)) if self.is_left_behind_by(visitor) => {
                self.end_for(visitor);
                return TakeOver::SessionOver;
            }
            other => {
                visitor.connection.waiting = other;
                return TakeOver::NotMine;
            }
        };
        if !self.is_next_attempt(hello.head.attempt) {
            visitor.advance_clock(self.now);
            let farewell = Farewell::Refuse {
                channel: NO_CHANNEL,
                refusal: Refusal::new(refuse::STALE, EndReason::Stale.to_string()),
            };
            visitor.fail(Input::Failed, EndReason::Stale, Some(farewell));
            return TakeOver::Stale;
        }
        if self.life != Life::Offline {
            self.disconnect(Loss::Replaced);
        }
        self.begin_connection();
        let greets = self.step(Input::Opened).is_ok() && self.step(Input::Secured).is_ok();
        debug_assert!(greets, "an offline link takes any connection");
        self.peer = visitor.peer;
        let handshake = visitor.timers.get(Timer::Handshake);
        self.timers.put(Timer::Handshake, handshake);
        core::mem::swap(
            &mut self.connection.decoder,
            &mut visitor.connection.decoder,
        );
        visitor.connection.is_there = false;
        visitor.fail(Input::Failed, EndReason::TakenOver, None);
        if let Err(violation) = self.resume_with(&hello.greeting()) {
            self.accuse(violation);
        }
        TakeOver::Done
    }

    /// Gives the peer that waits for the caller's word channels of its own, instead of those that the
    /// link was made with. [`Link::admit`], which comes after, compares them with the peer's.
    ///
    /// # Errors
    ///
    /// What [`Config::check`] finds in a declaration with these channels; nobody waits; or something was
    /// done with the link's channels already. Nothing changes then.
    ///
    /// ```
    /// use countersign_core::{ChannelConfig, Config, Instant, Link, Output, Role};
    ///
    /// let now = Instant::ZERO;
    /// let everybody = Config::new().channel(ChannelConfig::receive("reports"));
    /// let mut visitor = Link::new(&everybody, Role::Acceptor, [1; 16])?;
    /// visitor.ask_to_admit();
    /// let robot = Config::new().channel(ChannelConfig::send("video"));
    /// let mut robot = Link::new(&robot, Role::Opener, [2; 16])?;
    /// for end in [&mut visitor, &mut robot] {
    ///     end.handle_opened(now)?;
    ///     end.handle_secured(now, None)?;
    /// }
    /// let mut hello = [0; 1024];
    /// let Output::Written(length) = robot.poll_output(now, &mut hello) else { unreachable!() };
    /// visitor.handle_input(now, &hello[..length]);
    ///
    /// // It knows now who has come, and that this one sends pictures.
    /// visitor.declare(vec![ChannelConfig::receive("video")])?;
    /// visitor.admit(now, None);
    /// assert!(visitor.life().is_up());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare(&mut self, channels: Vec<ChannelConfig>) -> Result<(), DeclareError> {
        if self.visit().is_none() {
            return Err(DeclareError::NobodyWaits);
        }
        if self.halves != Half::of_all(&self.config) {
            return Err(DeclareError::InUse);
        }
        let config = Config {
            channels,
            ..self.config.clone()
        };
        config.check().map_err(DeclareError::Config)?;
        let channels = &config.channels;
        self.observer.call(self.now, Call::Declare { channels });
        self.halves = Half::of_all(&config);
        self.config = config;
        Ok(())
    }

    /// Begins a new session with a peer that waits for the caller's word. Where it has named one
    /// that can't be resumed, `gone` is what is still known of that. A peer whose declaration does not
    /// fit is refused as such.
    pub fn admit(&mut self, now: Instant, gone: Option<&GoneSession>) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Admit { gone });
        let Some(visit) = self.visit() else {
            return;
        };
        let result = match self.connection.waiting.take() {
            Some(Waiting::Hello(hello)) => {
                let gone = gone.filter(|_| visit != Visit::New);
                let outcome = match (visit, gone) {
                    (Visit::New, _) => SessionOutcome::New,
                    (Visit::Returns(_), Some(_)) => SessionOutcome::TooOld,
                    (Visit::Returns(_), None) => SessionOutcome::NotKnown,
                };
                if let Some(gone) = gone {
                    let channels = self.config.channels.iter();
                    let settled = channels.map(|channel| gone.settled(&channel.name));
                    self.connection.settled_once = settled.collect();
                }
                self.begin_session(&hello.greeting(), outcome)
            }
            Some(Waiting::Stream(input)) => self.admit_stream(&input),
            None => Ok(()),
        };
        if let Err(violation) = result {
            self.accuse(violation);
        }
    }

    /// Goes on with what has come in the tlsstream dialect meanwhile.
    fn admit_stream(&mut self, input: &[u8]) -> Result<(), PeerMisbehaved> {
        self.stream_open();
        self.read_stream(input)?;
        if self.connection.read_ended {
            self.end_input();
        }
        Ok(())
    }

    /// Refuses a peer that waits for the caller's word, for want of room ([`Refusal::busy`]) or for
    /// a reason of the application's own, which is told at both ends. The link ends as
    /// [`EndReason::TurnedAway`].
    ///
    /// A peer whose declaration does not fit is told so instead of being told that this end is busy: to
    /// wait for room does not heal it.
    ///
    /// The tlsstream dialect has no words for it, so there the connection just ends.
    pub fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Refuse { refusal });
        if self.visit().is_none() {
            return;
        }
        let refusal = refusal.cut();
        let waiting = self.connection.waiting.take();
        if let Some(Waiting::Hello(hello)) = &waiting
            && refusal.code == refuse::BUSY
        {
            match self.fit_channels(&hello.greeting()) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(violation) => return self.accuse(violation),
            }
        }
        let farewell = matches!(waiting, Some(Waiting::Hello(_))).then(|| Farewell::Refuse {
            channel: NO_CHANNEL,
            refusal: refusal.clone(),
        });
        self.fail(Input::Failed, EndReason::TurnedAway(refusal), farewell);
    }

    /// Ends a link whose peer is away, because the caller has no room for it.
    pub fn evict(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Evict);
        if self.life == Life::Offline {
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
        if self.life == Life::Finishing {
            return;
        }
        let reason = EndReason::Revoked { by_us: true };
        let farewell = self.is_native().then(|| Farewell::Abort {
            code: abort::NOT_TRUSTED,
            text: "this end no longer accepts the identity of its peer".to_string(),
        });
        self.fail(Input::Failed, reason, farewell);
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
            Half::Receive(half) => Some((config.name.clone(), half.settled())),
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
    pub(super) fn hear_named(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if self.is_resumed_by(hello, self.peer) {
            if self.is_next_attempt(hello.head.attempt) {
                return self.resume_with(hello);
            }
            self.lose(Loss::Replaced);
            return Ok(());
        }
        if self.session.asks {
            self.await_word(hello);
            return Ok(());
        }
        self.begin_session(hello, SessionOutcome::NotKnown)
    }

    /// An acceptor has read and checked the head of a HELLO that names none.
    pub(super) fn hear_new(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        if !self.session.asks {
            return self.begin_session(hello, SessionOutcome::New);
        }
        self.await_word(hello);
        Ok(())
    }

    fn await_word(&mut self, hello: &Greeting<'_>) {
        self.connection.waiting = Some(Waiting::Hello(OwnedGreeting::new(hello)));
    }

    /// A peer of the tlsstream dialect has proved who it is.
    pub(super) fn hear_stream(&mut self) {
        if self.session.asks && self.role == Role::Acceptor {
            self.connection.waiting = Some(Waiting::Stream(Vec::new()));
        } else {
            self.stream_open();
        }
    }

    /// Keeps what comes in the tlsstream dialect while its peer waits to be admitted; false if it
    /// does not.
    pub(super) fn keep_stream(&mut self, input: &[u8]) -> bool {
        let waits = self.life == Life::Greeting;
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
    fn is_resumed_by(&self, hello: &Greeting<'_>, peer: Option<PeerId>) -> bool {
        let same = |(number, theirs): (usize, ChannelEntry<'_>)| {
            let ours = self
                .wire
                .get(number)
                .map(|at| &self.config.channels[usize::from(*at)]);
            let policy = self.session.policies.get(number);
            ours.is_some_and(|ours| ours.name == theirs.name && ours.mode != theirs.mode)
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
    fn is_next_attempt(&self, attempt: u32) -> bool {
        #[cfg(feature = "planted")]
        if self.errs_about_attempts() {
            return true;
        }
        is_newer(attempt, self.session.attempt)
    }

    /// The acceptor goes on with its session.
    fn resume_with(&mut self, hello: &Greeting<'_>) -> Result<(), PeerMisbehaved> {
        for theirs in hello.channels() {
            super::greeting::check_entry(&theirs, SessionOutcome::Resumed)?;
        }
        self.session.attempt = hello.head.attempt;
        self.connection.to_greet = ToGreet::Welcome(SessionOutcome::Resumed);
        self.agree(hello, true)
    }

    /// The opener hears what became of the session.
    pub(super) fn hear_outcome(&mut self, welcome: &Greeting<'_>) -> Result<bool, PeerMisbehaved> {
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
            .start(Timer::Handshake, self.now, self.config.patience.handshake);
        #[cfg(feature = "planted")]
        self.err_at_beginning();
    }

    /// The connection is of no use any more. What that means for the link depends on why, on the
    /// role and on the policy.
    pub(super) fn lose(&mut self, loss: Loss) {
        let idle = matches!(self.life, Life::Offline | Life::Ended);
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
        let was_up = matches!(self.life, Life::Open | Life::Closing);
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
        let is_away = !matches!(self.life, Life::Open | Life::Closing);
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
                let retain = self.config.patience.retain;
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
        let was_up = matches!(self.life, Life::Open | Life::Closing);
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
            self.tell(Event::Lost(loss));
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
