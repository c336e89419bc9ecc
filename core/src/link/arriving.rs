//! What [`Incoming`] is made of: a link whose peer waits for the caller's word, and what that may be. The
//! connection is another link's, or becomes this one, or is refused (`docs/protocol.md`, Sessions).

use alloc::string::ToString;
use alloc::vec::Vec;

use super::connection::LastFrame;
use super::timers::Timer;
use super::{Half, Link};
use crate::channel::ChannelConfig;
use crate::config::{Config, Role};
use crate::config_error::DeclareError;
use crate::error::{EndReason, Loss, PeerMisbehaved};
use crate::event::Event;
use crate::observe::{Call, Outcome};
use crate::refuse::{self, Refusal};
use crate::state::{Input, LinkState};
use crate::wire::{NO_CHANNEL, OwnedGreeting, SessionOutcome};
use crate::{GoneSession, Incoming, Instant, SessionId};

/// What a peer that waits to be admitted has said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiting {
    Hello(OwnedGreeting),
    /// The tlsstream dialect, which begins without a greeting.
    Stream(Vec<u8>),
}

/// What the peer of an [`Incoming`] wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// A new session.
    New,
    /// To go on with this session.
    Resume(SessionId),
}

/// What became of a connection whose peer has named a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TakeOver {
    /// It is this link's from here on.
    Done,
    /// The peer has come back on another connection since: it is refused on this one, and this link has
    /// not changed.
    Stale,
    /// This link was declared to end with its session
    /// ([`Config::single_session`](crate::Config::single_session)), and its peer, for which it
    /// waited, has come back without it: this link has ended as
    /// [`EndReason::SessionLost`], and its peer is refused on this connection.
    SessionOver,
    /// The session is not this link's, or can't go on. Nothing has changed.
    NotMine,
}

impl Link {
    /// Makes the peer wait for the caller's word.
    pub(crate) fn ask_to_admit(&mut self) {
        self.observer.call(self.now, Call::AskToAdmit);
        self.session.asks = true;
    }

    /// What the peer wants, where it waits for the caller's word.
    pub(crate) fn request(&self) -> Option<Request> {
        let waits = self.state == LinkState::Greeting;
        let waiting = self.connection.waiting.as_ref().filter(|_| waits)?;
        Some(match waiting {
            Waiting::Hello(hello) if hello.head.session != [0; 16] => {
                Request::Resume(hello.head.session)
            }
            Waiting::Hello(_) | Waiting::Stream(_) => Request::New,
        })
    }

    /// Goes on with this link's session on a connection whose peer has named it.
    ///
    /// The connection that this link still has, if any, is lost from here on (fenced): nothing
    /// that comes on it may reach the link any more. [`Link::connection`] tells the two apart.
    /// `incoming` ends as [`EndReason::TakenOver`]. Both have the same clock.
    ///
    /// [`TakeOver::NotMine`] where its peer is not the one that this session is held
    /// with, names another, declares other channels, or this link has ended; [`TakeOver::Stale`]
    /// where an older connection's HELLO comes after a newer one's.
    #[must_use]
    pub fn take_over(&mut self, now: Instant, incoming: &mut Incoming) -> TakeOver {
        self.begin_call(now);
        let arrived = incoming.inner_mut();
        let call = Call::TakeOver {
            incoming: arrived.observer.id(),
        };
        self.observe(&call, Outcome::TakenOver, |link| {
            link.take_connection(arrived)
        })
    }

    fn take_connection(&mut self, arrived: &mut Self) -> TakeOver {
        let over = matches!(self.state, LinkState::Finishing | LinkState::Ended);
        if over || self.role != Role::Acceptor || arrived.request().is_none() {
            return TakeOver::NotMine;
        }
        let hello = match arrived.connection.waiting.take() {
            Some(Waiting::Hello(hello)) if self.is_resumed_by(&hello.greeting(), arrived.peer) => {
                hello
            }
            Some(Waiting::Hello(_)) if self.is_left_behind_by(arrived) => {
                self.end_for(arrived);
                return TakeOver::SessionOver;
            }
            other => {
                arrived.connection.waiting = other;
                return TakeOver::NotMine;
            }
        };
        if !self.is_next_attempt(hello.head.attempt) {
            arrived.advance_clock(self.now);
            let last_frame = LastFrame::Refuse {
                channel: NO_CHANNEL,
                refusal: Refusal::new(refuse::STALE, EndReason::Stale.to_string()),
            };
            arrived.fail(Input::Failed, EndReason::Stale, Some(last_frame));
            return TakeOver::Stale;
        }
        if self.state != LinkState::Offline {
            self.disconnect(Loss::Replaced);
        }
        self.begin_connection();
        let greets = self.step(Input::Opened).is_ok() && self.step(Input::Secured).is_ok();
        debug_assert!(greets, "an offline link takes any connection");
        self.peer = arrived.peer;
        let handshake = arrived.timers.get(Timer::Handshake);
        self.timers.put(Timer::Handshake, handshake);
        core::mem::swap(
            &mut self.connection.decoder,
            &mut arrived.connection.decoder,
        );
        arrived.connection.is_there = false;
        arrived.fail(Input::Failed, EndReason::TakenOver, None);
        if let Err(violation) = self.resume_with(&hello.greeting()) {
            self.fail_peer(violation);
        }
        TakeOver::Done
    }

    /// Gives the peer that waits for the caller's word channels of its own.
    pub(crate) fn declare(&mut self, channels: Vec<ChannelConfig>) -> Result<(), DeclareError> {
        if self.request().is_none() {
            return Err(DeclareError::NobodyWaits);
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

    /// Begins a new session with a peer that waits for the caller's word; false where it is refused, or
    /// nobody waits. Where it has named one that can't be resumed, `gone` is what is still known of that.
    pub(crate) fn admit(&mut self, now: Instant, gone: Option<&GoneSession>) -> bool {
        self.begin_call(now);
        self.observer.call(self.now, Call::Admit { gone });
        let Some(request) = self.request() else {
            return false;
        };
        // It is a link like others from here on, and whoever comes to it is its own affair.
        self.session.asks = false;
        let result = match self.connection.waiting.take() {
            Some(Waiting::Hello(hello)) => {
                let gone = gone.filter(|_| request != Request::New);
                let outcome = match (request, gone) {
                    (Request::New, _) => SessionOutcome::New,
                    (Request::Resume(_), Some(_)) => SessionOutcome::TooOld,
                    (Request::Resume(_), None) => SessionOutcome::NotKnown,
                };
                if let Some(gone) = gone {
                    let channels = self.config.channels.iter();
                    let settled = channels.map(|channel| gone.settled(channel.name()));
                    self.connection.settled_once = settled.collect();
                }
                self.begin_session(&hello.greeting(), outcome)
            }
            Some(Waiting::Stream(input)) => self.admit_stream(&input),
            None => Ok(()),
        };
        if let Err(violation) = result {
            self.fail_peer(violation);
        }
        // In the tlsstream dialect it may have ended since.
        self.state.is_up() || self.events.contains(&Event::Connected)
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

    /// Refuses a peer that waits for the caller's word.
    pub(crate) fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Refuse { refusal });
        if self.request().is_none() {
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
                Err(violation) => return self.fail_peer(violation),
            }
        }
        let last_frame = matches!(waiting, Some(Waiting::Hello(_))).then(|| LastFrame::Refuse {
            channel: NO_CHANNEL,
            refusal: refusal.clone(),
        });
        self.fail(Input::Failed, EndReason::TurnedAway(refusal), last_frame);
    }
}
