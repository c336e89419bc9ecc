//! A stretch of network that can be cut: forwards TCP connections, and breaks them on demand.
//!
//! The demo and the program's tests put it between two ends on one machine.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::relay::{self, Direction, Pass, Relay, Rules};

/// The least number of bytes worth a cut: a part of a message. Less is an acknowledgement or a
/// ping.
const WORTH_A_CUT: usize = 512;

/// Forwards connections to one address until it is dropped.
#[derive(Debug)]
pub struct Proxy(Relay<Cuts>);

#[derive(Debug)]
struct Cuts {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next piece worth a cut is cut through.
    armed: bool,
    /// Nothing passes until then.
    stalled_until: Option<Instant>,
    cuts: u64,
    closed: bool,
    connections: Vec<Arc<Connection>>,
}

/// A connection, and whether it is cut.
type Connection = relay::Connection<Mutex<bool>>;

impl Proxy {
    /// Listens on this machine, and connects to `target` for each connection that arrives.
    ///
    /// # Errors
    /// The system can't provide a socket or a thread.
    pub fn to(target: SocketAddr) -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), target)
    }

    /// Like [`Proxy::to`], but listens on the given address.
    ///
    /// # Errors
    /// For example, the address is in use.
    pub fn at(address: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let cuts = Cuts {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Relay::new(TcpListener::bind(address)?, cuts).map(Self)
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Cuts the connection on which the next part of a message comes, in the middle of that part:
    /// some of it still arrives, and everything else under way in either direction is lost.
    pub fn cut_next(&self) {
        self.0.rules().lock().armed = true;
    }

    /// Holds everything up for this long, in both directions, and loses nothing.
    pub fn stall(&self, time: Duration) {
        self.0.rules().lock().stalled_until = Instant::now().checked_add(time);
    }

    /// Returns how many connections were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.0.rules().lock().cuts
    }

    /// Waits until `count` connections were cut.
    pub fn wait_for_cuts(&self, count: u64) {
        let few = |state: &mut State| state.cuts < count;
        let rules = self.0.rules();
        let waited = rules.changed.wait_while(rules.lock(), few);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn is_cut(connection: &Connection) -> MutexGuard<'_, bool> {
    let cut = connection.state.lock();
    cut.unwrap_or_else(PoisonError::into_inner)
}

impl Cuts {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is held up, or everything is over.
    fn while_stalled<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        while let Some(until) = state.stalled_until.filter(|_| !state.closed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

impl Rules for Cuts {
    type State = Mutex<bool>;
    const PIECE: usize = 4096;

    fn target(&self) -> Option<SocketAddr> {
        Some(self.target)
    }

    fn begin(&self, connection: &Arc<Connection>, _: SocketAddr) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.connections.push(connection.clone());
        }
        !state.closed
    }

    fn pass(&self, of: &Connection, _: Direction, count: usize) -> Pass {
        let mut state = self.while_stalled(self.lock());
        if !state.armed || count < WORTH_A_CUT {
            return Pass::Some(count);
        }
        state.armed = false;
        *is_cut(of) = true;
        Pass::Only(count / 2)
    }

    fn passed(&self, of: &Connection, _: Direction, _: usize, _: io::Result<()>) {
        if !*is_cut(of) {
            return;
        }
        of.sever();
        let mut state = self.lock();
        let before = state.connections.len();
        state
            .connections
            .retain(|other| !std::ptr::eq(&**other, of));
        // The other direction may come here too.
        if state.connections.len() < before {
            state.cuts += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    fn end(&self, of: &Connection, direction: Direction) {
        let (from, to) = of.sockets(direction);
        // The other direction may have more to send.
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let connections = std::mem::take(&mut state.connections);
        drop(state);
        connections.iter().for_each(|connection| connection.sever());
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_cut_goes_through_a_message_and_ends_both_directions() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(target.local_addr().unwrap()).unwrap();
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        proxy.cut_next();
        // A short message passes in either direction.
        let mut word = [0; 4];
        near.write_all(b"ping").unwrap();
        far.read_exact(&mut word).unwrap();
        far.write_all(b"pong").unwrap();
        near.read_exact(&mut word).unwrap();
        assert_eq!((&word, proxy.cuts()), (b"pong", 0));
        far.write_all(&[7; WORTH_A_CUT]).unwrap();
        let mut rest = Vec::new();
        // However it ends, the second half never comes.
        let _ = near.read_to_end(&mut rest);
        assert_eq!(rest, [7; WORTH_A_CUT / 2]);
        assert!(matches!(far.read(&mut word), Ok(0) | Err(_)));
        proxy.wait_for_cuts(1);

        // The next connection is whole, up to its orderly end.
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        near.write_all(&[7; 2 * Cuts::PIECE]).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        rest.clear();
        far.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [7; 2 * Cuts::PIECE]);
        far.write_all(b"pong").unwrap();
        near.read_exact(&mut word).unwrap();
        assert_eq!((&word, proxy.cuts()), (b"pong", 1));
    }
}
