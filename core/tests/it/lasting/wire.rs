//! What happens to connections, and what the frames on them mean to the models.

use countersign_core::{
    Acceptor, CloseReason, Disconnect, EndReason, LinkState, Protocol, SessionId, SessionLoss,
};

use super::connection::Connection;
use super::world::{ACCEPTOR, End, OPENER, World};
use crate::lasting::observer::{Greeted, Seen};

pub(super) fn id(session: &[u8]) -> SessionId {
    session.try_into().expect("sixteen bytes")
}

impl World<'_> {
    // Connections.

    pub(super) fn drop_everything(&mut self) {
        self.connections.iter_mut().for_each(Connection::die);
    }

    pub(super) fn lose(&mut self, at: usize, how: Disconnect) {
        if self.ends[at].connection.is_some() {
            let now = self.now;
            self.ends[at].link.handle_lost(now, how);
            self.note(at);
        }
    }

    pub(super) fn reconnect(&mut self) {
        self.drop_everything();
        self.lose(OPENER, Disconnect::Transport);
        self.lose(ACCEPTOR, Disconnect::Transport);
        self.connect();
        self.connect();
    }

    /// The opener's connection gets one step further.
    pub(super) fn connect(&mut self) {
        let opener = &self.ends[OPENER];
        if opener.is_over {
            return;
        }
        match opener.connection {
            None => self.open(),
            Some(connection) if !opener.is_secured => self.secure(connection),
            Some(_) => {}
        }
    }

    fn open(&mut self) {
        let (now, at) = (self.now, self.connections.len());
        self.connections.push(Connection::new(self.receivers.len()));
        let opener = &mut self.ends[OPENER];
        opener.link.handle_opened(now).expect("it has none");
        opener.connection = Some(at);
        opener.opened = now;
        self.note(OPENER);
        if self.case.listens {
            self.drop_incoming();
            let mut incoming = self.fresh_incoming();
            incoming.handle_opened(now).expect("offline");
            self.incoming = Some((incoming, at, false));
            return;
        }
        self.lose(ACCEPTOR, Disconnect::Transport);
        if self.ends[ACCEPTOR].is_over {
            self.retire_acceptor();
            let link = self.fresh(ACCEPTOR);
            self.begin_anew(ACCEPTOR, link);
        }
        let acceptor = &mut self.ends[ACCEPTOR];
        acceptor.link.handle_opened(now).expect("it has none");
        acceptor.connection = Some(at);
        acceptor.opened = now;
        self.note(ACCEPTOR);
    }

    fn secure(&mut self, connection: usize) {
        let (now, who) = (self.now, self.who());
        for end in &mut self.ends {
            if end.connection == Some(connection) && end.link.state() == LinkState::Securing {
                end.link.handle_secured(now, who).expect("securing");
                end.is_secured = true;
                end.heard = now;
            }
        }
        if let Some((incoming, at, is_secured)) = &mut self.incoming
            && *at == connection
            && incoming.state() == LinkState::Securing
        {
            incoming.handle_secured(now, who).expect("securing");
            *is_secured = true;
        }
    }

    pub(super) fn restart(&mut self, at: usize) {
        if let Some(connection) = self.ends[at].connection {
            self.connections[connection].gone[at] = true;
        }
        if at == ACCEPTOR {
            self.drop_incoming();
            (self.acceptor, self.place) = (Acceptor::default(), None);
            self.gone.clear();
        }
        let link = self.fresh(at);
        self.begin_anew(at, link);
    }

    /// No peer will return to the acceptor's link.
    pub(super) fn retire_acceptor(&mut self) {
        let now = self.now;
        if !self.ends[ACCEPTOR].is_over {
            self.ends[ACCEPTOR].was_dropped = true;
            self.ends[ACCEPTOR]
                .link
                .handle_lost(now, Disconnect::Abandoned);
            self.note(ACCEPTOR);
        }
        self.poll_events(ACCEPTOR);
        self.check_report(ACCEPTOR);
    }

    // Reading.

    /// Moves bytes from one end to the other; true when something moved.
    pub(super) fn carry(&mut self, from: usize, bytes: usize, piece: usize) -> bool {
        let to = 1 - from;
        let mut moved = false;
        // An old connection may still bring something, but need not.
        if let (Some(connection), false) = (self.ends[to].connection, bytes % 5 == 4) {
            moved |= self.carry_to_end(to, connection, bytes, piece);
        }
        if let (ACCEPTOR, Some((_, connection, true))) = (to, &self.incoming) {
            moved |= self.carry_to_incoming(*connection, bytes, piece);
        }
        moved
    }

    fn carry_to_end(&mut self, to: usize, connection: usize, bytes: usize, piece: usize) -> bool {
        let from = 1 - to;
        if !self.ends[to].is_secured && !self.connections[connection].pipes[from].is_empty() {
            return false;
        }
        let pipe = &mut self.connections[connection].pipes[from];
        let count = bytes.min(pipe.len());
        let taken: Vec<u8> = pipe.drain(..count).collect();
        for piece in taken.chunks(self.case.pair.piece(piece)) {
            if self.ends[to].connection == Some(connection) {
                self.arrive(to, connection, piece);
            }
        }
        let has = self.ends[to].connection == Some(connection);
        if bytes > 0 && has && self.connections[connection].owes_eof(to) {
            self.connections[connection].eof_told[to] = true;
            let now = self.now;
            self.ends[to].link.handle_eof(now);
            self.note(to);
            return true;
        }
        count > 0
    }

    fn arrive(&mut self, at: usize, connection: usize, bytes: &[u8]) {
        let now = self.now;
        let state = self.ends[at].link.state();
        if matches!(
            state,
            LinkState::Greeting | LinkState::Open | LinkState::Closing
        ) {
            self.ends[at].heard = now;
            for seen in self.connections[connection].inp[at].feed(bytes) {
                self.observe(at, connection, &seen);
            }
        }
        self.ends[at].link.handle_input(now, bytes);
        self.note(at);
    }

    /// An end has dropped a connection: what it has of a cut frame counts.
    pub(super) fn lose_parts(&mut self, at: usize, connection: usize) {
        let connection = &mut self.connections[connection];
        connection.gone[at] = true;
        let cut = connection.inp[at].unfinished();
        if let Some((channel, _, length)) = cut {
            self.receivers[channel].lose_connection(Some(length));
        }
    }

    // What arrives.

    fn observe(&mut self, at: usize, connection: usize, seen: &Seen) {
        let now = self.now;
        match seen {
            Seen::Greeting(greeted) if at == OPENER => self.hear_welcome(connection, greeted),
            Seen::Greeting(greeted) => self.hear_hello(connection, greeted),
            Seen::Close((code, text, again), _) => {
                let end = &mut self.ends[at];
                if end.heard_said.is_all_well() {
                    end.heard_said = CloseReason {
                        code: u32::try_from(*code).expect("four bytes"),
                        text: text.clone(),
                        again: *again,
                    };
                }
                if !end.is_closing {
                    end.is_closing = true;
                    end.closing_since = now;
                    end.owes.insert("peer closing");
                    self.withdraw(at);
                }
            }
            Seen::Ack { channel, .. } | Seen::Reject { channel, .. } => {
                self.sender(*channel).answered(seen);
            }
            Seen::Data {
                channel,
                first,
                last,
                length,
                ..
            } => {
                let (channel, from) = (*channel, &self.connections[connection]);
                assert_eq!(self.case.pair.channels[channel].sender, 1 - at);
                let receiver = &mut self.receivers[channel];
                let origin = |number| from.origin(channel, number);
                let refused = receiver.arrive((*first, *last), *length, origin);
                if *last {
                    let came = from.origin(channel, receiver.figures()[1]);
                    let earlier = self.came.insert((channel, came), from.session);
                    assert!(earlier.is_none(), "{came:?} came twice");
                }
                if let Some((origin, verdict)) = refused {
                    self.decide(channel, origin, verdict);
                }
            }
            Seen::Skip { channel, through } => self.receivers[*channel].skip(*through),
            Seen::Noted { channel, sequence } => self.receivers[*channel].noted(*sequence),
            _ => {}
        }
    }

    fn hear_welcome(&mut self, connection: usize, welcome: &Greeted) {
        let named = self.connections[connection].named;
        match welcome.outcome {
            1 => {
                assert_eq!(named, Some(id(&welcome.session)));
                self.resume(OPENER, connection, welcome);
            }
            0 => {
                assert_eq!(named, None);
                self.begin_session(OPENER, welcome);
            }
            _ => {
                assert!(named.is_some_and(|named| named != id(&welcome.session)));
                for channel in self.sending(OPENER) {
                    let handled = welcome.channels[channel].figures[0];
                    let known = (handled != u64::MAX).then_some(handled);
                    self.sender(channel).lose(known);
                }
                let why = match welcome.outcome {
                    2 => SessionLoss::NotKnown,
                    _ => SessionLoss::TooOld,
                };
                self.lose_session(OPENER, why);
                self.begin_session(OPENER, welcome);
            }
        }
    }

    /// The acceptor's only link gets the HELLO of any peer.
    fn hear_hello(&mut self, connection: usize, hello: &Greeted) {
        let own = self.ends[ACCEPTOR].session;
        if own == id(&hello.session) && own != [0; 16] {
            return self.resume(ACCEPTOR, connection, hello);
        }
        if self.ends_for_newcomers() {
            return self.end_anew();
        }
        if own != [0; 16] {
            for channel in self.sending(ACCEPTOR) {
                self.sender(channel).lose(None);
            }
            self.lose_session(ACCEPTOR, SessionLoss::StartedAnew);
        }
        let named = id(&hello.session) != [0; 16];
        self.connections[connection].outcome = if named { 2 } else { 0 };
        self.begin_session(ACCEPTOR, hello);
    }

    fn lose_session(&mut self, at: usize, why: SessionLoss) {
        let ends = at == OPENER && self.ends_with_session(why);
        let is_closed = self.ends[at].ever_done;
        for channel in self.receiving(at) {
            // If the session is closed as it begins, none of its messages are taken.
            if ends || is_closed {
                self.receivers[channel].end_stream();
            } else {
                self.receivers[channel].start_over(Some(why));
            }
        }
        self.ends[at].named = None;
    }

    pub(super) fn begin_session(&mut self, at: usize, greeted: &Greeted) {
        for channel in self.sending(at) {
            let max = greeted.channels[channel].max_message;
            let now = self.now;
            let sender = self.sender(channel);
            sender.agree(max);
            // What is not begun again may be late.
            sender.expire(now);
        }
    }

    pub(super) fn resume(&mut self, at: usize, connection: usize, greeted: &Greeted) {
        if at == ACCEPTOR {
            self.connections[connection].outcome = 1;
        }
        for channel in self.sending(at) {
            let figures = greeted.channels[channel].figures;
            self.sender(channel).resume(figures);
        }
        self.begin_session(at, greeted);
    }

    // What goes out.

    pub(super) fn wrote(&mut self, at: usize, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        let connection = self.ends[at].connection.expect("output without one");
        self.log.bytes[at].extend_from_slice(bytes);
        self.connections[connection].write(at, bytes);
        for seen in self.connections[connection].out[at].feed(bytes) {
            self.check_written(at, connection, &seen);
        }
        // A greeting may be longer than a frame limit that is not agreed on yet.
        let greeting = 8 + 34 + self.receivers.len() * 50;
        let limits = self.case.pair.frame_limits;
        let most = limits[0].min(limits[1]).max(greeting);
        assert!(self.connections[connection].out[at].longest <= most);
    }

    fn check_written(&mut self, at: usize, connection: usize, seen: &Seen) {
        let now = self.now;
        match seen {
            Seen::Complaint => {
                let refuses = at == ACCEPTOR && self.ends[at].over.is_some();
                assert!(refuses, "an honest end complains: {:?}", self.reason(at));
                self.connections[connection].is_refused = true;
            }
            Seen::Data { channel, .. } => {
                assert_eq!(self.sends(*channel), at);
                let incarnation = self.senders[*channel].len() - 1;
                let sender = self.sender(*channel);
                sender.written(now, seen);
                let origin = (incarnation, sender.base);
                let known = &mut self.connections[connection].origins[*channel];
                assert_eq!(*known.get_or_insert(origin), origin);
            }
            Seen::Skip { channel, through } => self.sender(*channel).skipped(*through),
            Seen::Ack { channel, through } => {
                assert_eq!(*through, self.receivers[*channel].settled());
            }
            Seen::Reject {
                channel,
                sequence,
                code,
                reason,
            } => self.receivers[*channel].check_rejection(*sequence, *code, reason),
            Seen::Greeting(greeted) => self.check_greeting(at, connection, greeted),
            Seen::Close((code, text, again), list) => {
                let end = &mut self.ends[at];
                assert_eq!(end.named.get_or_insert_with(|| list.clone()), list);
                let said = &end.said;
                assert_eq!(
                    (u64::from(said.code), &said.text, &said.again),
                    (*code, text, again)
                );
            }
            Seen::Done => self.ends[at].ever_done = true,
            _ => {}
        }
    }

    fn check_greeting(&mut self, at: usize, connection: usize, said: &Greeted) {
        let session = id(&said.session);
        let own = self.ends[at].link.session();
        assert_eq!(session, own);
        let connection = &mut self.connections[connection];
        let outcome = if at == OPENER {
            assert_eq!(said.outcome, 0);
            connection.named = (own != [0; 16]).then_some(own);
            u8::from(connection.named.is_some())
        } else {
            assert_eq!(said.outcome, connection.outcome);
            let known = self.held.iter().position(|held| *held == session);
            connection.session = known.unwrap_or_else(|| {
                self.held.push(session);
                self.held.len() - 1
            });
            connection.outcome
        };
        let gone = connection.named.and_then(|named| self.gone.get(&named));
        for (channel, entry) in said.channels.iter().enumerate() {
            assert_eq!(entry.receives, self.sends(channel) != at);
            let expected = match outcome {
                1 if entry.receives => self.receivers[channel].figures(),
                2 if entry.receives => [u64::MAX, 0, 0],
                3 if entry.receives => [gone.expect("it was known")[channel], 0, 0],
                _ => [0; 3],
            };
            assert_eq!(entry.figures, expected, "channel {channel}");
        }
    }

    pub(super) fn reason(&self, at: usize) -> Option<&EndReason> {
        let End { link, .. } = &self.ends[at];
        link.end_reason()
    }
}
