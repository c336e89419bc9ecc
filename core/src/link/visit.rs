//! A connection whose peer waits for the caller's word, and what that may be: it is another link's, or a
//! link of its own, or refused (`docs/protocol.md`, Sessions).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::connection::Farewell;
use super::timers::Timer;
use super::{Half, Link};
use crate::Instant;
use crate::config::{ChannelConfig, Config, Role};
use crate::config_error::DeclareError;
use crate::error::{EndReason, Loss, PeerMisbehaved};
use crate::life::{Input, Life};
use crate::observe::{Call, Outcome};
use crate::refuse::{self, Refusal};
use crate::sessions::{GoneSession, SessionId};
use crate::wire::{NO_CHANNEL, OwnedGreeting, SessionOutcome};

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

impl Link {
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
}
