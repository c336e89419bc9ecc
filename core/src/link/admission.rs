//! Admission of peers: the state behind [`Incoming`], and what the caller may decide. The
//! connection is handed to another link, becomes this one, or is refused (`docs/protocol.md`,
//! Sessions).

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

/// What a peer that waits to be admitted has sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum PendingRequest {
    Hello(OwnedGreeting),
    /// The tlsstream dialect, which begins without a greeting: the input so far.
    Stream(Vec<u8>),
}

/// What the peer of an [`Incoming`] requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// A new session.
    New,
    /// To resume this session.
    Resume(SessionId),
}

/// The result of [`Link::take_over`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TakeOver {
    /// The connection belongs to this link from here on.
    Done,
    /// The peer has come back on another connection since: it is refused on this one, and this link
    /// is unchanged.
    Stale,
    /// This link was declared to end with its session
    /// ([`Config::single_session`](crate::Config::single_session)), and the peer that it waited for
    /// has come back without it. This link has ended as [`EndReason::SessionLost`], and the peer is
    /// refused on this connection.
    SessionOver,
    /// The session is not this link's or can't be resumed. Nothing has changed.
    NotMine,
}

impl Link {
    /// Makes the peer wait for the caller's decision.
    pub(crate) fn ask_to_admit(&mut self) {
        self.observer.call(self.now, Call::AskToAdmit);
        self.session.asks_to_admit = true;
    }

    /// Returns what the peer requests, while it waits for the caller's decision.
    pub(crate) fn request(&self) -> Option<Request> {
        let waits = self.state == LinkState::Greeting;
        let waiting = self.connection.pending_request.as_ref().filter(|_| waits)?;
        Some(match waiting {
            PendingRequest::Hello(hello) if hello.head.session != [0; 16] => {
                Request::Resume(hello.head.session)
            }
            PendingRequest::Hello(_) | PendingRequest::Stream(_) => Request::New,
        })
    }

    /// Resumes this link's session on a connection whose peer has named it.
    ///
    /// The connection that this link still has, if any, is lost from here on (fenced): nothing that
    /// arrives on it may reach the link any more. [`Link::connection`] tells the two apart.
    /// `incoming` ends as [`EndReason::TakenOver`]. Both have the same clock.
    ///
    /// Returns [`TakeOver::NotMine`] if the peer is not the one that this session is held with,
    /// names another session or declares other channels, or if this link has ended;
    /// [`TakeOver::Stale`] if an older connection's HELLO arrives after a newer one's.
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
        let hello = match arrived.connection.pending_request.take() {
            Some(PendingRequest::Hello(hello))
                if self.is_resumed_by(&hello.greeting(), arrived.peer) =>
            {
                hello
            }
            Some(PendingRequest::Hello(_)) if self.is_orphaned_by(arrived) => {
                self.end_orphaned(arrived);
                return TakeOver::SessionOver;
            }
            other => {
                arrived.connection.pending_request = other;
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
        self.timers.set(Timer::Handshake, handshake);
        core::mem::swap(
            &mut self.connection.decoder,
            &mut arrived.connection.decoder,
        );
        self.connection.peer_clock = core::mem::take(&mut arrived.connection.peer_clock);
        arrived.connection.is_open = false;
        arrived.fail(Input::Failed, EndReason::TakenOver, None);
        if let Err(violation) = self.resume_with(&hello.greeting()) {
            self.fail_peer(violation);
        }
        TakeOver::Done
    }

    /// Sets the channels for the peer that waits for the caller's decision.
    pub(crate) fn declare(&mut self, channels: Vec<ChannelConfig>) -> Result<(), DeclareError> {
        if self.request().is_none() {
            return Err(DeclareError::NoRequest);
        }
        let config = Config {
            channels,
            ..self.config.clone()
        };
        config.check().map_err(DeclareError::Config)?;
        let channels = &config.channels;
        self.observer.call(self.now, Call::Declare { channels });
        self.halves = Half::for_all(&config);
        self.has_urgent = config.has_urgent();
        self.config = config;
        Ok(())
    }

    /// Begins a new session with the peer that waits for the caller's decision. Returns false if it
    /// is refused, or if no peer waits. If the peer has named a session that can't be resumed,
    /// `gone` is what is remembered of it.
    pub(crate) fn admit(&mut self, now: Instant, gone: Option<&GoneSession>) -> bool {
        self.begin_call(now);
        self.observer.call(self.now, Call::Admit { gone });
        let Some(request) = self.request() else {
            return false;
        };
        // It is an ordinary link from here on, which handles other peers itself.
        self.session.asks_to_admit = false;
        let result = match self.connection.pending_request.take() {
            Some(PendingRequest::Hello(hello)) => {
                let gone = gone.filter(|_| request != Request::New);
                let outcome = match (request, gone) {
                    (Request::New, _) => SessionOutcome::New,
                    (Request::Resume(_), Some(_)) => SessionOutcome::TooOld,
                    (Request::Resume(_), None) => SessionOutcome::NotKnown,
                };
                if let Some(gone) = gone {
                    let channels = self.config.channels.iter();
                    let settled = channels.map(|channel| gone.settled(channel.name()));
                    self.connection.old_settled = settled.collect();
                }
                self.begin_session(&hello.greeting(), outcome)
            }
            Some(PendingRequest::Stream(input)) => self.admit_stream(&input),
            None => Ok(()),
        };
        if let Err(violation) = result {
            self.fail_peer(violation);
        }
        // In the tlsstream dialect it may have ended already.
        self.state.is_up() || self.events.contains(&Event::Connected)
    }

    /// Processes what has arrived in the tlsstream dialect meanwhile.
    fn admit_stream(&mut self, input: &[u8]) -> Result<(), PeerMisbehaved> {
        self.stream_open();
        self.read_stream(input)?;
        if self.connection.read_ended {
            self.end_input();
        }
        Ok(())
    }

    /// Refuses the peer that waits for the caller's decision.
    pub(crate) fn refuse(&mut self, now: Instant, refusal: &Refusal) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Refuse { refusal });
        if self.request().is_none() {
            return;
        }
        let refusal = refusal.cut();
        let waiting = self.connection.pending_request.take();
        if let Some(PendingRequest::Hello(hello)) = &waiting
            && refusal.code == refuse::BUSY
        {
            match self.match_or_refuse(&hello.greeting()) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(violation) => return self.fail_peer(violation),
            }
        }
        let last_frame =
            matches!(waiting, Some(PendingRequest::Hello(_))).then(|| LastFrame::Refuse {
                channel: NO_CHANNEL,
                refusal: refusal.clone(),
            });
        self.fail(Input::Failed, EndReason::TurnedAway(refusal), last_frame);
    }
}
