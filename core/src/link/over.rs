//! A session that is over: what becomes of its messages, the border that it leaves in the stream, and
//! links that end with it (`docs/protocol.md`, Refused resumes and what follows).

use alloc::borrow::ToOwned;

use super::connection::LastFrame;
use super::timers::Timer;
use super::{Half, Link};
use crate::Sequence;
use crate::close::{self, CloseReason};
use crate::error::{EndReason, Loss, PeerMisbehaved, SessionLoss};
use crate::event::Event;
use crate::refuse::{self, Refusal};
use crate::state::{Input, LinkState};
use crate::wire::NO_CHANNEL;

impl Link {
    /// The session is over: every message of it gets its verdict, and the next has nothing of it.
    /// `settled` is what the peer says that it had settled, by channel.
    pub(super) fn lose_session(
        &mut self,
        why: SessionLoss,
        settled: &[Option<Sequence>],
    ) -> Result<(), PeerMisbehaved> {
        // Who had said DONE has all verdicts: what is lost then is nothing but the last_frame.
        let loss = Some(why).filter(|_| !self.closing.ever_done);
        let border = loss;
        #[cfg(planted)]
        let border = border.filter(|_| !self.errs_about_borders());
        let single = self.config.single_session;
        #[cfg(planted)]
        let single = single && !self.errs_about_the_end();
        for (at, half) in self.halves.iter_mut().enumerate() {
            match half {
                Half::Send(half) => {
                    half.start_over(settled.get(at).copied().flatten(), &mut self.spent)?;
                }
                // Of a session that is closed as it begins nothing is taken.
                Half::Receive(half) if loss.is_none() || single => half.end_stream(),
                Half::Receive(half) => half.start_over(border),
            }
        }
        self.session.id = [0; 16];
        self.session.attempt = 0;
        self.closing.lose_session();
        self.has_news = true;
        if let Some(why) = loss {
            self.push_event(Event::SessionLost(why));
            if single {
                self.end_with_session(why);
            }
        }
        Ok(())
    }

    // Links that end with their session.

    /// Whether a lost connection takes the session with it, and this link ends with that.
    pub(super) fn ends_with_connection(&self) -> bool {
        let was_up = !self.wire.is_empty();
        self.config.single_session && !self.is_native() && was_up
    }

    /// The session of an opener is lost: the link ends once the one that it gets in its place is
    /// closed, so that the peer does not wait for anybody to come back to that.
    pub(super) fn end_with_session(&mut self, why: SessionLoss) {
        self.session.over = Some(why);
        let text =
            "the opener can't go on with the session that it had, and its link ends with that";
        let reason = CloseReason::new(close::SESSION_OVER, text).again();
        if self.closing.end_session(reason) {
            self.timers
                .start(Timer::Close, self.now, self.config.timeouts.close);
        }
    }

    /// Whether an acceptor's link ends where somebody comes who does not go on with its session.
    pub(super) fn ends_for_newcomers(&self) -> bool {
        // Who has said DONE misses nothing but the last_frame.
        self.config.single_session && self.has_session() && !self.closing.ever_done
    }

    /// Whether the peer for which this link waits is on a connection that has arrived, and has come without its session.
    /// On a connection without an identity anybody could say so. One that was open before the
    /// session began is of an attempt that the peer may have given up since: its HELLO is late, and
    /// says nothing of the session.
    pub(super) fn is_left_behind_by(&self, arrived: &Self) -> bool {
        let waits = self.state == LinkState::Offline && self.ends_for_newcomers();
        let peer = arrived.peer;
        let is_late = arrived.connection.opened_at < self.session.began;
        #[cfg(planted)]
        let is_late = is_late && !self.errs_about_newcomers();
        waits && peer.is_some() && peer == self.session_peer() && !is_late
    }

    /// The peer for which this link waits is on a connection that has arrived, and has begun anew.
    pub(super) fn end_for(&mut self, arrived: &mut Self) {
        let refusal = session_over();
        arrived.advance_clock(self.now);
        let channel = NO_CHANNEL;
        let last_frame = LastFrame::Refuse {
            channel,
            refusal: refusal.clone(),
        };
        let turned_away = EndReason::TurnedAway(refusal);
        arrived.fail(Input::Failed, turned_away, Some(last_frame));
        self.end_anew(None);
    }

    /// The only link of an acceptor hears from somebody who does not go on with its session.
    pub(super) fn meet_newcomer(&mut self) {
        if self.peer.is_none() || self.peer != self.session_peer() {
            return self.lose(Loss::Unproven);
        }
        let last_frame = LastFrame::Refuse {
            channel: NO_CHANNEL,
            refusal: session_over(),
        };
        self.end_anew(Some(last_frame));
    }

    fn end_anew(&mut self, last_frame: Option<LastFrame>) {
        let why = SessionLoss::StartedAnew;
        self.push_event(Event::SessionLost(why));
        self.fail(Input::Failed, EndReason::SessionLost(why), last_frame);
    }
}

/// What an opener hears that has begun anew, and what it is to do.
fn session_over() -> Refusal {
    let text = "the session that this end held here before is over, and its link has ended with it; \
                connect again to begin a new one";
    Refusal::new(refuse::SESSION_OVER, text.to_owned())
}
