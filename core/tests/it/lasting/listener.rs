//! An acceptor that makes something of each connection: it goes to the link that it belongs to, or
//! becomes one.

use countersign_core::{
    EndReason, Event, Incoming, Link, LinkPermit, LinkState, Protocol, Request, Route, TakeOver,
};

use super::receiver::Receiver;
use super::wire::id;
use super::world::{ACCEPTOR, OPENER, World};
use crate::lasting::observer::{Greeted, Seen};

impl World<'_> {
    /// A connection that the listener accepts.
    pub(super) fn fresh_incoming(&mut self) -> Incoming {
        self.seeds += 1;
        let seed = u128::from(self.seeds).to_le_bytes();
        let incoming = Incoming::new(&self.case.config(ACCEPTOR), seed);
        let incoming = incoming.expect("a sound declaration");
        #[cfg(planted)]
        let incoming = self.plant_early(incoming);
        incoming
    }

    #[cfg(planted)]
    fn plant_early(&self, mut incoming: Incoming) -> Incoming {
        if let Some(mistake) = self.mistake {
            incoming.plant(mistake);
        }
        incoming
    }

    pub(super) fn drop_incoming(&mut self) {
        if let Some((_, connection, _)) = self.incoming.take() {
            self.connections[connection].gone[ACCEPTOR] = true;
        }
    }

    pub(super) fn note_incoming(&mut self) {
        let ended = |(incoming, ..): &(Incoming, usize, bool)| incoming.state() == LinkState::Ended;
        if self.incoming.as_ref().is_some_and(ended) {
            self.drop_incoming();
        }
    }

    pub(super) fn carry_to_incoming(
        &mut self,
        connection: usize,
        bytes: usize,
        piece: usize,
    ) -> bool {
        let now = self.now;
        let pipe = &mut self.connections[connection].pipes[OPENER];
        let count = bytes.min(pipe.len());
        let taken: Vec<u8> = pipe.drain(..count).collect();
        let mut hello = None;
        for piece in taken.chunks(self.case.pair.piece(piece)) {
            let (incoming, ..) = self.incoming.as_mut().expect("HELLO comes alone");
            incoming.handle_input(now, piece);
            for seen in self.connections[connection].inp[ACCEPTOR].feed(piece) {
                match seen {
                    Seen::Greeting(greeted) => hello = Some(greeted),
                    other => panic!("{other:?} before WELCOME"),
                }
            }
        }
        if let Some(hello) = hello {
            self.find_link(connection, &hello);
            return true;
        }
        if bytes > 0 && self.connections[connection].owes_eof(ACCEPTOR) {
            let (incoming, ..) = self.incoming.as_mut().expect("it has no link yet");
            incoming.handle_eof(now);
            assert_eq!(incoming.state(), LinkState::Ended);
            self.note_incoming();
            return true;
        }
        count > 0
    }

    /// The listener finds the link that a connection belongs to.
    fn find_link(&mut self, connection: usize, hello: &Greeted) {
        let now = self.now;
        // What its link has to tell comes before the decision.
        self.poll_events(ACCEPTOR);
        let (mut incoming, ..) = self.incoming.take().expect("it has no link yet");
        match self.try_link(&mut incoming, hello) {
            Ok(TakeOver::SessionOver) => {
                self.end_anew();
                self.note(ACCEPTOR);
                return self.send_away(incoming, connection);
            }
            Ok(_) => {}
            Err(place) => {
                let link = self.accept(incoming, connection, hello);
                return self.adopt(link, place, connection, hello);
            }
        }
        assert_eq!(incoming.end_reason(), Some(&EndReason::TakenOver));
        let end = &mut self.ends[ACCEPTOR];
        let old = end.connection.replace(connection);
        (end.is_secured, end.heard) = (true, now);
        if let Some(old) = old {
            self.lose_parts(ACCEPTOR, old);
        }
        self.resume(ACCEPTOR, connection, hello);
        self.note(ACCEPTOR);
    }

    /// Whether the acceptor's link goes on with a connection that has arrived, or ends for it. Else
    /// it is a new one.
    fn try_link(
        &mut self,
        incoming: &mut Incoming,
        hello: &Greeted,
    ) -> Result<TakeOver, LinkPermit> {
        let now = self.now;
        let session = id(&hello.session);
        let names = session != [0; 16];
        let request = match names {
            true => Request::Resume(session),
            false => Request::New,
        };
        assert_eq!(incoming.request(), Some(request));
        let ends = self.ends_for_newcomers();
        let end = &mut self.ends[ACCEPTOR];
        let held = names && session == end.session && !end.is_over;
        let over = matches!(end.link.state(), LinkState::Finishing | LinkState::Ended);
        let expected = match (held && !over, ends && !held) {
            (true, _) => TakeOver::Done,
            (_, true) => TakeOver::SessionOver,
            _ => TakeOver::NotMine,
        };
        let routed = loop {
            match self.acceptor.route(incoming) {
                Route::Resume(()) => match end.link.take_over(now, incoming) {
                    TakeOver::NotMine => {}
                    took => break Ok(took),
                },
                Route::New(mut place) => {
                    self.acceptor.accepted(&mut place);
                    break Err(place);
                }
                other => panic!("{other:?}: {:?}", incoming.end_reason()),
            }
        };
        let took = match routed {
            Ok(took) => took,
            // Nor does a link take what it was not asked about.
            Err(_) => end.link.take_over(now, incoming),
        };
        assert_eq!(took, expected, "{:?}", end.link.state());
        routed
    }

    /// A connection becomes a link.
    fn accept(&mut self, incoming: Incoming, connection: usize, hello: &Greeted) -> Link {
        let session = id(&hello.session);
        let known = self.gone.contains_key(&session);
        self.connections[connection].outcome = match known {
            _ if session == [0; 16] => 0,
            false => 2,
            true => 3,
        };
        let link = match incoming.accept(self.now) {
            Ok(link) => link,
            Err(incoming) => panic!("{:?}", incoming.end_reason()),
        };
        assert_eq!(link.state(), LinkState::Open, "{:?}", link.end_reason());
        link
    }

    /// It is the acceptor's from here on.
    fn adopt(&mut self, link: Link, place: LinkPermit, connection: usize, hello: &Greeted) {
        self.retire_acceptor();
        assert_eq!(self.place.replace(place), None, "the one before has ended");
        self.begin_anew(ACCEPTOR, link);
        let end = &mut self.ends[ACCEPTOR];
        end.number = 1;
        end.connection = Some(connection);
        end.is_secured = true;
        end.heard = self.now;
        self.begin_session(ACCEPTOR, hello);
        self.note(ACCEPTOR);
    }

    /// The acceptor follows what its link tells.
    pub(super) fn follow(&mut self, event: &Event) {
        let link = &self.ends[ACCEPTOR].link;
        let consequence = self.acceptor.follow(link, event, || ());
        assert_eq!(consequence, None, "there is one link");
        if *event != Event::Ended {
            return;
        }
        if let Some(place) = self.place.take() {
            self.acceptor.release(place);
        }
        // What the application handles between the end and its report counts as well.
        let session = self.ends[ACCEPTOR].session;
        if session != [0; 16] {
            let settled = self.receivers.iter().map(Receiver::settled);
            self.gone.insert(session, settled.collect());
        }
    }

    /// Nothing is left of links that have ended, but what is remembered.
    pub(super) fn check_acceptor(&self) {
        assert!(self.acceptor.is_empty());
        assert_eq!(self.acceptor.links().next(), None);
        assert_eq!(self.acceptor.away(), 0);
    }
}
