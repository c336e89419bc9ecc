//! A TCP relay as slow as a bad radio: one queue for all that goes from the clients to the server,
//! which leaves at a limited rate, evenly.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// The sockets' own buffers, in bytes; Linux doubles them.
const SOCKET_BUFFER: usize = 8 * 1024;
/// How much of one connection goes into the queue before another's turn.
const PIECE: usize = 1500;
/// What leaves at once is what the rate allows for this time.
const TICK: Duration = Duration::from_millis(1);
/// For how long the rate is caught up on where the system has let the thread wait.
const MOST_BEHIND: Duration = Duration::from_millis(20);

/// A relay that runs in a thread of its own until it is dropped.
pub(super) struct Relay {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Forwards to `target`, at `rate` bytes a second, out of a queue of `buffer` bytes.
    pub(super) fn start(target: SocketAddr, rate: u64, buffer: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        SockRef::from(&listener).set_recv_buffer_size(SOCKET_BUFFER)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let path = Path {
            rate,
            buffer,
            lanes: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            next: 0,
        };
        let until = over.clone();
        let thread = thread::spawn(move || path.run(&listener, target, &until));
        Ok(Self {
            address,
            over,
            thread: Some(thread),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection.
struct Lane {
    near: TcpStream,
    far: TcpStream,
    /// What the server has sent and the client's socket has not taken yet.
    back: VecDeque<u8>,
    /// Whether the client may still send, and the server.
    open: [bool; 2],
}

/// Everything between the clients and the server.
struct Path {
    rate: u64,
    buffer: usize,
    lanes: Vec<Lane>,
    /// What waits, and of which lane it is; of no length where the lane ends.
    queue: VecDeque<(usize, VecDeque<u8>)>,
    queued: usize,
    /// Whose turn it is.
    next: usize,
}

impl Path {
    fn run(mut self, listener: &TcpListener, target: SocketAddr, over: &AtomicBool) {
        let mut credit = 0.0;
        let mut before = Instant::now();
        while !over.load(Ordering::Relaxed) {
            if let Ok((near, _)) = listener.accept() {
                match Lane::open(near, target) {
                    Ok(lane) => self.lanes.push(lane),
                    Err(error) => eprintln!("the relay can't connect: {error}"),
                }
            }
            self.fill();
            let now = Instant::now();
            let time = (now - before).min(MOST_BEHIND);
            before = now;
            credit += time.as_secs_f64() * self.rate as f64;
            let served = self.serve(credit as usize);
            // What was not used is lost, as on a wire.
            credit = if self.queue.is_empty() {
                0.0
            } else {
                credit - served as f64
            };
            for lane in &mut self.lanes {
                lane.carry_back();
            }
            thread::sleep(TICK);
        }
    }

    /// Reads into the queue what there is room for, a piece of each lane in turn.
    fn fill(&mut self) {
        let mut without = 0;
        let mut piece = [0; PIECE];
        while self.queued < self.buffer && without < self.lanes.len() {
            let at = self.next % self.lanes.len();
            self.next = at + 1;
            let lane = &mut self.lanes[at];
            let room = (self.buffer - self.queued).min(PIECE);
            match lane.open[0].then(|| lane.near.read(&mut piece[..room])) {
                Some(Ok(count)) => {
                    lane.open[0] = count > 0;
                    self.queue
                        .push_back((at, piece[..count].iter().copied().collect()));
                    self.queued += count;
                    without = 0;
                }
                Some(Err(error)) => {
                    lane.open[0] = is_for_later(&error);
                    without += 1;
                }
                None => without += 1,
            }
        }
    }

    /// Lets this many bytes leave. Returns how many have left.
    fn serve(&mut self, most: usize) -> usize {
        let mut served = 0;
        while let Some((at, bytes)) = self.queue.front_mut() {
            let far = &mut self.lanes[*at].far;
            if bytes.is_empty() {
                let _ = far.shutdown(Shutdown::Write);
                self.queue.pop_front();
                continue;
            }
            let count = bytes.len().min(most - served);
            if count == 0 {
                break;
            }
            match far.write(&bytes.make_contiguous()[..count]) {
                Ok(count) => {
                    bytes.drain(..count);
                    served += count;
                    self.queued -= count;
                }
                Err(error) if is_for_later(&error) => break,
                Err(_) => {
                    self.queued -= bytes.len();
                    bytes.clear();
                }
            }
            if bytes.is_empty() {
                self.queue.pop_front();
            }
        }
        served
    }
}

impl Lane {
    fn open(near: TcpStream, target: SocketAddr) -> Result<Self> {
        let far = TcpStream::connect(target)?;
        SockRef::from(&far).set_send_buffer_size(SOCKET_BUFFER)?;
        for socket in [&near, &far] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
        }
        Ok(Self {
            near,
            far,
            back: VecDeque::new(),
            open: [true; 2],
        })
    }

    /// Passes on what the server sends, as fast as it can.
    fn carry_back(&mut self) {
        let mut piece = [0; 16 * 1024];
        while self.open[1] && self.back.is_empty() {
            match self.far.read(&mut piece) {
                Ok(0) => {
                    self.open[1] = false;
                    let _ = self.near.shutdown(Shutdown::Write);
                }
                Ok(count) => self.back.extend(&piece[..count]),
                Err(error) => {
                    self.open[1] = is_for_later(&error);
                    return;
                }
            }
            self.flush();
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.back.is_empty() {
            match self.near.write(self.back.make_contiguous()) {
                Ok(count) => drop(self.back.drain(..count)),
                Err(error) if is_for_later(&error) => return,
                Err(_) => self.back.clear(),
            }
        }
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
