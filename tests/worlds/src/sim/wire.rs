//! Connections: bytes on their way, and what can happen to them there.

use std::collections::VecDeque;

use countersign_endpoint::Endpoint;

use super::plan::{ACCEPTOR, Learn, Net, OPENER};
use super::rng::Rng;

/// What arrives.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// The other end has ended its direction.
    End,
    /// The other end does not know this connection.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    flying: VecDeque<(u64, Piece)>,
    inside: usize,
    /// How many bytes went in.
    pub(super) written: u64,
    /// When the line has sent what went in.
    free: u64,
    last: u64,
    held_until: u64,
    /// It takes no more than this; its end counts as a byte.
    pub(super) limit: Option<u64>,
    /// How much longer it takes than the other direction.
    pub(super) back: u64,
    /// It discards everything.
    dead: bool,
    ended: bool,
}

impl Pipe {
    /// How many bytes go in now.
    pub(super) fn room(&self, net: &Net) -> usize {
        net.room.saturating_sub(self.inside)
    }

    /// When something arrives.
    pub(super) fn next(&self) -> Option<u64> {
        self.flying.front().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Takes bytes. Returns true if a limit has cut them.
    pub(super) fn push(&mut self, now: u64, net: &Net, rng: &mut Rng, bytes: &[u8]) -> bool {
        let left = self.limit.map_or(u64::MAX, |limit| limit - self.written);
        let some = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.written += some as u64;
        for piece in bytes[..some].chunks(net.piece) {
            self.send(now, net, rng, Piece::Bytes(piece.to_vec()));
        }
        some < bytes.len()
    }

    /// Takes its end, or a reset. Returns true if a limit has cut it.
    pub(super) fn end(&mut self, now: u64, net: &Net, rng: &mut Rng, piece: Piece) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return false;
        }
        let cut = self.limit == Some(self.written);
        if !cut {
            self.send(now, net, rng, piece);
        }
        cut
    }

    fn send(&mut self, now: u64, net: &Net, rng: &mut Rng, piece: Piece) {
        if self.dead {
            return;
        }
        let length = match &piece {
            Piece::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let sending = net.rate.map_or(0, |rate| length as u64 * 1000 / rate);
        self.free = self.free.max(now) + sending;
        let jitter = rng.below(net.jitter + 1);
        let at = (self.free + net.delay + self.back + jitter).max(self.last);
        self.last = at.max(self.held_until);
        self.inside += length;
        self.flying.push_back((self.last, piece));
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        let (_, piece) = self.flying.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            self.inside -= bytes.len();
        }
        Some(piece)
    }

    /// Nothing arrives before `until`.
    pub(super) fn freeze(&mut self, until: u64) {
        self.held_until = self.held_until.max(until);
        for (at, _) in &mut self.flying {
            *at = (*at).max(until);
        }
        self.last = self.last.max(until);
    }

    /// Nothing arrives any more, and everything goes in.
    pub(super) fn die(&mut self) {
        self.flying.clear();
        self.inside = 0;
        self.dead = true;
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) endpoint: Endpoint,
    /// The link that it brings its bytes to.
    pub(super) node: usize,
    /// Its direction has ended.
    pub(super) shut: bool,
    /// This end neither reads nor writes any more.
    pub(super) gone: bool,
}

impl Side {
    pub(super) fn new(endpoint: Endpoint, node: usize) -> Self {
        Self {
            endpoint,
            node,
            shut: false,
            gone: false,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) pair: usize,
    /// By the end that writes.
    pub(super) pipes: [Pipe; 2],
    pub(super) sides: [Side; 2],
    /// When it will be cut for good, and which ends learn of it.
    pub(super) cut: Option<(u64, Learn)>,
    /// It was cut.
    pub(super) dead: bool,
}

impl Conn {
    /// When something happens here. What is on its way to an end whose host stands still arrives
    /// when that goes on.
    pub(super) fn next(&self, stopped: [u64; 2]) -> Option<u64> {
        let arrives = |from: usize| self.arrives(from, stopped);
        let arrivals = [OPENER, ACCEPTOR].into_iter().filter_map(arrives).min();
        let cut = self.cut.filter(|_| !self.dead).map(|(at, _)| at);
        match (arrivals, cut) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// When the next bytes of an end arrive at the other.
    pub(super) fn arrives(&self, from: usize, stopped: [u64; 2]) -> Option<u64> {
        self.pipes[from].next().map(|at| at.max(stopped[1 - from]))
    }

    /// Nothing happens here any more.
    pub(super) fn is_over(&self) -> bool {
        let silent = self.pipes.iter().all(Pipe::is_empty);
        silent && (self.dead || self.sides.iter().all(|side| side.gone))
    }

    pub(super) fn die(&mut self) {
        self.dead = true;
        for pipe in &mut self.pipes {
            pipe.die();
        }
    }
}
