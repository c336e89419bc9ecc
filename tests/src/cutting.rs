//! The mode in which connections are cut at random while a scenario runs.
//!
//! [`run`] puts a wrapper around a pair's backends. What the scenario sees are links as ever; under
//! each of them is a proxy that cuts its connection after a random number of bytes, several times.
//! Links are lasting in this mode, so no scenario may notice: messages arrive once and in order,
//! and verdicts are what they are without cuts.
//!
//! Two things are left alone, since a peer that returns can't repair them:
//! - The first handshake is cut only where the acceptor can't have finished it. If the acceptor's
//!   answer is sent and does not arrive, the acceptor has a link that its opener does not know of.
//! - Once a link is being closed, what the opener sends reaches the acceptor. An opener that has
//!   received and sent its last frame does not return to repeat it.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use countersign_core::EndReason;
use countersign_core::{CloseMode, CloseReason, Reconnect, Timeouts};
use countersign_driver::{
    AcceptError, ChannelError, Drained, Limits, LinkError, LinkEvent, Report, Setup,
};
use countersign_endpoint::Fingerprint;
use socket2::SockRef;

use crate::backend::{Backend, Lease, Link, Listener, ManualReceiver, Receiver, Sender, Standing};
use crate::pair::loopback;
use crate::relay::{self, Direction, Pass, Relay, Rules};
use crate::size::TESTS;
use crate::{Pair, Transport, watch_as};

/// The environment variable that names the seed.
pub const SEED: &str = "COUNTERSIGN_CUTS";

/// How often one link is cut, at most.
const CUTS: u64 = 8;
/// After how many bytes, in both directions together.
const BYTES: std::ops::Range<f64> = 24.0..400_000.0;
/// How long links that a test leaves behind may take to end.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Runs a scenario with cuts. Returns how many there were and how many there would have been with
/// enough bytes. `name` is the test's.
pub fn run(name: &str, pair: Pair, scenario: fn(&Pair)) -> [u64; 2] {
    let seed = seed();
    let replay = format!(
        "replay: {SEED}={seed} {TESTS}=all cargo test -p countersign-tests --test suites -- --exact {name}"
    );
    let plan = Arc::new(Plan {
        seed: name
            .bytes()
            .fold(seed, |seed, byte| mix(seed ^ u64::from(byte))),
        transport: pair.transport,
        state: Mutex::default(),
    });
    let cut = |backend| {
        let plan = plan.clone();
        let backend: &'static dyn Backend = Box::leak(Box::new(Cutting { backend, plan }));
        backend
    };
    let pair = Pair {
        client: cut(pair.client),
        server: cut(pair.server),
        ..pair
    };
    let watched = || watch_as(name, move || scenario(&pair));
    let ran = catch_unwind(AssertUnwindSafe(watched));
    let [cuts, planned] = plan.finish();
    if let Err(panic) = ran {
        eprintln!("{name}: {cuts} of {planned} cuts\n{replay}");
        resume_unwind(panic);
    }
    [cuts, planned]
}

fn seed() -> u64 {
    match env::var(SEED) {
        Ok(seed) => seed.parse().expect("a seed is a number"),
        // A moderate one is easier to copy.
        Err(_) => RandomState::new().hash_one(0) % 1_000_000,
    }
}

/// One step of `SplitMix64`.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// From one to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        1 + self.next() % most
    }

    /// Draws small figures as often as large ones.
    fn bytes(&mut self) -> u64 {
        let even = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let (least, most) = (BYTES.start.ln(), BYTES.end.ln());
        (least + even * (most - least)).exp() as u64
    }
}

/// What happens to the connections of one test.
#[derive(Debug)]
struct Plan {
    seed: u64,
    transport: Transport,
    state: Mutex<PlanState>,
}

#[derive(Debug, Default)]
struct PlanState {
    /// By the order in which their links were opened.
    cutters: Vec<Arc<Relay<Cutter>>>,
    /// Kept while the test runs, for peers that return.
    listeners: Vec<Kept>,
    /// Links opened before this one are being closed, as far as we know.
    closing: usize,
    /// Makes no more cuts.
    over: bool,
    cuts: u64,
    planned: u64,
}

struct Kept(#[expect(dead_code, reason = "it is there to be kept")] Arc<dyn Listener>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Plan {
    fn lock(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the current links is about to be closed.
    fn begin_close(&self) {
        let mut state = self.lock();
        state.closing = state.cutters.len();
    }

    fn is_closing(&self, number: usize) -> bool {
        number < self.lock().closing
    }

    /// Makes no more cuts; what goes on in the background may take a little longer.
    fn finish(&self) -> [u64; 2] {
        let mut state = self.lock();
        state.over = true;
        let left = (
            std::mem::take(&mut state.cutters),
            std::mem::take(&mut state.listeners),
        );
        thread::spawn(move || {
            thread::sleep(AFTERWARDS);
            drop(left);
        });
        [state.cuts, state.planned]
    }

    /// Makes a proxy for one link.
    fn cutter(self: &Arc<Self>, target: SocketAddr) -> Arc<Relay<Cutter>> {
        let listener = TcpListener::bind(loopback()).unwrap();
        let mut state = self.lock();
        let number = state.cutters.len();
        let mut random = Random(mix(self.seed ^ number as u64));
        let cuts = random.up_to(CUTS);
        let cutter = Cutter {
            plan: self.clone(),
            number,
            target,
            state: Mutex::new(CutterState {
                random,
                cuts,
                armed: false,
            }),
        };
        let cutter = Arc::new(Relay::new(listener, cutter).unwrap());
        state.cutters.push(cutter.clone());
        state.planned += cuts;
        cutter
    }
}

/// Cuts the connections of one link.
#[derive(Debug)]
struct Cutter {
    plan: Arc<Plan>,
    number: usize,
    target: SocketAddr,
    state: Mutex<CutterState>,
}

#[derive(Debug)]
struct CutterState {
    random: Random,
    /// How many cuts are left.
    cuts: u64,
    /// The link is up.
    armed: bool,
}

type Connection = relay::Connection<Mutex<Fate>>;

/// The fate of one connection.
#[derive(Debug, Default)]
struct Fate {
    /// How many of the opener's bytes may pass before the link is up, if not all.
    early: Option<u64>,
    /// How many bytes may pass after that, if not all.
    left: Option<u64>,
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Nothing passes any more, and both ends read to an end.
    Both,
    /// Nothing passes any more, and both ends learn that the connection was reset.
    Reset,
    /// The opener learns that the connection has ended, and what it has sent still arrives.
    Down,
}

fn fate(of: &Connection) -> MutexGuard<'_, Fate> {
    of.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cutter {
    fn lock(&self) -> MutexGuard<'_, CutterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link is up: from here on its connections can be cut anywhere.
    fn arm(&self) {
        self.lock().armed = true;
    }

    /// Returns how many of `count` bytes pass. What is decided here about the connection's end is
    /// done once they have.
    fn passes(&self, of: &Connection, direction: Direction, count: usize) -> usize {
        let mut state = fate(of);
        match (state.cut, direction) {
            (None, _) => {}
            (Some(Cut::Down), Direction::Up) => return count,
            (Some(_), _) => return 0,
        }
        let mut link = self.lock();
        let left = match (link.armed, direction) {
            (true, _) => &mut state.left,
            (false, Direction::Up) => &mut state.early,
            (false, Direction::Down) => return count,
        };
        let (Some(left), false) = (left, self.plan.lock().over) else {
            return count;
        };
        let passes = count.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= passes as u64;
        if *left > 0 {
            return passes;
        }
        if link.armed {
            link.cuts = link.cuts.saturating_sub(1);
            self.plan.lock().cuts += 1;
        }
        if self.plan.is_closing(self.number) {
            state.cut = Some(Cut::Down);
            return match direction {
                Direction::Up => count,
                Direction::Down => passes,
            };
        }
        let cuts = [Cut::Both, Cut::Reset];
        state.cut = Some(cuts[usize::from(link.random.up_to(2) == 1)]);
        passes
    }
}

impl Rules for Cutter {
    type State = Mutex<Fate>;
    const PIECE: usize = 64 * 1024;

    fn target(&self) -> Option<SocketAddr> {
        Some(self.target)
    }

    fn begin(&self, connection: &Arc<Connection>, _: SocketAddr) -> bool {
        let mut state = self.lock();
        let mut fate = fate(connection);
        if !state.armed && state.random.up_to(2) == 1 {
            // Less than an acceptor must receive before it lets an opener in.
            let most = match self.plan.transport {
                Transport::Plain => 40,
                Transport::Tls => 1000,
            };
            fate.early = Some(state.random.up_to(most));
        }
        fate.left = (state.cuts > 0).then(|| state.random.bytes());
        true
    }

    fn pass(&self, of: &Connection, direction: Direction, count: usize) -> Pass {
        Pass::Only(self.passes(of, direction, count))
    }

    /// Ends what has been cut.
    fn passed(&self, of: &Connection, _: Direction, _: usize, _: io::Result<()>) {
        match fate(of).cut {
            None => {}
            Some(Cut::Both) => of.sever(),
            Some(Cut::Reset) => {
                for socket in [&of.near, &of.far] {
                    // So that closing it resets it; and reading from it comes to an end.
                    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                    let _ = socket.shutdown(Shutdown::Read);
                }
            }
            Some(Cut::Down) => {
                let _ = of.near.shutdown(Shutdown::Write);
            }
        }
    }

    fn end(&self, of: &Connection, direction: Direction) {
        let cut = fate(of).cut;
        if cut == Some(Cut::Reset) {
            return;
        }
        let (_, to) = of.sockets(direction);
        let _ = to.shutdown(Shutdown::Write);
        if direction == Direction::Up && cut.is_some() {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    /// What is under way ends by itself.
    fn close(&self) {}
}

/// A backend whose links are lasting, and cut.
#[derive(Clone)]
struct Cutting {
    backend: &'static dyn Backend,
    plan: Arc<Plan>,
}

/// The same declaration for a link that outlives its connections.
fn lasting(setup: &Setup) -> Setup {
    let timeouts = Timeouts {
        retain: Timeouts::default().retain,
        ..*setup.config().get_timeouts()
    };
    let reconnect = Reconnect {
        first_delay: Duration::from_millis(2),
        longest_delay: Duration::from_millis(50),
        ..Reconnect::default()
    };
    let config = setup.config().clone().timeouts(timeouts);
    Setup::new(config.reconnect(reconnect), setup.security().clone()).unwrap()
}

impl Backend for Cutting {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let listener = self.backend.listen(address, lasting(&setup), limits);
        let listener: Arc<dyn Listener> = listener.into();
        self.plan.lock().listeners.push(Kept(listener.clone()));
        Box::new(CutListener {
            listener,
            plan: self.plan.clone(),
        })
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let cutter = self.plan.cutter(address);
        let link = self.backend.connect(cutter.address(), &lasting(setup))?;
        cutter.rules().arm();
        Ok(Box::new(CutLink {
            link,
            plan: self.plan.clone(),
        }))
    }
}

struct CutListener {
    listener: Arc<dyn Listener>,
    plan: Arc<Plan>,
}

impl Listener for CutListener {
    fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        loop {
            match self.listener.accept() {
                Ok(link) => {
                    let plan = self.plan.clone();
                    return Ok(Box::new(CutLink { link, plan }));
                }
                Err(error) if was_cut(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn drain(&self, limit: Duration) -> Drained {
        self.listener.drain(limit)
    }

    /// Scenarios in this mode have no use for the address afterwards.
    fn close(self: Box<Self>) {
        drop(self);
    }
}

/// Returns whether that was a handshake that we have cut.
fn was_cut(error: &AcceptError) -> bool {
    let lost = matches!(error.error().reason(), EndReason::Lost(_));
    lost && error.error().can_retry()
}

struct CutLink {
    link: Box<dyn Link>,
    plan: Arc<Plan>,
}

impl Link for CutLink {
    fn sender(&self, name: &str) -> Result<Box<dyn Sender>, ChannelError> {
        self.link.sender(name)
    }
    fn receiver(&self, name: &str) -> Result<Box<dyn Receiver>, ChannelError> {
        self.link.receiver(name)
    }
    fn manual_receiver(&self, name: &str) -> Result<Box<dyn ManualReceiver>, ChannelError> {
        self.link.manual_receiver(name)
    }
    fn lease(&self, name: &str) -> Result<Box<dyn Lease>, ChannelError> {
        self.link.lease(name)
    }
    fn peer(&self) -> Option<Fingerprint> {
        self.link.peer()
    }
    fn peer_name(&self) -> Option<Arc<str>> {
        self.link.peer_name()
    }
    fn report(&self) -> Report {
        self.link.report()
    }
    fn status(&self) -> Standing {
        self.link.status()
    }
    fn connect_now(&self) -> bool {
        self.link.connect_now()
    }
    fn end_reason(&self) -> Option<LinkError> {
        self.link.end_reason()
    }
    fn event(&self) -> Option<LinkEvent> {
        loop {
            match self.link.event() {
                Some(LinkEvent::Lost { .. } | LinkEvent::Resumed) => {}
                Some(LinkEvent::SessionLost(why)) => panic!("a session was lost: {why}"),
                event => return event,
            }
        }
    }
    fn ended(&self) -> Report {
        self.link.ended()
    }
    fn close(&self, mode: CloseMode) -> Report {
        self.plan.begin_close();
        self.link.close(mode)
    }
    fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
        self.plan.begin_close();
        self.link.close_with(mode, reason)
    }
    fn start_close(&self, mode: CloseMode) {
        self.plan.begin_close();
        self.link.start_close(mode);
    }
    fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
        self.plan.begin_close();
        self.link.start_close_with(mode, reason);
    }
    fn peer_closes(&self) -> Option<CloseReason> {
        self.link.peer_closes()
    }
}

impl Drop for CutLink {
    /// The link is closed when the last of its handles is dropped.
    fn drop(&mut self) {
        self.plan.begin_close();
    }
}
