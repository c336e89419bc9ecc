//! A bad network between two machines: what passes is delayed, lost, overtaken and held back.
//!
//! Linux's own emulator (netem) is not in every kernel. This one works on packets too, below TCP,
//! and needs nothing but a device for each machine; its choices follow from a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tun_rs::SyncDevice;

/// Longer than any packet.
const PACKET: usize = 65_536;

/// What becomes of packets, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// How long a packet is under way, at least.
    pub delay: Duration,
    /// How much longer it may be.
    pub jitter: Duration,
    /// How many in ten thousand are lost.
    pub lost: u32,
    /// How many in ten thousand go ahead of those before them.
    pub overtaking: u32,
    /// How many bytes pass in a second.
    pub rate: u64,
    /// How many bytes wait for their turn at most; what comes then is lost.
    pub queue: usize,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By when they leave, and by when they came.
    packets: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    waiting: usize,
    count: u64,
    /// Nothing leaves.
    stalled: bool,
    /// The device that they come from is gone.
    closed: bool,
}

/// What is between two machines, in both directions.
#[derive(Debug, Default)]
pub struct Air {
    /// From the first machine, and from the second.
    lanes: [Arc<Lane>; 2],
}

impl Air {
    /// Carries packets between two devices until they are gone.
    pub fn carry(&self, devices: [SyncDevice; 2], quality: Quality, seed: u64) {
        let [first, second] = devices.map(Arc::new);
        let ways = [(first.clone(), second.clone()), (second, first)];
        for (number, (lane, (from, to))) in (0..).zip(self.lanes.iter().zip(ways)) {
            let rng = Rng::with_seed(seed.wrapping_add(number));
            let (entrance, exit) = (lane.clone(), lane.clone());
            thread::spawn(move || entrance.take_in(&from, quality, rng));
            thread::spawn(move || exit.let_out(&to));
        }
    }

    /// Keeps back what comes from one of the two machines, or lets all of it arrive at once: it is as
    /// old then as the stall was long.
    pub fn stall(&self, from: usize, stalled: bool) {
        let lane = &self.lanes[from];
        lane.lock().stalled = stalled;
        lane.changed.notify_one();
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, device: &SyncDevice, quality: Quality, mut rng: Rng) {
        let mut buffer = vec![0; PACKET];
        // When the last byte before has been sent.
        let mut free = Instant::now();
        loop {
            let length = match device.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if is_down(&error) => {
                    // There is no event to wait for: a device does not report that it is up again.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(_) => break,
            };
            let mut state = self.lock();
            if rng.u32(..10_000) < quality.lost || state.waiting + length > quality.queue {
                continue;
            }
            let now = Instant::now();
            let sending = Duration::from_nanos(length as u64 * 1_000_000_000 / quality.rate);
            free = free.max(now) + sending;
            let jitter = quality.jitter.mul_f64(rng.f64());
            let leaves = if rng.u32(..10_000) < quality.overtaking {
                free
            } else {
                free + quality.delay + jitter
            };
            state.count += 1;
            state.waiting += length;
            let packet = (leaves, state.count, buffer[..length].to_vec());
            state.packets.push(Reverse(packet));
            self.changed.notify_one();
        }
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn let_out(&self, device: &SyncDevice) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let goes = !state.stalled || state.closed;
            let next = state.packets.peek().filter(|_| goes);
            let left = next.map(|Reverse((leaves, ..))| leaves.saturating_duration_since(now));
            match left {
                None if state.closed => return,
                None => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Some(left) if !left.is_zero() => {
                    let waited = self.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => {
                    let Some(Reverse((_, _, packet))) = state.packets.pop() else {
                        continue;
                    };
                    state.waiting -= packet.len();
                    drop(state);
                    // To a device that is down, it is lost.
                    let _ = device.send(&packet);
                    state = self.lock();
                }
            }
        }
    }
}

/// Whether a device will bring packets again, but not now: reading from one that is down gives this
/// error.
fn is_down(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}
