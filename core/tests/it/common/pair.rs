//! Two links that hand each other bytes, in virtual time.

use core::time::Duration;

use countersign_core::{
    ChannelId, Config, Disconnect, Event, Instant, Link, LinkState, Output, Protocol, ReceiveError,
    Role, SessionLoss, TakeOver,
};

use super::Cut;
use super::arriving::{accepted_after, arrived};

/// Opener and acceptor, and what each of them has told.
pub(crate) struct Pair {
    pub(crate) ends: [Link; 2],
    pub(crate) events: [Vec<Event>; 2],
    /// The borders between sessions that [`Pair::take_all`] came to.
    pub(crate) borders: [Vec<SessionLoss>; 2],
    pub(crate) now: Instant,
    /// The length of the buffers that output is written to.
    pub(crate) buffer: usize,
    cut: Cut,
    eof_told: [bool; 2],
    restarts: u8,
}

pub(crate) const OPENER: usize = 0;
pub(crate) const ACCEPTOR: usize = 1;

/// Runs a script with two connected links twice, with input whole and byte by byte, and compares
/// their events.
pub(crate) fn paired(opener: &Config, acceptor: &Config, script: impl Fn(&mut Pair)) {
    let run = |cut| {
        let mut pair = Pair::new(opener, acceptor, cut);
        script(&mut pair);
        (pair.events, pair.ends.map(|end| end.end_reason().cloned()))
    };
    assert_eq!(run(Cut::Whole), run(Cut::Bytes));
}

/// As [`paired`], with links that outlive their connections.
pub(crate) fn lasting(opener: &Config, acceptor: &Config, script: impl Fn(&mut Pair)) {
    let run = |cut| {
        let mut pair = Pair::connected([opener, acceptor], cut);
        script(&mut pair);
        (pair.events, pair.ends.map(|end| end.end_reason().cloned()))
    };
    assert_eq!(run(Cut::Whole), run(Cut::Bytes));
}

impl Pair {
    pub(crate) fn new(opener: &Config, acceptor: &Config, cut: Cut) -> Self {
        let [opener, acceptor] =
            [opener, acceptor].map(|config| config.clone().single_connection());
        Self::connected([&opener, &acceptor], cut)
    }

    fn connected([opener, acceptor]: [&Config; 2], cut: Cut) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut ends = [
            Link::new(opener, Role::Opener, [1; 16]).expect("a config that fits"),
            Link::new(acceptor, Role::Acceptor, [2; 16]).expect("a config that fits"),
        ];
        for end in &mut ends {
            end.handle_opened(now).expect("offline");
            end.handle_secured(now, None).expect("securing");
        }
        Self {
            ends,
            events: [Vec::new(), Vec::new()],
            borders: [Vec::new(), Vec::new()],
            now,
            buffer: 65_536,
            cut,
            eof_told: [false; 2],
            restarts: 0,
        }
    }

    /// Throws away what one end has to say.
    pub(crate) fn lose_output(&mut self, end: usize) {
        let mut buffer = vec![0; self.buffer];
        while let Output::Written(_) = self.ends[end].poll_output(self.now, &mut buffer) {}
    }

    /// Both ends lose their connection.
    pub(crate) fn cut(&mut self) {
        for end in &mut self.ends {
            end.handle_lost(self.now, Disconnect::Transport);
        }
    }

    /// The opener waits for its time and connects again.
    pub(crate) fn reconnect(&mut self) {
        while !self.ends[OPENER].wants_connect() {
            assert!(self.sleep(), "nothing to wait for");
        }
        for end in &mut self.ends {
            end.handle_opened(self.now).expect("offline");
            end.handle_secured(self.now, None).expect("securing");
        }
        self.eof_told = [false; 2];
    }

    /// The opener reconnects on a new connection while its peer's link may still have the old one,
    /// as can happen at a listener with many links.
    pub(crate) fn come_back(&mut self) {
        if self.ends[OPENER].state() != LinkState::Offline {
            self.ends[OPENER].handle_lost(self.now, Disconnect::Transport);
        }
        let [opener, acceptor] = &mut self.ends;
        opener.handle_opened(self.now).expect("offline");
        opener.handle_secured(self.now, None).expect("securing");
        let mut incoming = arrived(self.now, acceptor.config(), 5, None);
        let mut buffer = vec![0; self.buffer];
        while let Output::Written(n) = opener.poll_output(self.now, &mut buffer) {
            for piece in self.cut.pieces(&buffer[..n]) {
                incoming.handle_input(self.now, piece);
            }
        }
        if acceptor.take_over(self.now, &mut incoming) != TakeOver::Done {
            let gone = acceptor.gone_session();
            let ended = acceptor.state() == LinkState::Ended;
            *acceptor = accepted_after(self.now, incoming, ended.then_some(&gone));
        }
        self.eof_told = [false; 2];
    }

    /// The acceptor loses everything, and its connection with it.
    pub(crate) fn restart_acceptor(&mut self) {
        let config = self.ends[ACCEPTOR].config().clone();
        // A restarted end needs another seed, or it would draw the same session again.
        self.restarts += 1;
        let link = Link::new(&config, Role::Acceptor, [100 + self.restarts; 16]);
        self.ends[ACCEPTOR] = link.expect("it did before");
        self.ends[OPENER].handle_lost(self.now, Disconnect::Transport);
    }

    /// Moves bytes until neither end has any, and collects events.
    pub(crate) fn run(&mut self) {
        loop {
            let moved = self.moves(OPENER) | self.moves(ACCEPTOR);
            for (end, events) in self.ends.iter_mut().zip(&mut self.events) {
                events.extend(core::iter::from_fn(|| end.poll_event()));
            }
            if !moved {
                break;
            }
        }
    }

    /// Moves what one end has to say; true if there was anything.
    fn moves(&mut self, from: usize) -> bool {
        let mut buffer = vec![0; self.buffer];
        let mut moved = false;
        let wanted = self.ends[from].wants_output();
        loop {
            match self.ends[from].poll_output(self.now, &mut buffer) {
                Output::Written(n) => {
                    assert!(wanted, "output that was not announced");
                    for piece in self.cut.pieces(&buffer[..n]) {
                        self.ends[1 - from].handle_input(self.now, piece);
                    }
                    moved = true;
                }
                Output::Idle => return moved,
                Output::End => {
                    if !self.eof_told[from] {
                        // A connection that is given up is dropped without being asked for output.
                        let dropped = !self.ends[from].wants_connection();
                        assert!(wanted || dropped, "an end that was not announced");
                        self.eof_told[from] = true;
                        self.ends[1 - from].handle_eof(self.now);
                        return true;
                    }
                    return moved;
                }
                Output::TooSmall { needed } => buffer.resize(needed, 0),
            }
        }
    }

    /// Moves all that one end has to say now, and nothing back.
    pub(crate) fn one_way(&mut self, from: usize) {
        self.at_most(from, usize::MAX);
    }

    /// Moves this many bytes of what one end has to say now; the rest is lost. How many there were.
    pub(crate) fn at_most(&mut self, from: usize, most: usize) -> usize {
        let mut buffer = vec![0; self.buffer];
        let mut moved = 0;
        while let Output::Written(n) = self.ends[from].poll_output(self.now, &mut buffer) {
            let n = n.min(most - moved);
            moved += n;
            for piece in self.cut.pieces(&buffer[..n]) {
                self.ends[1 - from].handle_input(self.now, piece);
            }
        }
        moved
    }

    /// Sleeps exactly until the next deadline of either end; false when there is none.
    pub(crate) fn sleep(&mut self) -> bool {
        let deadline = self.ends.iter().filter_map(Link::poll_deadline).min();
        let Some(deadline) = deadline else {
            return false;
        };
        self.now = self.now.max(deadline);
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
        true
    }

    /// Lets time pass, moving bytes at every deadline on the way.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.run();
            let next = self.ends.iter().filter_map(Link::poll_deadline).min();
            match next {
                Some(next) if next <= until => self.sleep(),
                _ => break,
            };
        }
        self.now = until;
    }

    /// Takes everything that waits on a channel, and notes the borders between it.
    pub(crate) fn take_all(&mut self, end: usize, channel: ChannelId) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        loop {
            match self.ends[end].take(self.now, channel) {
                Ok(Some(message)) => taken.push(message.payload.to_vec()),
                Ok(None) => return taken,
                Err(ReceiveError::SessionBorder(why)) => self.borders[end].push(why),
                Err(other) => panic!("{other}"),
            }
        }
    }

    pub(crate) fn lives(&self) -> [LinkState; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }

    pub(crate) fn send(&mut self, end: usize, channel: ChannelId, payload: &[u8]) -> u64 {
        self.ends[end]
            .send(self.now, channel, payload.to_vec(), None)
            .expect("accepted")
    }
}
