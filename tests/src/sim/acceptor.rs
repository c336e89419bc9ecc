//! The acceptor's listener: which link a connection belongs to.

use countersign_core::{Life, SessionId, TakeOver, Visit};

use super::plan::{ACCEPTOR, Closes, Plant};
use super::world::World;

impl World<'_> {
    /// A visitor's peer may have named a session: whoever has it takes the connection over.
    pub(super) fn route(&mut self, visitor: usize) {
        let now = self.local(visitor);
        let Some(visit) = self.nodes[visitor].link.visit() else {
            return;
        };
        let peer = self.nodes[visitor].link.peer();
        if self.plan.plant != Some(Plant::ForgetSessions) {
            let candidates: Vec<usize> = self.sessions.candidates(visit, peer).copied().collect();
            for holder in candidates {
                if self.take_over(holder, visitor) {
                    return;
                }
            }
        }
        self.check_none_left_behind(visitor);
        let gone = match visit {
            Visit::Returns(named) => {
                self.say(|| format!("{}: its session is not known", self.name(visitor)));
                self.sessions.gone(named, peer)
            }
            Visit::New => None,
        };
        self.nodes[visitor].link.admit(now, gone);
        self.touch(visitor, true);
    }

    fn take_over(&mut self, holder: usize, visitor: usize) -> bool {
        let now = self.local(visitor);
        let Ok([link, other]) = self.nodes.get_disjoint_mut([holder, visitor]) else {
            return false;
        };
        match link.link.take_over(now, &mut other.link) {
            TakeOver::Done => {}
            TakeOver::Stale => {
                self.touch(visitor, true);
                return true;
            }
            TakeOver::SessionOver => {
                self.end_for(holder, visitor);
                self.touch(visitor, true);
                self.touch(holder, false);
                return true;
            }
            TakeOver::NotMine => return false,
        }
        let Some(conn) = other.at.take() else {
            return false;
        };
        let before = link.at.replace(conn);
        let side = &mut self.conns[conn].sides[ACCEPTOR];
        side.endpoint.attach(link.link.connection());
        side.node = holder;
        self.say(|| format!("{} goes on with connection {conn}", self.name(holder)));
        if let Some(before) = before {
            self.release(before, ACCEPTOR);
        }
        self.touch(visitor, false);
        self.touch(holder, true);
        true
    }

    /// Keeps the acceptor's sessions in step with its links.
    pub(super) fn register(&mut self, node: usize) {
        if self.nodes[node].end != ACCEPTOR || self.nodes[node].crashed {
            return;
        }
        let link = &self.nodes[node].link;
        let (id, life, peer) = (link.session(), link.life(), link.peer());
        if id == SessionId::default() {
            return;
        }
        if self.nodes[node].session != id {
            self.nodes[node].session = id;
            self.nodes[node].began = self.now;
            self.sessions.add(id, peer, node);
            self.holders.insert(id, node);
            self.welcome(node);
        }
        match life {
            Life::Ended => {
                let gone = self.nodes[node].link.gone_session();
                self.sessions.remove(gone);
                self.nodes[node].away = false;
            }
            Life::Offline if !self.nodes[node].away => {
                self.nodes[node].away = true;
                let evicted = self.sessions.lost(id).copied();
                if let Some(evicted) = evicted {
                    self.evict(evicted);
                }
            }
            Life::Offline => {}
            _ if self.nodes[node].away => {
                self.nodes[node].away = false;
                self.sessions.resumed(id);
            }
            _ => {}
        }
    }

    fn evict(&mut self, node: usize) {
        let now = self.local(node);
        self.say(|| format!("{} is evicted", self.name(node)));
        self.summary.evicted += 1;
        self.nodes[node].link.evict(now);
        if self.nodes[node].link.life() != Life::Ended {
            self.ledger.object("an evicted link goes on");
        }
        self.touch(node, false);
    }

    /// An acceptor's link has a peer: from here on the application on this side speaks through it.
    fn welcome(&mut self, node: usize) {
        let pair = self.nodes[node].pair;
        let party = &mut self.parties[pair][ACCEPTOR];
        party.node = Some(node);
        party.up.get_or_insert(self.now);
        self.pump_all(node);
        if self.finale && self.plan.closers[ACCEPTOR] {
            self.close(node, Closes::DONE);
        }
    }
}
