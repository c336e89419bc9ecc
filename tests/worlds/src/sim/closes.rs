//! What ends say when they close: an end learns what the other said, or nothing.

use countersign_core::{CloseMode, CloseReason, EndReason, Link, LinkState, VerdictKind, close};

use super::plan::Closes;
use super::single::is_over;
use super::world::World;

/// Returns what is said with a code.
fn reason(code: u32) -> CloseReason {
    match code {
        0 => CloseReason::ALL_WELL,
        close::WITHDRAWN => CloseReason::new(close::WITHDRAWN, ""),
        code => CloseReason::new(code, "because"),
    }
}

fn withdrawn(link: &Link) -> u64 {
    let channels = link.report();
    let counts = channels.iter().map(|channel| &channel.verdicts);
    counts.map(|counts| counts[VerdictKind::Withdrawn]).sum()
}

impl World<'_> {
    pub(super) fn close(&mut self, node: usize, how: Closes) {
        let now = self.local(node);
        let it = &mut self.nodes[node];
        it.closing = true;
        it.said.push(how.code);
        let Some(link) = it.link.link_mut() else {
            return;
        };
        let before = withdrawn(link);
        link.close_with(now, how.mode, reason(how.code));
        if withdrawn(link) > before {
            it.said.push(close::WITHDRAWN);
        }
        if how.mode != CloseMode::DrainBoth {
            self.take_nothing(node);
        }
    }

    /// A link is up: if it is closing already, a session in place of the one that it closed is
    /// closed as it begins, and none of its messages are taken.
    pub(super) fn on_closing(&mut self, node: usize) {
        let state = self.nodes[node].link.state();
        if matches!(
            state,
            LinkState::Closing | LinkState::Finishing | LinkState::Ended
        ) {
            self.take_nothing(node);
        }
    }

    fn take_nothing(&mut self, node: usize) {
        let (pair, end) = (self.nodes[node].pair, self.nodes[node].end);
        for (channel, its) in self.plan.channels.iter().enumerate() {
            if its.sender != end {
                self.ledger.abandoned(pair, channel);
            }
        }
    }

    /// A link has ended: it knows which reason it gave itself, and none of its peer that its peer
    /// did not give.
    pub(super) fn check_said(&mut self, node: usize) {
        let it = &self.nodes[node];
        let Some(EndReason::Closed { ours, theirs, .. }) = it.link.end_reason() else {
            return;
        };
        let peers = |code| {
            let mut nodes = self.nodes.iter();
            nodes.any(|other| {
                other.pair == it.pair && other.end != it.end && other.said.contains(&code)
            })
        };
        let own = ours.is_all_well() || it.said.contains(&ours.code);
        let heard = theirs.is_all_well() || peers(theirs.code);
        let whole = [ours, theirs].map(|said| *said == reason(said.code) || is_over(said));
        if !own || !heard || whole != [true; 2] {
            let what = format!("{} says {ours} and hears {theirs}", self.name(node));
            self.ledger.object(what);
        }
    }

    /// Two links that closed one session know each other's reasons; what an end has learned in a
    /// session before, from a link that is gone, it does not forget.
    pub(super) fn check_heard(&mut self) {
        let mut wrong = Vec::new();
        for (at, one) in self.nodes.iter().enumerate() {
            for (from, other) in self.nodes.iter().enumerate() {
                let same = one.pair == other.pair
                    && one.end != other.end
                    && one.link.session() == other.link.session();
                let ends = [one, other].map(|node| match node.link.end_reason() {
                    Some(EndReason::Closed { ours, theirs, .. }) if !node.crashed => {
                        Some((ours, theirs))
                    }
                    _ => None,
                });
                let (true, [Some((_, heard)), Some((said, _))]) = (same, ends) else {
                    continue;
                };
                let earlier = self.nodes.iter().enumerate().any(|(index, node)| {
                    let its = (node.pair, node.end) == (other.pair, other.end);
                    its && index != from && node.said.contains(&heard.code)
                });
                // What was said last, with DONE, is lost with the connection.
                let unheard = one.lost && heard.is_all_well();
                if heard != said && !unheard && (heard.is_all_well() || !earlier) {
                    wrong.push(format!("link {from} says {said}, link {at} hears {heard}"));
                }
            }
        }
        for what in wrong {
            self.ledger.object(what);
        }
    }
}
