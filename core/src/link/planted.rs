//! Mistakes that the project's tests plant to check that they are found. Nothing here is compiled
//! without `--cfg planted`, and nothing happens without [`Link::plant`].

use super::{Half, Link};

/// A mistake that an implementation could make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[doc(hidden)]
pub enum Planted {
    /// A link that resumes on another connection does not fence off the old one: it treats both as
    /// one.
    NoFence,
    /// After a resume, new messages go out before those that have to be replayed.
    ReplayLast,
    /// Nothing is replayed.
    NoReplay,
    /// A sender that resumes restarts its numbers.
    SenderCountsAnew,
    /// A receiver that has lost a connection resets its counters.
    ReceiverForgets,
    /// A receiver passes from one session to the next without a border.
    NoBorder,
    /// An acceptor resumes on a HELLO whatever attempt it names.
    FollowsLateHello,
    /// An opener whose link was declared to end with its session goes on with the next session.
    OutlivesSession,
    /// An acceptor's link ends with its session because of a HELLO from before the session began.
    EndsForLateHello,
    /// A receiver delivers messages however old they are.
    IgnoresAge,
    /// A receiver takes its estimate of the peer's clock for exact.
    ClockBoundTooSmall,
}

impl Link {
    /// Makes this link make the mistake from here on.
    #[doc(hidden)]
    pub fn plant(&mut self, mistake: Planted) {
        self.planted = Some(mistake);
        for half in &mut self.halves {
            if let Half::Receive(half) = half {
                half.ignores_age = mistake == Planted::IgnoresAge;
            }
        }
    }

    /// Whether the peer's clock is taken to be known exactly.
    pub(super) fn errs_about_clocks(&self) -> bool {
        self.planted == Some(Planted::ClockBoundTooSmall)
    }

    /// Whether a HELLO that names an old attempt is accepted.
    pub(super) fn errs_about_attempts(&self) -> bool {
        self.planted == Some(Planted::FollowsLateHello)
    }

    /// Whether a receiver gets no border.
    pub(super) fn errs_about_borders(&self) -> bool {
        self.planted == Some(Planted::NoBorder)
    }

    /// Whether the link goes on with the next session where it should end.
    pub(super) fn errs_about_the_end(&self) -> bool {
        self.planted == Some(Planted::OutlivesSession)
    }

    /// Whether the link ends also for a HELLO on a connection from before its session.
    pub(super) fn errs_about_late_hellos(&self) -> bool {
        self.planted == Some(Planted::EndsForLateHello)
    }

    /// Applies the mistakes that are made when a connection begins.
    pub(super) fn err_at_beginning(&mut self) {
        match self.planted {
            Some(Planted::NoFence) => self.connections = 1,
            Some(Planted::ReceiverForgets) => {
                for half in &mut self.halves {
                    if let Half::Receive(half) = half {
                        half.forget();
                    }
                }
            }
            _ => {}
        }
    }

    /// Applies the mistakes that are made when the session resumes.
    pub(super) fn err_at_resuming(&mut self) {
        for half in &mut self.halves {
            match (self.planted, half) {
                (Some(Planted::ReplayLast), Half::Send(half)) => half.replay_last(),
                (Some(Planted::NoReplay), Half::Send(half)) => half.replay_nothing(),
                (Some(Planted::SenderCountsAnew), Half::Send(half)) => half.count_anew(),
                _ => {}
            }
        }
    }
}
