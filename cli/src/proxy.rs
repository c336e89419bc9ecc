//! A stretch of network that can be cut: forwards TCP connections, and breaks them off on demand.
//!
//! The demo and the tests put it between two ends that are on one machine.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much passes at once at most, in bytes.
const PIECE: usize = 4096;

/// What is worth a cut, in bytes: a part of a message. Less is an acknowledgement or a ping.
const WORTH_A_CUT: usize = 512;

/// Forwards connections to one address until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
}

#[derive(Debug, Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next piece that is worth it is cut through.
    armed: bool,
    cuts: u64,
    closed: bool,
    /// Both sockets of each connection.
    connections: Vec<Arc<[TcpStream; 2]>>,
}

impl Proxy {
    /// Listens on this machine, and connects to `target` for each connection that comes.
    ///
    /// # Errors
    /// The system gives no socket or no thread.
    pub fn to(target: SocketAddr) -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), target)
    }

    /// As [`Proxy::to`], but listens where it is told to.
    ///
    /// # Errors
    /// The address is in use, say.
    pub fn at(address: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control::default());
        let serving = control.clone();
        spawn(move || serving.serve(&listener, target))?;
        Ok(Self { address, control })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the connection on which the next part of a message comes, in the middle of that: some
    /// of it still arrives, and what else is under way in either direction is lost.
    pub fn cut_next(&self) {
        self.control.lock().armed = true;
    }

    /// How many connections were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.control.lock().cuts
    }

    /// Waits until so many connections were cut.
    pub fn wait_for_cuts(&self, count: u64) {
        let few = |state: &mut State| state.cuts < count;
        let waited = self.control.changed.wait_while(self.control.lock(), few);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.control.lock();
        state.closed = true;
        let connections = std::mem::take(&mut state.connections);
        drop(state);
        connections.iter().for_each(|sockets| sever(sockets));
        // Wakes the thread that listens; if it can't be reached it is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

/// Ends both directions of a connection. A socket may be closed already.
fn sever(sockets: &[TcpStream; 2]) {
    for socket in sockets {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("proxy".to_owned());
    thread.spawn(work).map(drop)
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener, target: SocketAddr) {
        for near in listener.incoming() {
            if self.lock().closed {
                return;
            }
            // Whoever connects finds out, and tries again.
            if let Err(error) = near.and_then(|near| self.forward(near, target)) {
                tracing::debug!(%error, "a connection was not forwarded");
            }
        }
    }

    fn forward(self: &Arc<Self>, near: TcpStream, target: SocketAddr) -> io::Result<()> {
        let far = TcpStream::connect(target)?;
        if far.local_addr()? == far.peer_addr()? {
            // Nobody listens, and the system gave the connection the target's own port.
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let sockets = Arc::new([near, far]);
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        state.connections.push(sockets.clone());
        drop(state);
        for (from, to) in [(0, 1), (1, 0)] {
            let (control, sockets) = (self.clone(), sockets.clone());
            spawn(move || control.pump(&sockets, from, to))?;
        }
        Ok(())
    }

    /// Moves one direction until it ends or is cut.
    fn pump(&self, sockets: &Arc<[TcpStream; 2]>, from: usize, to: usize) {
        let mut piece = [0; PIECE];
        loop {
            let count = match (&sockets[from]).read(&mut piece) {
                Ok(count) if count > 0 => count,
                _ => break,
            };
            let cut = self.takes_cut(count);
            let passes = if cut { count / 2 } else { count };
            let passed = (&sockets[to]).write_all(&piece[..passes]);
            if cut {
                self.cut(sockets);
                return;
            }
            if passed.is_err() {
                break;
            }
        }
        // The other direction may have more to say.
        let _ = sockets[to].shutdown(Shutdown::Write);
        let _ = sockets[from].shutdown(Shutdown::Read);
    }

    /// Whether this piece is the one to be cut through.
    fn takes_cut(&self, length: usize) -> bool {
        let mut state = self.lock();
        let cut = state.armed && length >= WORTH_A_CUT;
        state.armed &= !cut;
        cut
    }

    fn cut(&self, sockets: &Arc<[TcpStream; 2]>) {
        sever(sockets);
        let mut state = self.lock();
        state
            .connections
            .retain(|other| !Arc::ptr_eq(other, sockets));
        state.cuts += 1;
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_goes_through_a_message_and_ends_both_directions() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(target.local_addr().unwrap()).unwrap();
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        let (mut far, _) = target.accept().unwrap();
        proxy.cut_next();
        // A short word passes in either direction.
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
        near.write_all(&[7; 2 * PIECE]).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        rest.clear();
        far.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [7; 2 * PIECE]);
        far.write_all(b"pong").unwrap();
        near.read_exact(&mut word).unwrap();
        assert_eq!((&word, proxy.cuts()), (b"pong", 1));
    }
}
