//! What ends say when they close: what one end said is what the other heard, or nothing.

use countersign_core::{CloseMode, CloseReason, EndReason};

use super::plan::Closes;
use super::world::World;

/// What is said with a code.
fn reason(code: u32) -> CloseReason {
    match code {
        0 => CloseReason::ALL_WELL,
        code => CloseReason::new(code, "because"),
    }
}

impl World<'_> {
    pub(super) fn close(&mut self, node: usize, how: Closes) {
        let now = self.local(node);
        let it = &mut self.nodes[node];
        it.closing = true;
        it.said.push(how.code);
        it.link.handle_now(now);
        it.link.close_with(how.mode, reason(how.code));
        let (pair, end) = (it.pair, it.end);
        if how.mode == CloseMode::DrainBoth {
            return;
        }
        for (channel, its) in self.plan.channels.iter().enumerate() {
            if its.sender != end {
                self.nodes[node].inbox.readable[channel] = false;
                self.ledger.abandoned(pair, channel);
            }
        }
    }

    /// A link has ended: it knows what it has said itself, and nothing of its peer that nobody said.
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
        let whole = [ours, theirs].map(|said| *said == reason(said.code));
        if !own || !heard || whole != [true; 2] {
            let what = format!("{} says {ours} and hears {theirs}", self.name(node));
            self.ledger.object(what);
        }
    }

    /// Two links that closed one session have heard each other.
    pub(super) fn check_heard(&mut self) {
        let mut wrong = Vec::new();
        for (at, one) in self.nodes.iter().enumerate() {
            for other in &self.nodes[at + 1..] {
                let same = one.pair == other.pair
                    && one.end != other.end
                    && one.link.session() == other.link.session();
                let ends = [one, other].map(|node| match node.link.end_reason() {
                    Some(EndReason::Closed { ours, theirs, .. }) if !node.crashed => {
                        Some([ours, theirs])
                    }
                    _ => None,
                });
                if let (true, [Some(one), Some([ours, theirs])]) = (same, ends)
                    && one != [theirs, ours]
                {
                    wrong.push(format!(
                        "pair {}: {one:?} and {ours:?}, {theirs:?}",
                        other.pair
                    ));
                }
            }
        }
        for what in wrong {
            self.ledger.object(what);
        }
    }
}
