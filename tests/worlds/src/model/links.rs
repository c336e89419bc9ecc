//! What a caller of the core does for its links without being asked: routing, time, events.

use countersign_core::{EndReason, Event, Link, LinkState, Loss, Output, Route, TakeOver};

use super::account::{Property, Source};
use super::ends::is_turned_away;
use super::world::{Chunk, Tip, World};
use super::{End, Setup};

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
            let deadline = part.and_then(|part| part.link().protocol().poll_deadline());
            deadline.is_some_and(|deadline| deadline <= now)
        };
        // A deadline that stays due would keep its caller busy for ever.
        for _ in 0..4 {
            if !is_due(self) {
                return;
            }
            self.with_any(end, slot, |link| link.protocol_mut().handle_timeout(now));
        }
        self.account.note_broken(Property::NoStall);
    }

    fn pass_events(&mut self, setup: &Setup, end: End, slot: u8) {
        let ghost =
            end == End::Acceptor && (self.is_ghost(slot) || self.is_left_behind(setup, slot));
        let mut events = Vec::new();
        while let Some(Some(event)) = self.with(end, slot, Link::poll_event) {
            if end == End::Acceptor {
                self.follow(slot, &event);
            }
            events.push(event);
        }
        let Some(part) = self.part(end, slot) else {
            return;
        };
        let link = part.link();
        let id = link.session();
        let lost = matches!(link.end_reason(), Some(EndReason::Lost(_)));
        let turned_away = is_turned_away(link);
        let source = Source {
            end,
            slot,
            ghost,
            turned_away,
        };
        for event in events {
            self.account.on_event(setup, source, &event);
            if end == End::Opener {
                self.on_session(setup, id, &event);
            }
            if matches!(event, Event::PeerClosing | Event::Ended) {
                self.shut.insert((end, slot));
            }
            if event == Event::Ended && end == End::Opener && lost {
                self.account.note_broken(Property::SessionKept);
            }
        }
        self.check_end(setup, end, slot);
    }

    /// The acceptor follows what its links tell.
    fn follow(&mut self, slot: u8, event: &Event) {
        let part = self.slots[usize::from(slot)].as_ref();
        if let Some(link) = part.and_then(|part| part.link().link()) {
            let consequence = self.acceptor.follow(link, event, || slot);
            debug_assert_eq!(consequence, None, "there is room for all");
        }
    }

    /// Finds out whether a link has something to write, and ends its direction of the connection
    /// where it has said its last word.
    fn look_for_output(&mut self, end: End, slot: u8) {
        let now = self.now();
        let Some(part) = self.part(end, slot) else {
            return;
        };
        let said = part.link().protocol().wants_output();
        let conns: Vec<usize> = self.conns_of(end, slot).collect();
        if conns.is_empty() {
            return self.set_writes(end, slot, false);
        }
        let output = self.poll_output(end, slot, now, &mut []);
        let writes = matches!(output, Some(Output::TooSmall { .. }));
        if writes && !said {
            self.account.note_broken(Property::NoStall);
        }
        self.set_writes(end, slot, writes);
        let wanted = self
            .part(end, slot)
            .is_some_and(|part| part.link().protocol().wants_connection());
        for conn in conns {
            let pipe = &mut self.conns[conn].pipes[end.other().at()];
            let ended = pipe.back() == Some(&Chunk::End);
            if output == Some(Output::End) && !ended {
                self.push(conn, end, Chunk::End);
            }
            if !wanted {
                self.drop_conn(conn, end, true);
            }
        }
    }

    /// Puts something on its way, if the other end still has the connection.
    pub(super) fn push(&mut self, conn: usize, from: End, chunk: Chunk) {
        let conn = &mut self.conns[conn];
        if conn.tips[from.other().at()] != Tip::Gone {
            conn.pipes[from.other().at()].push_back(chunk);
        }
    }

    /// The driver of a connection that was fenced off drops it.
    fn drop_fenced(&mut self) {
        for conn in 0..self.conns.len() {
            for end in End::BOTH {
                let belongs = matches!(self.conns[conn].tips[end.at()], Tip::Of { .. });
                if belongs && self.fed(conn, end).is_none() {
                    self.notes.fenced |= !self.conns[conn].pipes[end.at()].is_empty();
                    self.drop_conn(conn, end, false);
                }
            }
        }
    }

    /// Removes links that are over, and those that no peer will return to.
    fn bury(&mut self, setup: &Setup) {
        for slot in self.places(End::Acceptor) {
            let Some(part) = self.part(End::Acceptor, slot) else {
                continue;
            };
            let alone = self.conns_of(End::Acceptor, slot).next().is_none();
            if alone && part.link().state() == LinkState::Offline && self.is_ghost(slot) {
                self.much_later(End::Acceptor, slot);
                self.pass_events(setup, End::Acceptor, slot);
            }
            let over = self
                .part(End::Acceptor, slot)
                .is_some_and(|part| part.link().state() == LinkState::Ended);
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

    /// An incoming connection's peer may have sent its request: finds the link that it belongs to.
    pub(super) fn route(&mut self, conn: usize, slot: u8) {
        let now = self.now();
        loop {
            let acceptor = &mut self.acceptor;
            let part = self.slots[usize::from(slot)].as_mut();
            let routed = part.and_then(|part| part.route(acceptor));
            match routed {
                Some(Route::Resume(owner)) => match self.take_over(owner, slot) {
                    Some(TakeOver::Done) => {
                        let part = self.part(End::Acceptor, owner);
                        let number = part.map(|part| part.link().protocol().connection());
                        let (slot, number) = (owner, number.unwrap_or(0));
                        self.conns[conn].tips[End::Acceptor.at()] = Tip::Of { slot, number };
                        return;
                    }
                    Some(TakeOver::Stale | TakeOver::SessionOver) => return,
                    Some(TakeOver::NotMine) | None => {}
                },
                Some(Route::New(place)) => {
                    // How many links there may be is not what is searched for here.
                    self.acceptor.release(place);
                    self.with_any(End::Acceptor, slot, |link| link.accept(now));
                    return;
                }
                Some(Route::Refuse(_)) => return self.account.note_broken(Property::Settled),
                Some(Route::Wait) | None => return,
            }
        }
    }

    fn take_over(&mut self, owner: u8, slot: u8) -> Option<TakeOver> {
        let now = self.now();
        let mut arrived = self.part(End::Acceptor, slot)?.link().clone();
        let incoming = arrived.incoming_mut()?;
        let took = self.with(End::Acceptor, owner, |link| link.take_over(now, incoming))?;
        self.with_any(End::Acceptor, slot, |link| *link = arrived);
        Some(took)
    }
}
