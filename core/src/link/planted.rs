//! Mistakes that the project's own tests plant, to see that they would be found. Nothing here is
//! compiled without `--cfg planted`, and nothing happens without [`Link::plant`].

use super::{Half, Link};

/// A mistake about sessions that an implementation could make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[doc(hidden)]
pub enum Planted {
    /// A link that goes on with another connection does not fence the old one off: it counts both
    /// as one.
    NoFence,
    /// After a resume, what was accepted meanwhile goes out before what has to go out again.
    ReplayLast,
    /// What has to go out again does not.
    NoReplay,
    /// A sender that resumes begins its numbers again.
    SenderCountsAnew,
    /// A receiver that has lost a connection has forgotten its counters.
    ReceiverForgets,
    /// A receiver passes from one session to the next without a border.
    NoBorder,
    /// An acceptor follows a HELLO whatever attempt it names.
    FollowsLateHello,
    /// An opener that was declared to end with its session goes on with the next.
    OutlivesSession,
    /// An acceptor's link ends with its session for a HELLO from before that began.
    EndsForLateHello,
}

impl Link {
    /// Makes this link make a mistake from here on.
    #[doc(hidden)]
    pub fn plant(&mut self, mistake: Planted) {
        self.planted = Some(mistake);
    }

    /// Whether a HELLO that names an attempt of the past is followed.
    pub(super) fn errs_about_attempts(&self) -> bool {
        self.planted == Some(Planted::FollowsLateHello)
    }

    /// Whether a receiver is given no border.
    pub(super) fn errs_about_borders(&self) -> bool {
        self.planted == Some(Planted::NoBorder)
    }

    /// Whether the end of a session is taken for the next one's beginning.
    pub(super) fn errs_about_the_end(&self) -> bool {
        self.planted == Some(Planted::OutlivesSession)
    }

    /// Whether it makes no difference when a peer has connected that comes without the session.
    pub(super) fn errs_about_newcomers(&self) -> bool {
        self.planted == Some(Planted::EndsForLateHello)
    }

    /// A connection has begun.
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

    /// The session has resumed.
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
