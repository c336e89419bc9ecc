//! A TCP proxy between two ends, which counts what passes, holds it up and cuts it off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use socket2::SockRef;

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
    lanes: [Lane; 2],
    /// The most bytes to pass at once.
    piece: usize,
    closed: bool,
    sockets: Vec<TcpStream>,
}

/// One direction, of all connections together.
#[derive(Debug)]
struct Lane {
    passed: u64,
    allowed: u64,
}

impl Proxy {
    /// Forwards to `target`, for now without hindrance.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener)
            .set_recv_buffer_size(BUFFER)
            .unwrap();
        let address = listener.local_addr().unwrap();
        let lane = || Lane {
            passed: 0,
            allowed: u64::MAX,
        };
        let state = State {
            lanes: [lane(), lane()],
            piece: BUFFER,
            closed: false,
            sockets: Vec::new(),
        };
        let control = Arc::new(Control {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let for_thread = control.clone();
        thread::spawn(move || for_thread.serve(&listener, target));
        Self { address, control }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have passed.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.control.lock().lanes[direction as usize].passed
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
        for socket in self.sockets.drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
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

    fn serve(self: &Arc<Self>, listener: &TcpListener, target: SocketAddr) {
        for near in listener.incoming() {
            if self.lock().closed {
                return;
            }
            let near = near.unwrap();
            let Ok(far) = TcpStream::connect(target) else {
                continue;
            };
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
            self.lock().sockets.extend([near, far]);
            for (direction, from, to) in pairs {
                let control = self.clone();
                thread::spawn(move || control.pump(direction, from, to));
            }
        }
    }

    fn pump(&self, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(count) if count > 0 => count,
                _ => break,
            };
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let Some(length) = self.permit(direction, rest.len()) else {
                    return;
                };
                if to.write_all(&rest[..length]).is_err() {
                    // Nobody wants it: the other pump tells the sender.
                    return;
                }
                rest = &rest[length..];
                self.lock().lanes[direction as usize].passed += length as u64;
                self.changed.notify_all();
            }
        }
        // Also an end is held up.
        if self.permit(direction, 1).is_some() {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Waits until something may pass and says how much; `None` when the connection was cut.
    fn permit(&self, direction: Direction, wanted: usize) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.sockets.is_empty() {
                return None;
            }
            let lane = &state.lanes[direction as usize];
            let left = lane.allowed.saturating_sub(lane.passed);
            if left > 0 {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                return Some(wanted.min(left).min(state.piece));
            }
            state = self.wait(state);
        }
    }
}
