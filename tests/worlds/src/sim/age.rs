//! What links know of each other's clocks, and whether it is true.

use super::plan::{ACCEPTOR, OPENER, host};
use super::world::World;

/// The most by which two clocks may drift apart, for what is said of late messages: a thousandth.
const DRIFT: u64 = 1000;
/// Roundings, in microseconds.
const ROUNDINGS: u64 = 20;

impl World<'_> {
    /// What this link knows of its peer's clock must be true, where neither clock is further wrong
    /// than links allow for.
    pub(super) fn check_clock(&mut self, node: usize) {
        let Some(link) = self.nodes[node].link.link() else {
            return;
        };
        let status = link.status(self.local(node));
        // What has only come in part, as a record of TLS may, tells the link nothing, not even the time.
        let heard = std::mem::replace(&mut self.nodes[node].heard, status.bytes_received);
        let Some(clock) = status.clock.filter(|_| status.bytes_received > heard) else {
            return;
        };
        let vague = u64::try_from(clock.uncertainty().as_micros()).unwrap_or(u64::MAX);
        self.nodes[node].vague = self.nodes[node].vague.max(vague);
        let pair = self.nodes[node].pair;
        let hosts = [OPENER, ACCEPTOR].map(|end| host(pair, end));
        let honest = hosts.iter().all(|host| self.plan.clocks[*host].is_honest());
        if !honest || self.plan.unchecked_clocks {
            return;
        }
        let shown = [OPENER, ACCEPTOR].map(|end| self.plan.clocks[hosts[end]].at(self.now));
        let end = self.nodes[node].end;
        let truth = shown[end]
            .as_micros()
            .wrapping_sub(shown[1 - end].as_micros());
        let truth = truth.cast_signed();
        if !(clock.at_least..=clock.at_most).contains(&truth) {
            let name = self.name(node);
            self.ledger.object(format!(
                "{name} takes its clock to be ahead by {clock:?}, and it is by {truth}"
            ));
        }
    }

    /// By how much a message may be late, because a clock has jumped: the sender's forward.
    pub(super) fn deceived_by(&self, pair: usize, sender: usize) -> u64 {
        self.plan.clocks[host(pair, sender)]
            .jump
            .map_or(0, |(_, by)| by)
    }

    /// Whether links can know how old messages of a pair are.
    pub(super) fn knows_ages(&self, pair: usize) -> bool {
        [0, pair + 1].iter().all(|host| {
            let clock = self.plan.clocks[*host];
            clock
                .fast
                .iter()
                .all(|fast| fast.abs() <= super::clock::HONEST)
        })
    }

    /// Whether the receiver of a message that is due later has dropped one at a moment at which it
    /// could take this one for late.
    pub(super) fn may_have_dropped(&self, pair: usize, sender: usize, due: u64, life: u64) -> bool {
        let receivers = self
            .nodes
            .iter()
            .filter(|node| node.pair == pair && node.end != sender);
        receivers.clone().any(|node| {
            // What is not known of the clock, and the drift over the life of the message.
            let bound = node.vague + 2 * life / DRIFT + ROUNDINGS;
            node.drops.iter().any(|at| due <= at + bound)
        })
    }
}
