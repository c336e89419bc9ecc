//! A TCP proxy between two ends, which counts what passes, holds it up and cuts it off.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;

use crate::pair::loopback;
pub use crate::relay::Direction;
use crate::relay::{self, Pass, Relay, Rules};

/// Small, so that few bytes are buffered between the two ends.
const BUFFER: usize = 64 * 1024;

/// Forwards connections to one address.
#[derive(Debug)]
pub struct Proxy(Relay<Lanes>);

/// How much may pass, in either direction.
#[derive(Debug)]
struct Lanes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` refuses all connections.
    target: Option<SocketAddr>,
    lanes: [Lane; 2],
    /// The most bytes to pass at once.
    piece: usize,
    /// How many connections have been attempted.
    attempts: u64,
    /// Connections that are not cut.
    connections: Vec<Arc<Connection>>,
    /// Connections whose opener's side is gone.
    orphans: Vec<Arc<Connection>>,
}

type Connection = relay::Connection<()>;

/// One direction, over all connections.
#[derive(Debug)]
struct Lane {
    /// How many bytes may pass, those that have passed included.
    granted: u64,
    passed: u64,
    allowed: u64,
}

impl Proxy {
    /// Forwards to `target`, for now without hindrance.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self::start(Some(target))
    }

    /// Hangs up on every connection, for now.
    #[must_use]
    pub fn to_nowhere() -> Self {
        Self::start(None)
    }

    fn start(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(loopback()).unwrap();
        SockRef::from(&listener)
            .set_recv_buffer_size(BUFFER)
            .unwrap();
        let lane = || Lane {
            granted: 0,
            passed: 0,
            allowed: u64::MAX,
        };
        let state = State {
            target,
            lanes: [lane(), lane()],
            piece: BUFFER,
            attempts: 0,
            connections: Vec::new(),
            orphans: Vec::new(),
        };
        let lanes = Lanes {
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Self(Relay::new(listener, lanes).unwrap())
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Forwards later connections to another address, and ends the current ones. Both at once: a
    /// connection that has begun to the new target is not cut.
    pub fn redirect(&self, target: SocketAddr) {
        self.change(|state| {
            state.target = Some(target);
            state.cut();
        });
    }

    /// Hangs up on later connections.
    pub fn hang_up_on_later(&self) {
        self.change(|state| state.target = None);
    }

    /// Returns how many connections have been attempted.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.lanes().lock().attempts
    }

    /// Waits until this many connections have been attempted.
    pub fn wait_for_attempts(&self, attempts: u64) {
        let mut state = self.lanes().lock();
        while state.attempts < attempts {
            state = self.lanes().wait(state);
        }
    }

    /// Returns how many bytes have passed, or are about to.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.lanes().lock().lanes[direction as usize].granted
    }

    /// Waits until this many bytes have passed in total.
    pub fn wait_for(&self, direction: Direction, bytes: u64) {
        let mut state = self.lanes().lock();
        while state.lanes[direction as usize].passed < bytes {
            state = self.lanes().wait(state);
        }
    }

    /// Lets this many bytes pass in total, and holds up the rest.
    pub fn allow(&self, direction: Direction, bytes: u64) {
        self.change(|state| state.lanes[direction as usize].allowed = bytes);
    }

    /// Holds up everything.
    pub fn stall(&self) {
        self.change(|state| {
            for lane in &mut state.lanes {
                lane.allowed = 0;
            }
        });
    }

    /// Lets everything pass.
    pub fn resume(&self) {
        self.change(|state| {
            for lane in &mut state.lanes {
                lane.allowed = u64::MAX;
            }
        });
    }

    /// Passes one byte at a time.
    pub fn trickle(&self) {
        self.change(|state| state.piece = 1);
    }

    /// Ends all current connections.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Ends the opener's sides of all current connections. The acceptor's stay open and silent: it
    /// takes them for alive.
    pub fn orphan(&self) {
        self.change(|state| {
            for connection in state.connections.drain(..) {
                let _ = connection.near.shutdown(Shutdown::Both);
                state.orphans.push(connection);
            }
        });
    }

    /// Waits until the acceptor has dropped what [`Proxy::orphan`] left it.
    pub fn wait_for_orphans(&self) {
        let orphans = std::mem::take(&mut self.lanes().lock().orphans);
        for orphan in orphans {
            while matches!((&orphan.far).read(&mut [0; 1024]), Ok(count) if count > 0) {}
        }
    }

    fn lanes(&self) -> &Lanes {
        self.0.rules()
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        self.lanes().change(work);
    }
}

impl State {
    fn cut(&mut self) {
        for connection in self.connections.drain(..) {
            connection.sever();
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        work(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Rules for Lanes {
    type State = ();
    const PIECE: usize = BUFFER;

    fn target(&self) -> Option<SocketAddr> {
        let mut state = self.lock();
        state.attempts += 1;
        self.changed.notify_all();
        state.target
    }

    fn begin(&self, connection: &Arc<Connection>, target: SocketAddr) -> bool {
        let mut state = self.lock();
        // A caller that has led it elsewhere meanwhile relies on it.
        let goes_on = state.target == Some(target);
        if goes_on {
            state.connections.push(connection.clone());
        }
        goes_on
    }

    /// Waits until something may pass and returns how much.
    fn pass(&self, of: &Connection, direction: Direction, count: usize) -> Pass {
        let mut state = self.lock();
        loop {
            let is_this = |connection: &Arc<Connection>| std::ptr::eq(&**connection, of);
            if !state.connections.iter().any(is_this) {
                return Pass::Over;
            }
            let piece = state.piece;
            let lane = &mut state.lanes[direction as usize];
            let left = lane.allowed.saturating_sub(lane.granted);
            if left > 0 {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let length = count.min(left).min(piece);
                lane.granted += length as u64;
                return Pass::Some(length);
            }
            state = self.wait(state);
        }
    }

    fn passed(&self, _: &Connection, direction: Direction, count: usize, result: io::Result<()>) {
        let lane = &mut self.lock().lanes[direction as usize];
        match result {
            Ok(()) => lane.passed += count as u64,
            Err(_) => lane.granted -= count as u64,
        }
        self.changed.notify_all();
    }

    /// Holds up an end of the direction as well.
    fn end(&self, of: &Connection, direction: Direction) {
        if self.pass(of, direction, 1) == Pass::Some(1) {
            self.lock().lanes[direction as usize].granted -= 1;
            let (_, to) = of.sockets(direction);
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn close(&self) {
        self.change(|state| {
            state.target = None;
            state.cut();
        });
    }
}
