//! Forwards TCP connections, as far as a set of rules lets their bytes pass.
//!
//! The demo's [`proxy`](crate::proxy) is one set of rules. The project's tests have others, and
//! compile this file into their own crate, so that there is one relay, and what is published needs
//! no separate crate for it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

/// One connection through a relay.
#[derive(Debug)]
pub struct Connection<S> {
    /// The socket to the client.
    pub near: TcpStream,
    /// The socket to the target.
    pub far: TcpStream,
    /// The state that the rules keep for it.
    pub state: S,
}

impl<S> Connection<S> {
    /// Ends both directions. The sockets may already be closed.
    pub fn sever(&self) {
        for socket in [&self.near, &self.far] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Returns the sockets that a direction reads from and writes to.
    #[must_use]
    pub fn sockets(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::Up => (&self.near, &self.far),
            Direction::Down => (&self.far, &self.near),
        }
    }
}

/// How many of the bytes that arrived pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// So many of them; the rules are asked about the rest.
    Some(usize),
    /// So many of them; the rest is lost.
    Only(usize),
    /// No more in this direction, nor its end.
    Over,
}

/// Rules for what may pass.
pub trait Rules: Send + Sync + 'static {
    /// The state that they keep for a connection.
    type State: Default + Send + Sync + 'static;
    /// The most bytes that are read at once.
    const PIECE: usize;

    /// Returns the target for a client that has connected, or `None` to hang up.
    fn target(&self) -> Option<SocketAddr>;

    /// Begins a connection to that target, from which bytes may come from here on. Returns whether
    /// it is still wanted.
    fn begin(&self, connection: &Arc<Connection<Self::State>>, target: SocketAddr) -> bool;

    /// Returns how many of `count` bytes pass. It may block.
    fn pass(&self, of: &Connection<Self::State>, direction: Direction, count: usize) -> Pass;

    /// Notes that `count` bytes have passed, or failed to because the receiver is gone.
    fn passed(
        &self,
        of: &Connection<Self::State>,
        direction: Direction,
        count: usize,
        result: io::Result<()>,
    );

    /// Notes that one direction has come to its end.
    fn end(&self, of: &Connection<Self::State>, direction: Direction);

    /// Closes the rules, since the relay is gone: calls that wait in [`pass`](Rules::pass) return,
    /// and all connections end.
    fn close(&self);
}

/// Forwards connections until it is dropped.
pub struct Relay<R: Rules> {
    address: SocketAddr,
    rules: Arc<R>,
    /// Shows the listening thread that the relay still exists.
    is_there: Arc<()>,
}

impl<R: Rules> Relay<R> {
    /// Forwards the clients that connect to this listener.
    ///
    /// # Errors
    /// The system can't provide a thread.
    pub fn new(listener: TcpListener, rules: R) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (rules, is_there) = (Arc::new(rules), Arc::new(()));
        let (serving, exists) = (rules.clone(), Arc::downgrade(&is_there));
        spawn(move || {
            for near in listener.incoming() {
                if exists.strong_count() == 0 {
                    return;
                }
                // The client notices, and tries again.
                if let Err(error) = near.and_then(|near| forward(&serving, near)) {
                    tracing::debug!(%error, "a connection was not forwarded");
                }
            }
        })?;
        Ok(Self {
            address,
            rules,
            is_there,
        })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its rules.
    #[must_use]
    pub fn rules(&self) -> &R {
        &self.rules
    }
}

impl<R: Rules> Drop for Relay<R> {
    fn drop(&mut self) {
        self.is_there = Arc::default();
        self.rules.close();
        // Wakes the thread that listens; if it can't be reached, it has already ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl<R: Rules> fmt::Debug for Relay<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Relay");
        debug
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("relay".to_owned());
    thread.spawn(work).map(drop)
}

fn forward<R: Rules>(rules: &Arc<R>, near: TcpStream) -> io::Result<()> {
    let Some(target) = rules.target() else {
        return Ok(());
    };
    let far = TcpStream::connect(target)?;
    if far.local_addr()? == far.peer_addr()? {
        // Nothing listens there, and the system gave the connection the target's own port.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let state = R::State::default();
    let connection = Arc::new(Connection { near, far, state });
    if !rules.begin(&connection, target) {
        return Ok(());
    }
    for direction in [Direction::Up, Direction::Down] {
        let (rules, connection) = (rules.clone(), connection.clone());
        spawn(move || pump(&*rules, &connection, direction))?;
    }
    Ok(())
}

/// Moves one direction until it ends.
fn pump<R: Rules>(rules: &R, of: &Connection<R::State>, direction: Direction) {
    let (mut from, mut to) = of.sockets(direction);
    let mut piece = vec![0; R::PIECE];
    loop {
        let mut rest = match from.read(&mut piece) {
            Ok(count) if count > 0 => &piece[..count],
            _ => break,
        };
        while !rest.is_empty() {
            let (count, others) = match rules.pass(of, direction, rest.len()) {
                Pass::Some(count) => (count, &rest[count..]),
                Pass::Only(count) => (count, &[][..]),
                Pass::Over => return,
            };
            let written = to.write_all(&rest[..count]);
            let failed = written.is_err();
            rules.passed(of, direction, count, written);
            if failed {
                // The receiver is gone: the other direction tells the sender.
                return;
            }
            rest = others;
        }
    }
    rules.end(of, direction);
}
