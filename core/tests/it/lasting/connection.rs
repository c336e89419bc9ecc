//! The model's network: connections, the bytes in flight on them, and which ends still hold them.

use std::collections::VecDeque;

use countersign_core::SessionId;

use super::receiver::Origin;
use crate::lasting::observer::Observer;

/// One connection. Arrays go by end, opener first.
#[derive(Debug)]
pub(super) struct Connection {
    /// What an end has written and the other has not read.
    pub(super) pipes: [VecDeque<u8>; 2],
    /// Observers of what an end writes and of what it reads.
    pub(super) out: [Observer; 2],
    pub(super) inp: [Observer; 2],
    /// An end has ended its direction, or has dropped the connection.
    pub(super) write_ended: [bool; 2],
    pub(super) gone: [bool; 2],
    /// An end has learned that the other's direction has ended.
    pub(super) eof_told: [bool; 2],
    /// Nothing arrives any more, and neither end learns of it.
    pub(super) is_dead: bool,
    /// Neither end learns when it ends.
    pub(super) is_silent: bool,
    /// The session that HELLO has named.
    pub(super) named: Option<SessionId>,
    /// What WELCOME must say.
    pub(super) outcome: u8,
    /// REFUSE came in its place.
    pub(super) is_refused: bool,
    /// Which of the sessions that there were goes on here.
    pub(super) session: usize,
    /// By channel: the incarnation of the sender and how many numbers it had used before.
    pub(super) origins: Vec<Option<(usize, usize)>>,
}

impl Connection {
    pub(super) fn new(channels: usize) -> Self {
        let observer = Observer::default;
        Self {
            pipes: [VecDeque::new(), VecDeque::new()],
            out: [observer(), observer()],
            inp: [observer(), observer()],
            write_ended: [false; 2],
            gone: [false; 2],
            eof_told: [false; 2],
            is_dead: false,
            is_silent: false,
            named: None,
            outcome: 0,
            is_refused: false,
            session: 0,
            origins: vec![None; channels],
        }
    }

    /// Everything on its way is lost, and whatever is written from here on.
    pub(super) fn die(&mut self) {
        self.is_dead = true;
        self.pipes.iter_mut().for_each(VecDeque::clear);
    }

    /// Which message a number on a channel of this connection stands for.
    pub(super) fn origin(&self, channel: usize, number: u64) -> Origin {
        let (incarnation, base) = self.origins[channel].expect("it was sent");
        (incarnation, base as u64 + number)
    }

    pub(super) fn write(&mut self, from: usize, bytes: &[u8]) {
        assert!(!self.write_ended[from], "output after the end");
        if !self.is_dead && !self.gone[1 - from] {
            self.pipes[from].extend(bytes);
        }
    }

    /// Whether an end has yet to learn that the other's direction has ended.
    pub(super) fn owes_eof(&self, to: usize) -> bool {
        let from = 1 - to;
        let ended = self.write_ended[from] || self.gone[from];
        let tells = !self.is_dead && !self.is_silent && !self.eof_told[to];
        ended && self.pipes[from].is_empty() && tells
    }
}
