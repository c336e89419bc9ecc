//! The acceptor's listener: which link a connection belongs to.

use countersign_core::{Consequence, Event, LinkPermit, LinkState, Request, Route, TakeOver};

use super::plan::{ACCEPTOR, Closes, Plant};
use super::world::World;

impl World<'_> {
    /// An incoming connection's peer may have sent its request.
    pub(super) fn route(&mut self, node: usize) {
        let forgets = self.plan.plant == Some(Plant::ForgetSessions);
        while let Some(incoming) = self.nodes[node].link.incoming_mut() {
            match self.acceptor.route(incoming) {
                Route::Wait => return,
                Route::Resume(holder) => {
                    if !forgets && self.take_over(holder, node) {
                        return;
                    }
                }
                Route::New(place) => return self.accept(node, place),
                Route::Refuse(refusal) => {
                    self.ledger.object(format!("there is room, but {refusal}"));
                    return;
                }
            }
        }
    }

    /// It becomes a link.
    fn accept(&mut self, node: usize, mut place: LinkPermit) {
        let now = self.local(node);
        self.check_none_left_behind(node);
        if let Some(Request::Resume(_)) = self.nodes[node].link.request() {
            self.say(|| format!("{}: its session is not known", self.name(node)));
        }
        self.acceptor.accepted(&mut place);
        if self.nodes[node].link.accept(now) {
            self.nodes[node].place = Some(place);
        } else {
            self.acceptor.release(place);
        }
        self.touch(node, true);
    }

    /// Whether a link goes on with an incoming connection, or has anything to say to it.
    fn take_over(&mut self, holder: usize, node: usize) -> bool {
        let now = self.local(node);
        let Ok([link, other]) = self.nodes.get_disjoint_mut([holder, node]) else {
            return false;
        };
        let (Some(held), Some(incoming)) = (link.link.link_mut(), other.link.incoming_mut()) else {
            return false;
        };
        match held.take_over(now, incoming) {
            TakeOver::Done => {}
            TakeOver::Stale => {
                self.touch(node, true);
                return true;
            }
            TakeOver::SessionOver => {
                self.end_for(holder, node);
                self.touch(node, true);
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
        side.endpoint.attach(held.connection());
        side.node = holder;
        self.say(|| format!("{} goes on with connection {conn}", self.name(holder)));
        if let Some(before) = before {
            self.release(before, ACCEPTOR);
        }
        self.touch(node, false);
        self.touch(holder, true);
        true
    }

    /// The acceptor follows the events of its links. Returns which link is to be evicted for that.
    pub(super) fn follow(&mut self, node: usize, event: &Event) -> Option<usize> {
        let it = &mut self.nodes[node];
        let link = it.link.link().filter(|_| it.end == ACCEPTOR)?;
        let consequence = self.acceptor.follow(link, event, || node);
        match event {
            Event::Connected => {
                let id = link.session();
                it.session = id;
                it.began = self.now;
                self.holders.insert(id, node);
                self.welcome(node);
            }
            Event::Lost(_) => it.away = link.state() == LinkState::Offline,
            Event::Resumed => it.away = false,
            Event::Ended => {
                it.away = false;
                if let Some(place) = it.place.take() {
                    self.acceptor.release(place);
                }
            }
            _ => {}
        }
        match consequence? {
            Consequence::Evict(evicted) => Some(evicted),
            Consequence::Close => {
                self.ledger.object("a link is to end at once");
                None
            }
        }
    }

    pub(super) fn evict(&mut self, node: usize) {
        let now = self.local(node);
        self.say(|| format!("{} is evicted", self.name(node)));
        self.summary.evicted += 1;
        if let Some(link) = self.nodes[node].link.link_mut() {
            link.evict(now);
        }
        if self.nodes[node].link.state() != LinkState::Ended {
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
