//! Links that end with their session: when they must and when they must not, and what follows.

use countersign_core::{
    CloseReason, EndReason, Link, LinkState, Request, SessionLoss, close, refuse,
};

use super::plan::{ACCEPTOR, OPENER};
use super::world::World;

impl World<'_> {
    fn is_single(&self, node: usize) -> bool {
        self.plan.single[self.nodes[node].end]
    }

    /// Whether a peer can prove that it is the same as before; without that it ends no link.
    fn has_identities(&self) -> bool {
        self.plan.keys.is_some()
    }

    // The opener.

    /// The opener's session is lost. The one that replaces it is closed, and none of its messages
    /// are taken.
    pub(super) fn on_over(&mut self, node: usize, why: SessionLoss) {
        if !self.is_single(node) {
            return;
        }
        let session = self.nodes[node].link.session();
        if let Some(holder) = self.holders.get(&session) {
            self.ledger.turned_away(*holder);
        }
        self.nodes[node].over = Some(why);
        self.nodes[node].said.push(close::SESSION_OVER);
    }

    /// The application has taken a message. If the link ends with its session, the message must be
    /// of that session.
    pub(super) fn check_session_of(&mut self, node: usize, taken: usize) {
        let it = &self.nodes[node];
        if !self.is_single(node) || it.end != OPENER {
            return;
        }
        let sender = self.ledger.sender(taken);
        if self.holders.get(&it.first_session) != Some(&sender) {
            let name = self.name(node);
            let what = format!("{name} is given #{taken}, which is of another session");
            self.ledger.object(what);
        }
    }

    /// The application was given a border, behind which nothing can come.
    pub(super) fn check_border_of(&mut self, node: usize) {
        if self.is_single(node) {
            let what = format!("{} ends with its session at a border", self.name(node));
            self.ledger.object(what);
        }
    }

    /// The link is up, or wants to be.
    pub(super) fn check_not_over(&mut self, node: usize) {
        if self.nodes[node].over.is_some() {
            let what = format!("{} goes on without its session", self.name(node));
            self.ledger.object(what);
        }
    }

    // The acceptor.

    /// An incoming connection becomes a new link. If its peer has left one behind, that had to end.
    pub(super) fn check_none_left_behind(&mut self, incoming: usize) {
        let pair = self.nodes[incoming].pair;
        let waits = |at: &usize| {
            let node = &self.nodes[*at];
            let of_pair = node.pair == pair && node.end == ACCEPTOR && !node.crashed;
            of_pair && node.away && node.link.state() == LinkState::Offline
        };
        let waiting: Vec<usize> = self.live.iter().copied().filter(waits).collect();
        // Of several links the one that has waited longest is asked, and no other.
        if let [holder] = waiting[..]
            && self.must_end_for(holder, incoming)
        {
            let name = self.name(holder);
            self.ledger
                .object(format!("{name} waits on, though its peer began anew"));
        }
    }

    /// Whether a link must end because the peer that it waits for has arrived without the
    /// session. Where it may have said DONE, which can't be seen from here, it need not.
    fn must_end_for(&self, holder: usize, incoming: usize) -> bool {
        let (link, newcomer) = (&self.nodes[holder], &self.nodes[incoming]);
        let names_it = newcomer.link.request() == Some(Request::Resume(link.session));
        let open = !link.closing && link.link.link().and_then(Link::peer_closes).is_none();
        let waits = link.link.state() == LinkState::Offline && open && !names_it;
        // A connection opened before the session existed can't know of it.
        let knows = newcomer.born > link.began;
        waits && knows && self.may_end_for(holder, incoming)
    }

    fn may_end_for(&self, holder: usize, incoming: usize) -> bool {
        let same = self.nodes[holder].pair == self.nodes[incoming].pair;
        same && self.is_single(holder) && self.has_identities()
    }

    /// A link has ended because its peer has begun anew. There may be no opener that could have
    /// gone on with its session.
    pub(super) fn end_for(&mut self, holder: usize, incoming: usize) {
        self.say(|| format!("{} ends: its peer began anew", self.name(holder)));
        self.summary.left_behind += 1;
        let session = self.nodes[holder].session;
        let pair = self.nodes[holder].pair;
        let knows = self.nodes.iter().any(|node| {
            let opener = node.end == OPENER && node.pair == pair && !node.crashed;
            opener && node.link.state() != LinkState::Ended && node.link.session() == session
        });
        if knows || !self.may_end_for(holder, incoming) {
            let name = self.name(holder);
            self.ledger
                .object(format!("{name} ends, though its peer has the session"));
        }
        self.nodes[holder].over = Some(SessionLoss::StartedAnew);
    }

    // The end.

    /// Whether a link may not end like this, as far as that concerns links that end with their
    /// session; `None` if it does not.
    pub(super) fn judge_over(&self, node: usize, reason: &EndReason) -> Option<bool> {
        let it = &self.nodes[node];
        let ours = self.plan.single[ACCEPTOR] && self.has_identities();
        Some(match reason {
            EndReason::SessionLost(why) => it.over != Some(*why),
            _ if it.over.is_some() => true,
            EndReason::TurnedAway(said) => {
                !ours || it.end != ACCEPTOR || it.ups > 0 || said.code != refuse::SESSION_OVER
            }
            EndReason::Refused(said) => {
                !ours || it.end != OPENER || said.code != refuse::SESSION_OVER || said.again
            }
            _ => return None,
        })
    }

    /// The application of an opener's link that has ended with its session, or was refused because
    /// the acceptor's has, may begin another.
    pub(super) fn begin_anew(&mut self, node: usize) {
        let (pair, end) = (self.nodes[node].pair, self.nodes[node].end);
        if end != OPENER || self.parties[pair][OPENER].node != Some(node) {
            return;
        }
        let anew = match self.nodes[node].link.end_reason() {
            Some(EndReason::Refused(_)) => true,
            Some(EndReason::SessionLost(_)) => self.plan.begins_anew,
            _ => false,
        };
        if anew {
            self.say(|| format!("{}: begins anew", self.name(node)));
            self.finale = false;
            self.begin_opener(pair);
        }
    }

    /// An acceptor that has closed the session which an opener got in place of its own knows why.
    pub(super) fn check_told(&mut self) {
        let mut wrong = Vec::new();
        for opener in &self.nodes {
            if opener.end != OPENER || opener.over.is_none() || opener.crashed {
                continue;
            }
            let session = opener.link.session();
            let holder = self.holders.get(&session).copied();
            let Some(holder) = holder.filter(|holder| !self.nodes[*holder].crashed) else {
                continue;
            };
            let reason = self.nodes[holder].link.end_reason();
            if let Some(EndReason::Closed { theirs, .. }) = reason
                && !is_over(theirs)
            {
                wrong.push(format!("link {holder} hears {theirs}, not that it is over"));
            }
        }
        for what in wrong {
            self.ledger.object(what);
        }
    }
}

/// Whether this is the reason that a link gives which ends with its session: that it does, that
/// another link may succeed, and why.
pub(super) fn is_over(said: &CloseReason) -> bool {
    said.code == close::SESSION_OVER && said.again && !said.text.is_empty()
}
