//! What may happen next, and what it does.

use countersign_core::{
    Bytes, ChannelId, CloseMode, Disconnect, Incoming, Instant, Link, LinkState, Output, Protocol,
    ReceiveError,
};

use super::account::{Fate, Property};
use super::ends::said_by;
use super::world::{Chunk, Conn, Notes, Tip, World, acceptor};
use super::{End, Setup, WHO};
use crate::mistakes;

/// One thing that may happen. Connections are counted in the order in which they were opened, among
/// those that have not wholly gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Move {
    /// The opener opens a connection.
    Connect,
    /// An application sends on a channel.
    Send(u8),
    /// An end writes one frame.
    Write(u8, End),
    /// This end receives the next piece of what is under way to it.
    Deliver(u8, End),
    /// An application takes a message from a channel; at the acceptor, from this link.
    Take(u8, u8),
    /// An application handles this message of a channel.
    Handle(u8, u8),
    /// An application handles this message of a channel, with a reply.
    Reply(u8, u8),
    /// An application rejects this message of a channel.
    Reject(u8, u8),
    /// A connection is cut, and this end learns of it.
    Cut(u8, End),
    /// This end learns that a connection was lost.
    HearLoss(u8, End),
    /// The acceptor forgets everything.
    Restart,
    /// The acceptor gives up this link, which waits for its peer.
    Evict(u8),
    /// It is late: messages have expired.
    Expire,
    /// An application closes the link.
    Close(End),
}

impl Move {
    /// Whether it happens at some time if it can. Everything else may never happen.
    pub(super) const fn is_owed(self) -> bool {
        match self {
            Self::Connect
            | Self::Write(..)
            | Self::Deliver(..)
            | Self::Take(..)
            | Self::Handle(..)
            | Self::Reply(..)
            | Self::Reject(..)
            | Self::HearLoss(..) => true,
            Self::Send(_)
            | Self::Cut(..)
            | Self::Restart
            | Self::Evict(_)
            | Self::Expire
            | Self::Close(_) => false,
        }
    }
}

fn as_u8(at: usize) -> u8 {
    u8::try_from(at).unwrap()
}

impl World {
    pub(super) fn moves(&self, setup: &Setup, moves: &mut Vec<Move>) {
        if self.account.broken.is_some() {
            return;
        }
        self.wire_moves(moves);
        self.application_moves(setup, moves);
        if self.opener.link().wants_connect() {
            moves.push(Move::Connect);
        }
        if self.cuts < setup.cuts {
            for (conn, end) in self.tips() {
                if self.fed(conn, end).is_some() {
                    moves.push(Move::Cut(as_u8(conn), end));
                }
            }
        }
        if self.account.sessions_lost < setup.losses {
            if !self.slots.is_empty() {
                moves.push(Move::Restart);
            }
            for slot in self.places(End::Acceptor) {
                let part = self.part(End::Acceptor, slot);
                if part.is_some_and(|part| part.link().state() == LinkState::Offline) {
                    moves.push(Move::Evict(slot));
                }
            }
        }
        let expires = setup.lanes.iter().any(|lane| lane.expires);
        if expires && !self.account.expired {
            moves.push(Move::Expire);
        }
        if self.account.closes < setup.closes {
            for end in End::BOTH {
                let slot = self.slot_of(end);
                if slot.is_some_and(|slot| !self.shut.contains(&(end, slot))) {
                    moves.push(Move::Close(end));
                }
            }
        }
    }

    /// The link that an end's application sends on, and closes.
    fn slot_of(&self, end: End) -> Option<u8> {
        match end {
            End::Opener => Some(0),
            End::Acceptor => self.sending_slot(),
        }
    }

    fn tips(&self) -> impl Iterator<Item = (usize, End)> {
        (0..self.conns.len()).flat_map(|conn| End::BOTH.map(|end| (conn, end)))
    }

    fn wire_moves(&self, moves: &mut Vec<Move>) {
        for (at, end) in self.tips() {
            let conn = &self.conns[at];
            if conn.tips[end.at()] == Tip::Gone {
                continue;
            }
            if !conn.pipes[end.at()].is_empty() {
                moves.push(Move::Deliver(as_u8(at), end));
            }
            let fed = self.fed(at, end).and_then(|slot| self.part(end, slot));
            if fed.is_some_and(|part| part.writes) {
                moves.push(Move::Write(as_u8(at), end));
            }
            let left = conn.tips[end.other().at()] == Tip::Gone;
            if left && (conn.cut || conn.pipes[end.at()].is_empty()) {
                moves.push(Move::HearLoss(as_u8(at), end));
            }
        }
    }

    fn application_moves(&self, setup: &Setup, moves: &mut Vec<Move>) {
        for (lane, settings) in (0..).zip(&setup.lanes) {
            let sent = self.account.receipts[usize::from(lane)].len();
            let slot = self.slot_of(settings.from);
            let takes = |slot| !self.shut.contains(&(settings.from, slot));
            if sent < usize::from(settings.messages) && slot.is_some_and(takes) {
                moves.push(Move::Send(lane));
            }
            let receiver = settings.from.other();
            for slot in self.places(receiver) {
                let part = self.part(receiver, slot);
                let channel = ChannelId(lane.into());
                let gives =
                    |link: &Link| link.waiting(channel) > 0 || link.border(channel).is_some();
                if part.is_some_and(|part| part.link().link().is_some_and(gives)) {
                    moves.push(Move::Take(lane, slot));
                }
            }
            for which in self.account.in_hand(lane) {
                moves.push(Move::Handle(lane, which));
                if settings.replies {
                    moves.push(Move::Reply(lane, which));
                }
                moves.push(Move::Reject(lane, which));
            }
        }
    }

    pub(super) fn make(&self, setup: &Setup, what: Move) -> Self {
        let mut next = self.clone();
        next.notes = Notes::default();
        match what {
            Move::Connect => next.connect(setup),
            Move::Send(lane) => next.send(setup, lane),
            Move::Write(conn, end) => next.write(setup, conn.into(), end),
            Move::Deliver(conn, end) => next.deliver(setup, conn.into(), end),
            Move::Take(lane, slot) => next.take(setup, lane, slot),
            Move::Handle(lane, which) => next.settle(setup, lane, which, Fate::Handled),
            Move::Reply(lane, which) => next.settle(setup, lane, which, Fate::Replied),
            Move::Reject(lane, which) => next.settle(setup, lane, which, Fate::Rejected),
            Move::Cut(conn, end) => {
                next.cuts += 1;
                next.lose(conn.into(), end);
            }
            Move::HearLoss(conn, end) => next.lose(conn.into(), end),
            Move::Restart => next.restart(setup),
            Move::Evict(slot) => {
                next.account.sessions_lost += 1;
                let now = next.now();
                next.with(End::Acceptor, slot, |link| link.evict(now));
            }
            Move::Expire => {
                next.account.expired = true;
                let now = next.now();
                for end in End::BOTH {
                    for slot in next.places(end) {
                        next.with_any(end, slot, |link| link.protocol_mut().handle_timeout(now));
                    }
                }
            }
            Move::Close(end) => {
                if let Some(slot) = next.slot_of(end) {
                    next.account.closes += 1;
                    next.shut.insert((end, slot));
                    if end == End::Acceptor {
                        next.closing.insert(slot);
                    }
                    let reason = said_by(end);
                    next.with(end, slot, |link| {
                        link.close_with(self.now(), CloseMode::DrainBoth, reason);
                    });
                }
            }
        }
        next.tidy(setup);
        next
    }

    fn connect(&mut self, setup: &Setup) {
        let single = setup.single.contains(&true);
        self.ticks += u64::from(single);
        let now = self.now();
        let number = self.with(End::Opener, 0, |link| {
            link.handle_opened(now).unwrap();
            link.handle_secured(now, Some(WHO)).unwrap();
            link.connection()
        });
        let number = number.unwrap_or(0);
        self.opened += 1;
        self.conns.push(Conn {
            number: self.opened,
            tips: [Tip::Of { slot: 0, number }, Tip::Unheard],
            pipes: Default::default(),
            cut: false,
        });
        // With TLS an acceptor knows of a connection before any greeting can arrive on it.
        if single {
            self.welcome(setup, self.conns.len() - 1);
        }
    }

    fn send(&mut self, setup: &Setup, lane: u8) {
        let settings = &setup.lanes[usize::from(lane)];
        let Some(slot) = self.slot_of(settings.from) else {
            return;
        };
        let payload = self.account.payload(lane, settings.length);
        let expires = settings.expires.then_some(super::TIMES[1]);
        let now = self.now();
        let sent = self.with(settings.from, slot, |link| {
            let sent = link.send(now, ChannelId(lane.into()), payload, expires);
            sent.map(|number| (number, link.session()))
        });
        match sent {
            Some(Ok((number, session))) => self.account.accept(lane, slot, number, session),
            // A link that closes says so, and everything else has room.
            _ => self.account.note_broken(Property::Settled),
        }
    }

    fn write(&mut self, setup: &Setup, conn: usize, end: End) {
        let now = self.now();
        let Some(slot) = self.fed(conn, end) else {
            return;
        };
        let mut buffer = vec![0; setup.buffer];
        let mut output = self.poll_output(end, slot, now, &mut buffer);
        if let Some(Output::TooSmall { needed }) = output {
            buffer.resize(needed, 0);
            output = self.poll_output(end, slot, now, &mut buffer);
        }
        let Some(Output::Written(written)) = output else {
            return self.account.note_broken(Property::NoStall);
        };
        buffer.truncate(written);
        let frame = Bytes::from(buffer);
        let is_message = frame[0] == 0x10;
        self.notes.continued |= is_message && frame[1] & 1 == 0;
        if setup.pieces && is_message {
            let (front, back) = (frame.slice(..written - 1), frame.slice(written - 1..));
            self.push(conn, end, Chunk::Data(front));
            self.push(conn, end, Chunk::Data(back));
        } else {
            self.push(conn, end, Chunk::Data(frame));
        }
    }

    pub(super) fn poll_output(
        &mut self,
        end: End,
        slot: u8,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Output> {
        self.with_any(end, slot, |link| link.protocol_mut().poll_output(now, out))
    }

    fn deliver(&mut self, setup: &Setup, conn: usize, end: End) {
        let now = self.now();
        let Some(chunk) = self.conns[conn].pipes[end.at()].pop_front() else {
            return;
        };
        if self.conns[conn].tips[end.at()] == Tip::Unheard {
            self.welcome(setup, conn);
        }
        let Some(slot) = self.fed(conn, end) else {
            return;
        };
        self.with_any(end, slot, |link| match chunk {
            Chunk::Data(data) => link.protocol_mut().handle_input(now, &data),
            Chunk::End => link.protocol_mut().handle_eof(now),
        });
        if end == End::Acceptor {
            self.route(conn, slot);
        }
    }

    /// The acceptor accepts a connection of which it knows nothing yet.
    fn welcome(&mut self, setup: &Setup, conn: usize) {
        let now = self.now();
        self.arrived += 1;
        let seed = [self.arrived; 16];
        let mut incoming = Incoming::new(&setup.config(End::Acceptor), seed).unwrap();
        mistakes::plant_incoming(&mut incoming, setup.planted);
        incoming.handle_opened(now).unwrap();
        incoming.handle_secured(now, Some(WHO)).unwrap();
        let number = incoming.connection();
        let slot = self.place(incoming.into());
        self.conns[conn].tips[End::Acceptor.at()] = Tip::Of { slot, number };
    }

    fn take(&mut self, setup: &Setup, lane: u8, slot: u8) {
        let receiver = setup.lanes[usize::from(lane)].from.other();
        let now = self.now();
        let taken = self.with(receiver, slot, |link| {
            link.take(now, ChannelId(lane.into()))
        });
        match taken {
            Some(Ok(Some(message))) => self.account.take(setup, lane, slot, &message),
            Some(Err(ReceiveError::SessionBorder(_))) => self.account.cross(setup, lane),
            // All that waited was late.
            Some(Ok(None)) if self.account.expired && setup.lanes[usize::from(lane)].expires => {}
            _ => self.account.note_broken(Property::Settled),
        }
    }

    fn settle(&mut self, setup: &Setup, lane: u8, which: u8, fate: Fate) {
        let receiver = setup.lanes[usize::from(lane)].from.other();
        let receipt = &self.account.receipts[usize::from(lane)][usize::from(which)];
        let Fate::InHand(slot, number) = receipt.fate else {
            return;
        };
        let channel = ChannelId(lane.into());
        let now = self.now();
        let done = self.with(receiver, slot, |link| match fate {
            Fate::Rejected => link.reject(now, channel, number, 1, ""),
            Fate::Replied => link.handle_with(now, channel, number, b"r"),
            _ => link.handle(now, channel, number),
        });
        let fate = match done {
            Some(Ok(())) => fate,
            Some(Err(ReceiveError::SessionLost)) => Fate::TooLate,
            _ => return self.account.note_broken(Property::Settled),
        };
        self.account.receipts[usize::from(lane)][usize::from(which)].fate = fate;
    }

    fn lose(&mut self, conn: usize, end: End) {
        let now = self.now();
        if let Some(slot) = self.fed(conn, end) {
            self.with_any(end, slot, |link| {
                link.protocol_mut().handle_lost(now, Disconnect::Transport);
            });
        }
        self.drop_conn(conn, end, false);
    }

    fn restart(&mut self, setup: &Setup) {
        self.account.sessions_lost += 1;
        for slot in self.places(End::Acceptor) {
            self.slots[usize::from(slot)] = None;
            self.account.forget(setup, slot, true);
            self.shut.remove(&(End::Acceptor, slot));
            self.reopen(slot);
        }
        self.acceptor = acceptor();
        for conn in 0..self.conns.len() {
            if matches!(self.conns[conn].tips[End::Acceptor.at()], Tip::Of { .. }) {
                self.drop_conn(conn, End::Acceptor, false);
            }
        }
    }

    /// Whether all is as it should be where nothing more happens by itself.
    pub(super) fn is_settled(&self) -> bool {
        let opener = self.opener.link();
        let up = |slot: u8| {
            let part = self.part(End::Acceptor, slot);
            part.is_some_and(|part| {
                part.link().state() == LinkState::Open && part.link().session() == opener.session()
            })
        };
        let links = self.places(End::Acceptor);
        let rests = match opener.state() {
            LinkState::Open => {
                let closed = self.account.closes > self.account.closes_void;
                !closed && links.len() == 1 && links.into_iter().all(up)
            }
            LinkState::Ended => (self.account.closes > 0 || self.account.over) && links.is_empty(),
            _ => false,
        };
        rests && self.account.is_settled()
    }
}
