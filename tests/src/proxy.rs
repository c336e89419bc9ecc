//! A TCP proxy between two ends, which counts what passes, holds it up and cuts it off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use socket2::SockRef;

use crate::pair::loopback;

/// Small, so that little hides between the two ends.
const BUFFER: usize = 64 * 1024;

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the opener to the acceptor.
    Up,
    /// From the acceptor to the opener.
    Down,
}

/// Forwards connections to one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
}

#[derive(Debug)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` lets nobody through.
    target: Option<SocketAddr>,
    lanes: [Lane; 2],
    /// The most bytes to pass at once.
    piece: usize,
    closed: bool,
    /// How often somebody has connected.
    attempts: u64,
    connections: Vec<Connection>,
    /// The acceptor's sides of connections of which the opener's are gone.
    orphans: Vec<TcpStream>,
}

#[derive(Debug)]
struct Connection {
    /// Which attempt it was.
    number: u64,
    near: TcpStream,
    far: TcpStream,
}

/// One direction, of all connections together.
#[derive(Debug)]
struct Lane {
    /// How many bytes may pass of those that came, passed ones included.
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

    /// Hangs up on everybody, for now.
    #[must_use]
    pub fn to_nowhere() -> Self {
        Self::start(None)
    }

    fn start(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(loopback()).unwrap();
        SockRef::from(&listener)
            .set_recv_buffer_size(BUFFER)
            .unwrap();
        let address = listener.local_addr().unwrap();
        let lane = || Lane {
            granted: 0,
            passed: 0,
            allowed: u64::MAX,
        };
        let state = State {
            target,
            lanes: [lane(), lane()],
            piece: BUFFER,
            closed: false,
            attempts: 0,
            connections: Vec::new(),
            orphans: Vec::new(),
        };
        let control = Arc::new(Control {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let for_thread = control.clone();
        thread::spawn(move || for_thread.serve(&listener));
        Self { address, control }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads those who connect from now on to another address.
    pub fn lead_to(&self, target: SocketAddr) {
        self.change(|state| state.target = Some(target));
    }

    /// Hangs up on those who connect from now on.
    pub fn lead_nowhere(&self) {
        self.change(|state| state.target = None);
    }

    /// How often somebody has connected.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.control.lock().attempts
    }

    /// Waits until somebody has connected so many times.
    pub fn wait_for_attempts(&self, attempts: u64) {
        let mut state = self.control.lock();
        while state.attempts < attempts {
            state = self.control.wait(state);
        }
    }

    /// How many bytes have passed, or are about to.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.control.lock().lanes[direction as usize].granted
    }

    /// Waits until so many bytes have passed in total.
    pub fn wait_for(&self, direction: Direction, bytes: u64) {
        let mut state = self.control.lock();
        while state.lanes[direction as usize].passed < bytes {
            state = self.control.wait(state);
        }
    }

    /// Lets pass so many bytes in total, and holds up the rest.
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

    /// Ends all connections that there are.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Ends the opener's sides of all connections that there are. The acceptor's stay open and
    /// silent: it believes in them.
    pub fn orphan(&self) {
        self.change(|state| {
            for connection in state.connections.drain(..) {
                let _ = connection.near.shutdown(Shutdown::Both);
                state.orphans.push(connection.far);
            }
        });
    }

    /// Waits until the acceptor has let go of what [`Proxy::orphan`] left it.
    pub fn wait_for_orphans(&self) {
        let orphans = std::mem::take(&mut self.control.lock().orphans);
        for mut far in orphans {
            while matches!(far.read(&mut [0; 1024]), Ok(count) if count > 0) {}
        }
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        work(&mut self.control.lock());
        self.control.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| {
            state.closed = true;
            state.cut();
        });
        // Wakes the thread that accepts; if it can't be reached it is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn cut(&mut self) {
        for connection in self.connections.drain(..) {
            for socket in [connection.near, connection.far] {
                // It may be closed already.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming() {
            let near = near.unwrap();
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.attempts += 1;
            let (target, number) = (state.target, state.attempts);
            drop(state);
            self.changed.notify_all();
            let Some(Ok(far)) = target.map(TcpStream::connect) else {
                continue;
            };
            if far.local_addr().ok() == far.peer_addr().ok() {
                // Nobody listens, and the system gave the connection the target's own port.
                continue;
            }
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let pairs = [
                (
                    Direction::Up,
                    near.try_clone().unwrap(),
                    far.try_clone().unwrap(),
                ),
                (
                    Direction::Down,
                    far.try_clone().unwrap(),
                    near.try_clone().unwrap(),
                ),
            ];
            let connection = Connection { number, near, far };
            let mut state = self.lock();
            if state.target != target {
                // Whoever has led it elsewhere meanwhile counts on it.
                continue;
            }
            state.connections.push(connection);
            drop(state);
            for (direction, from, to) in pairs {
                let control = self.clone();
                thread::spawn(move || control.pump(number, direction, from, to));
            }
        }
    }

    fn pump(&self, number: u64, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(count) if count > 0 => count,
                _ => break,
            };
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let Some(length) = self.permit(number, direction, rest.len()) else {
                    return;
                };
                let written = to.write_all(&rest[..length]);
                let lane = &mut self.lock().lanes[direction as usize];
                if written.is_err() {
                    // Nobody wants it: the other pump tells the sender.
                    lane.granted -= length as u64;
                    return;
                }
                rest = &rest[length..];
                lane.passed += length as u64;
                self.changed.notify_all();
            }
        }
        // Also an end is held up.
        if self.permit(number, direction, 1).is_some() {
            self.lock().lanes[direction as usize].granted -= 1;
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Waits until something may pass and says how much; `None` when the connection was cut.
    fn permit(&self, number: u64, direction: Direction, wanted: usize) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let is_this = |connection: &Connection| connection.number == number;
            if !state.connections.iter().any(is_this) {
                return None;
            }
            let piece = state.piece;
            let lane = &mut state.lanes[direction as usize];
            let left = lane.allowed.saturating_sub(lane.granted);
            if left > 0 {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let length = wanted.min(left).min(piece);
                lane.granted += length as u64;
                return Some(length);
            }
            state = self.wait(state);
        }
    }
}
