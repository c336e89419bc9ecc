//! What a caller of the core does for its links without being asked: routing, time, events.

use countersign_core::{EndReason, Event, Life, Loss, Output, TakeOver, Visit};

use super::account::{Property, Source};
use super::ends::is_turned_away;
use super::world::{Chunk, Tip, World};
use super::{End, Setup, WHO};

fn part_lost(world: &World, slot: u8) -> bool {
    let part = world.part(End::Acceptor, slot);
    let reason = part.and_then(|part| part.link().end_reason());
    match reason {
        Some(EndReason::Lost(loss)) => *loss != Loss::Abandoned,
        Some(EndReason::SessionLost(_)) => true,
        _ => false,
    }
}

impl World {
    /// Does for every link what needs no decision, until nothing is left.
    pub(super) fn tidy(&mut self, setup: &Setup) {
        for end in End::BOTH {
            for slot in self.places(end) {
                if !self.is_changed(end, slot) {
                    continue;
                }
                self.tell_time(end, slot);
                self.pass_events(setup, end, slot);
                self.look_for_output(end, slot);
                // The end of a connection can be news.
                self.tell_time(end, slot);
                self.pass_events(setup, end, slot);
            }
        }
        self.drop_fenced();
        self.bury(setup);
        self.conns.retain(|conn| conn.tips != [Tip::Gone; 2]);
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        self.conclude();
    }

    /// What is due is done at once.
    fn tell_time(&mut self, end: End, slot: u8) {
        let now = self.now();
        let is_due = |world: &Self| {
            let part = world.part(end, slot);
            let deadline = part.and_then(|part| part.link().poll_deadline());
            deadline.is_some_and(|deadline| deadline <= now)
        };
        // A deadline that stays due would keep its caller busy for ever.
        for _ in 0..4 {
            if !is_due(self) {
                return;
            }
            self.with(end, slot, |link| link.handle_timeout(now));
        }
        self.account.accuse(Property::NoStall);
    }

    fn pass_events(&mut self, setup: &Setup, end: End, slot: u8) {
        let ghost =
            end == End::Acceptor && (self.is_ghost(slot) || self.is_left_behind(setup, slot));
        let mut events = Vec::new();
        self.with(end, slot, |link| {
            while let Some(event) = link.poll_event() {
                events.push(event);
            }
        });
        let Some(part) = self.part(end, slot) else {
            return;
        };
        let link = part.link();
        let (id, peer) = (link.session(), link.peer());
        let lost = matches!(link.end_reason(), Some(EndReason::Lost(_)));
        let gone = (link.life() == Life::Ended).then(|| link.gone_session());
        let turned_away = is_turned_away(link);
        let source = Source {
            end,
            slot,
            ghost,
            turned_away,
        };
        for event in events {
            self.account.hear(setup, source, &event);
            if end == End::Opener {
                self.hear_session(setup, id, &event);
            }
            if matches!(event, Event::PeerClosing | Event::Ended) {
                self.shut.insert((end, slot));
            }
            match event {
                Event::Connected if end == End::Acceptor => self.sessions.add(id, peer, slot),
                Event::Lost(_) if end == End::Acceptor => {
                    let evicted = self.sessions.lost(id);
                    debug_assert_eq!(evicted, None, "there is room for all");
                }
                Event::Resumed if end == End::Acceptor => self.sessions.resumed(id),
                Event::Ended if end == End::Opener && lost => {
                    self.account.accuse(Property::SessionKept);
                }
                Event::Ended if end == End::Acceptor => {
                    self.sessions.remove(gone.clone().unwrap());
                }
                _ => {}
            }
        }
        self.check_end(setup, end, slot);
    }

    /// Finds out whether a link has something to write, and ends its direction of the connection
    /// where it has said its last word.
    fn look_for_output(&mut self, end: End, slot: u8) {
        let now = self.now();
        let Some(part) = self.part(end, slot) else {
            return;
        };
        let said = part.link().wants_output();
        let conns: Vec<usize> = self.conns_of(end, slot).collect();
        if conns.is_empty() {
            return self.set_writes(end, slot, false);
        }
        let output = self.with(end, slot, |link| link.poll_output(now, &mut []));
        let writes = matches!(output, Some(Output::TooSmall { .. }));
        if writes && !said {
            self.account.accuse(Property::NoStall);
        }
        self.set_writes(end, slot, writes);
        let wanted = self
            .part(end, slot)
            .is_some_and(|part| part.link().wants_connection());
        for conn in conns {
            let pipe = &mut self.conns[conn].pipes[end.other().at()];
            let ended = pipe.back() == Some(&Chunk::End);
            if output == Some(Output::End) && !ended {
                self.push(conn, end, Chunk::End);
            }
            if !wanted {
                self.let_go(conn, end, true);
            }
        }
    }

    /// Puts something on its way, if anybody is there to hear it.
    pub(super) fn push(&mut self, conn: usize, from: End, chunk: Chunk) {
        let conn = &mut self.conns[conn];
        if conn.tips[from.other().at()] != Tip::Gone {
            conn.pipes[from.other().at()].push_back(chunk);
        }
    }

    /// Whoever drives a connection that was fenced off drops it.
    fn drop_fenced(&mut self) {
        for conn in 0..self.conns.len() {
            for end in End::BOTH {
                let belongs = matches!(self.conns[conn].tips[end.at()], Tip::Of { .. });
                if belongs && self.fed(conn, end).is_none() {
                    self.notes.fenced |= !self.conns[conn].pipes[end.at()].is_empty();
                    self.let_go(conn, end, false);
                }
            }
        }
    }

    /// Takes links away that are over, and those that wait for nobody.
    fn bury(&mut self, setup: &Setup) {
        for slot in self.places(End::Acceptor) {
            let Some(part) = self.part(End::Acceptor, slot) else {
                continue;
            };
            let alone = self.conns_of(End::Acceptor, slot).next().is_none();
            if alone && part.link().life() == Life::Offline && self.is_ghost(slot) {
                self.much_later(End::Acceptor, slot);
                self.pass_events(setup, End::Acceptor, slot);
            }
            let over = self
                .part(End::Acceptor, slot)
                .is_some_and(|part| part.link().life() == Life::Ended);
            if alone && over {
                let lost = part_lost(self, slot);
                self.slots[usize::from(slot)] = None;
                self.account.forget(setup, slot, false);
                self.shut.remove(&(End::Acceptor, slot));
                if lost {
                    self.reopen(slot);
                }
                self.closing.remove(&slot);
            }
        }
    }

    /// A link of the acceptor is gone without being closed in order. A close of it that was asked
    /// for was of no other link, and what comes next is open.
    pub(super) fn reopen(&mut self, slot: u8) {
        self.account.closes_void += u8::from(self.closing.remove(&slot));
    }

    /// A visitor waits to be admitted: finds the link that has the session that it names.
    pub(super) fn route(&mut self, conn: usize, visitor: u8) {
        let now = self.now();
        let visit = |world: &Self| world.part(End::Acceptor, visitor)?.link().visit();
        let Some(visit) = visit(self) else {
            return;
        };
        let candidates = self.sessions.candidates(visit, Some(WHO)).copied();
        let candidates: Vec<u8> = candidates.collect();
        for owner in candidates {
            if self.part(End::Acceptor, owner).is_none() {
                continue;
            }
            let Some(part) = self.part(End::Acceptor, visitor) else {
                return;
            };
            let mut guest = part.link().clone();
            let took = self.with(End::Acceptor, owner, |link| link.take_over(now, &mut guest));
            self.with(End::Acceptor, visitor, |link| *link = guest);
            if matches!(took, Some(TakeOver::Stale | TakeOver::SessionOver)) {
                return;
            }
            if took == Some(TakeOver::Done) {
                let number = self
                    .part(End::Acceptor, owner)
                    .map(|part| part.link().connection());
                let number = number.unwrap_or(0);
                self.conns[conn].tips[End::Acceptor.at()] = Tip::Of {
                    slot: owner,
                    number,
                };
                return;
            }
        }
        let gone = match visit {
            Visit::Returns(id) => self.sessions.gone(id, Some(WHO)).cloned(),
            Visit::New => None,
        };
        self.with(End::Acceptor, visitor, |link| {
            link.admit(now, gone.as_ref());
        });
    }
}
