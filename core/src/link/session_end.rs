//! The end of a session: the verdicts of its messages, the border that it leaves in the stream, and
//! links that end with it (`docs/protocol.md`, Refused resumes and the sections after it).

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
    /// Ends the session: every message gets its verdict, and nothing carries over to the next
    /// session. `settled` is what the peer says that it had settled, by channel.
    pub(super) fn lose_session(
        &mut self,
        why: SessionLoss,
        settled: &[Option<Sequence>],
    ) -> Result<(), PeerMisbehaved> {
        // An end that has sent DONE has all verdicts: nothing but the peer's DONE can be lost then.
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
                // Nothing is taken from the next session if it is closed as it begins.
                Half::Receive(half) if loss.is_none() || single => half.end_stream(),
                Half::Receive(half) => half.start_over(border),
            }
        }
        self.session.id = [0; 16];
        self.session.attempt = 0;
        self.closing.lose_session();
        self.has_events = true;
        if let Some(why) = loss {
            self.push_event(Event::SessionLost(why));
            if single {
                self.end_with_session(why);
            }
        }
        Ok(())
    }

    // Links that end with their session.

    /// Whether the link ends with a lost connection, because the session does.
    pub(super) fn ends_with_connection(&self) -> bool {
        let was_up = !self.wire.is_empty();
        self.config.single_session && !self.is_native() && was_up
    }

    /// Ends an opener's link with its session. The session that it got instead is closed first, so
    /// that the peer does not wait for it to be resumed.
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

    /// Whether an acceptor's link ends when a peer comes that does not resume its session.
    pub(super) fn ends_on_new_session(&self) -> bool {
        // An end that has sent DONE misses nothing but the peer's DONE.
        self.config.single_session && self.has_session() && !self.closing.ever_done
    }

    /// Whether the peer that this link waits for has come without its session on the connection of
    /// `arrived`. On a connection without an identity anyone could claim that. A connection that
    /// was open before the session began belongs to an attempt that the peer may have given up
    /// since: its HELLO is late and says nothing about the session.
    pub(super) fn is_orphaned_by(&self, arrived: &Self) -> bool {
        let waits = self.state == LinkState::Offline && self.ends_on_new_session();
        let peer = arrived.peer;
        let is_late = arrived.connection.opened_at < self.session.began;
        #[cfg(planted)]
        let is_late = is_late && !self.errs_about_late_hellos();
        waits && peer.is_some() && peer == self.session_peer() && !is_late
    }

    /// Ends this link because its peer has come without the session on the connection of `arrived`,
    /// and refuses the peer there.
    pub(super) fn end_orphaned(&mut self, arrived: &mut Self) {
        let refusal = session_over();
        arrived.advance_clock(self.now);
        let channel = NO_CHANNEL;
        let last_frame = LastFrame::Refuse {
            channel,
            refusal: refusal.clone(),
        };
        let turned_away = EndReason::TurnedAway(refusal);
        arrived.fail(Input::Failed, turned_away, Some(last_frame));
        self.end_as_started_anew(None);
    }

    /// Handles a peer that does not resume the session, at an acceptor's link that is driven
    /// without an [`Incoming`](crate::Incoming).
    pub(super) fn end_on_new_session(&mut self) {
        if self.peer.is_none() || self.peer != self.session_peer() {
            return self.on_connection_lost(Loss::Unproven);
        }
        let last_frame = LastFrame::Refuse {
            channel: NO_CHANNEL,
            refusal: session_over(),
        };
        self.end_as_started_anew(Some(last_frame));
    }

    fn end_as_started_anew(&mut self, last_frame: Option<LastFrame>) {
        let why = SessionLoss::StartedAnew;
        self.push_event(Event::SessionLost(why));
        self.fail(Input::Failed, EndReason::SessionLost(why), last_frame);
    }
}

/// Returns the refusal for an opener that comes without its session, which says what to do.
fn session_over() -> Refusal {
    let text = "the session that this end held here before is over, and its link has ended with it; \
                connect again to begin a new one";
    Refusal::new(refuse::SESSION_OVER, text.to_owned())
}
