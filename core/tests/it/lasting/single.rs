//! Links that end with their session.

use countersign_core::{
    CloseReason, EndReason, Incoming, LinkState, Output, PeerId, Protocol, SessionLoss, close,
    refuse,
};

use super::world::{ACCEPTOR, OPENER, World};
use crate::lasting::observer::Seen;

/// Whom each end finds at the other, where they prove it.
const WHO: PeerId = PeerId([7; 32]);

/// What an opener says whose link ends with its session.
fn says_over() -> CloseReason {
    let text = "the opener can't go on with the session that it had, and its link ends with that";
    CloseReason::new(close::SESSION_OVER, text).again()
}

fn is_over(refusal: &countersign_core::Refusal) -> bool {
    refusal.code == refuse::SESSION_OVER && !refusal.again
}

impl World<'_> {
    pub(super) fn who(&self) -> Option<PeerId> {
        self.case.proven.then_some(WHO)
    }

    /// The opener's session is lost, and the link ends with that: it closes the one in its place.
    /// True where that is so.
    pub(super) fn ends_with_session(&mut self, why: SessionLoss) -> bool {
        let now = self.now;
        let end = &mut self.ends[OPENER];
        if !self.case.single(OPENER) || end.ever_done {
            return false;
        }
        end.over = Some(why);
        end.said = says_over();
        if !end.is_closing {
            (end.is_closing, end.by_us, end.closing_since) = (true, true, now);
        }
        true
    }

    /// Whether the acceptor's link ends for a peer that arrives without its session. A listener's
    /// does so only while it has no connection.
    pub(super) fn ends_for_newcomers(&self) -> bool {
        let end = &self.ends[ACCEPTOR];
        let waits = !self.case.listens || end.link.state() == LinkState::Offline;
        let holds = end.session != [0; 16] && !end.is_over && !end.ever_done;
        waits && holds && self.case.single(ACCEPTOR) && self.case.proven
    }

    /// It does.
    pub(super) fn end_anew(&mut self) {
        let end = &mut self.ends[ACCEPTOR];
        end.over = Some(SessionLoss::StartedAnew);
        end.owes.insert("session lost");
    }

    /// A connection's peer has been refused: the refusal goes out, and the connection ends.
    pub(super) fn send_away(&mut self, mut incoming: Incoming, connection: usize) {
        let reason = incoming.end_reason();
        assert!(matches!(reason, Some(EndReason::TurnedAway(why)) if is_over(why)));
        let mut buffer = [0; 1000];
        let Output::Written(length) = incoming.poll_output(self.now, &mut buffer) else {
            panic!("it says why");
        };
        assert_eq!(
            incoming.poll_output(self.now, &mut buffer[length..]),
            Output::End
        );
        let said = &buffer[..length];
        self.log.bytes[ACCEPTOR].extend_from_slice(said);
        let connection = &mut self.connections[connection];
        connection.write(ACCEPTOR, said);
        assert_eq!(connection.out[ACCEPTOR].feed(said), [Seen::Complaint]);
        connection.is_refused = true;
        connection.gone[ACCEPTOR] = true;
    }

    /// Whether an end that was declared so has ended as it must. `None` where it has not ended by
    /// that.
    pub(super) fn ended_with_session(&self, at: usize, reason: &EndReason) -> Option<bool> {
        let end = &self.ends[at];
        match (end.over, reason) {
            (Some(why), EndReason::SessionLost(told)) => Some(why == *told),
            (Some(_), _) | (None, EndReason::SessionLost(_)) => Some(false),
            (None, EndReason::Refused(why)) => {
                let connection = end.connection.map(|at| &self.connections[at]);
                let refused = connection.is_some_and(|connection| connection.is_refused);
                Some(at == OPENER && refused && is_over(why))
            }
            (None, _) => None,
        }
    }
}
