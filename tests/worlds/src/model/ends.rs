//! How links end, and those that end with their session.

use countersign_core::{CloseReason, EndReason, Event, LinkState, SessionId, close, refuse};

use super::account::Property;
use super::world::{Chunk, Conn, Tip, World};
use super::{End, Setup};
use crate::any_link::AnyLink;

/// What an end says when it closes.
pub(super) fn said_by(end: End) -> CloseReason {
    match end {
        End::Opener => CloseReason::new(1, ""),
        End::Acceptor => CloseReason::new(2, "").again(),
    }
}

/// Whether this is what an opener says whose link ends with its session.
fn says_over(said: &CloseReason) -> bool {
    said.code == close::SESSION_OVER && said.again
}

/// Whether an ended link has blamed its peer, or was blamed.
fn is_accused(link: &AnyLink) -> bool {
    matches!(
        link.end_reason(),
        Some(
            EndReason::Peer(_)
                | EndReason::AccusedByPeer { .. }
                | EndReason::Incompatible(_)
                | EndReason::Refused { .. }
        )
    )
}

/// Whether a link was refused because the acceptor's has ended with its session.
pub(super) fn is_turned_away(link: &AnyLink) -> bool {
    let Some(EndReason::Refused(refusal)) = link.end_reason() else {
        return false;
    };
    refusal.code == refuse::SESSION_OVER && !refusal.again
}

impl World {
    /// The opener's link has something to tell about its session, which is `id` from here on.
    pub(super) fn on_session(&mut self, setup: &Setup, id: SessionId, event: &Event) {
        match event {
            Event::Connected | Event::Resumed if self.account.over => {
                self.account.note_broken(Property::OneSession);
            }
            Event::Connected => {
                self.account.first.get_or_insert(id);
            }
            Event::SessionLost(_) if setup.single[End::Opener.at()] => {
                self.account.over = true;
                self.shut.insert((End::Opener, 0));
            }
            _ => {}
        }
    }

    /// Looks at how a link has ended, if it has.
    pub(super) fn check_end(&mut self, setup: &Setup, end: End, slot: u8) {
        let Some(part) = self.part(end, slot) else {
            return;
        };
        let link = part.link();
        if setup.single[End::Acceptor.at()] && end == End::Opener && is_turned_away(link) {
            self.account.over = true;
            return;
        }
        let over = self.account.over && end == End::Opener;
        let wrong = if over && link.wants_connect() {
            Some(Property::OneSession)
        } else if is_accused(link) {
            Some(Property::NoViolation)
        } else if self.is_deceived(link, end) {
            Some(Property::TrueClose)
        } else {
            let may = over || (end == End::Acceptor && setup.single[end.at()]);
            let as_it_should = match link.end_reason() {
                Some(EndReason::SessionLost(_)) => may,
                Some(_) => !over,
                None => true,
            };
            (!as_it_should).then_some(Property::OneSession)
        };
        if let Some(property) = wrong {
            self.account.note_broken(property);
        }
    }

    /// Whether a link of the acceptor's has ended because its peer began anew, and no opener has
    /// its session, or is about to learn of it.
    pub(super) fn is_left_behind(&self, setup: &Setup, slot: u8) -> bool {
        let Some(part) = self.part(End::Acceptor, slot) else {
            return false;
        };
        let link = part.link();
        let ended = matches!(link.end_reason(), Some(EndReason::SessionLost(_)));
        let (id, opener) = (link.session(), self.opener.link());
        let knows = opener.state() != LinkState::Ended && opener.session() == id;
        let is_told = |conn: &Conn| {
            let names = |chunk: &Chunk| match chunk {
                Chunk::Data(data) => data.windows(id.len()).any(|part| part == id),
                Chunk::End => false,
            };
            let at = End::Opener.at();
            conn.tips[at] != Tip::Gone && conn.pipes[at].iter().any(names)
        };
        ended && setup.single[End::Acceptor.at()] && !knows && !self.conns.iter().any(is_told)
    }

    /// Whether a closed link at this end reports a reason that no end gave, or does not know that
    /// its peer has ended with its session.
    fn is_deceived(&self, link: &AnyLink, end: End) -> bool {
        let Some(EndReason::Closed { ours, theirs, .. }) = link.end_reason() else {
            return false;
        };
        let instead = link.session() == self.opener.link().session();
        if self.account.over && end == End::Acceptor && instead {
            return !says_over(theirs);
        }
        let honest = |said: &CloseReason, by| said.is_all_well() || *said == said_by(by);
        !honest(ours, end) || !honest(theirs, end.other())
    }
}
