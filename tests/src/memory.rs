//! Two ends in memory, driven by hand: no socket, no thread, and every call is counted.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use countersign_core::Role;
use countersign_driver::{
    Connecting, Dial, Driver, Limits, Link, Listener, READ, Served, Setup, Timer, Transport, serve,
};
use countersign_endpoint::Buffer;

/// How much one direction holds, unless told otherwise.
pub const CAPACITY: usize = 64 * 1024;

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn holding(capacity: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            bytes: VecDeque::new(),
            capacity,
            ended: false,
            reader: None,
            writer: None,
        }))
    }
}

/// One end of a connection in memory.
#[derive(Debug)]
pub struct Wire {
    reads: Arc<Mutex<Pipe>>,
    writes: Arc<Mutex<Pipe>>,
    calls: Arc<AtomicU64>,
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Alarm(AtomicU64);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Transport for Wire {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut pipe = self.reads.lock().unwrap();
        let count = pipe.bytes.len().min(READ);
        if count == 0 && !pipe.ended {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        for (place, byte) in buffer.space(READ).iter_mut().zip(pipe.bytes.drain(..count)) {
            *place = byte;
        }
        buffer.commit(count);
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut pipe = self.writes.lock().unwrap();
        let room = pipe.capacity - pipe.bytes.len();
        let count = buffer.filled().len().min(room);
        if count == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&buffer.filled()[..count]);
        buffer.consume(count);
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut pipe = self.writes.lock().unwrap();
        pipe.ended = true;
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

/// A transport that is dropped ends its direction.
impl Drop for Wire {
    fn drop(&mut self) {
        let mut pipe = self.writes.lock().unwrap();
        pipe.ended = true;
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }
}

/// A driver, however it gets its connections.
pub trait Drive: Debug + Send {
    /// As [`Driver::poll`].
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// As [`Driver::deadline`].
    fn deadline(&self) -> Option<Instant>;
}

impl<D: Dial<Transport: Debug + Send> + Send> Drive for Driver<D> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Self::poll(self, context)
    }

    fn deadline(&self) -> Option<Instant> {
        Self::deadline(self)
    }
}

/// One end: its driver, and how often that was woken and polled.
#[derive(Debug)]
pub struct End {
    /// The driver, until it is done.
    pub driver: Option<Box<dyn Drive>>,
    alarm: Arc<Alarm>,
    calls: Arc<AtomicU64>,
    /// How many of the wakes have been answered.
    answered: u64,
    /// How often the driver was polled.
    pub polls: u64,
}

impl End {
    fn new(setup: &Setup, role: Role, wire: Wire) -> (Connecting, Self) {
        let calls = wire.calls.clone();
        let (connecting, driver) = Connecting::over(setup, role, wire).unwrap();
        (connecting, Self::of(driver, calls))
    }

    fn of(driver: impl Drive + 'static, calls: Arc<AtomicU64>) -> Self {
        // Woken once, as every new task is.
        Self {
            driver: Some(Box::new(driver)),
            alarm: Arc::new(Alarm(AtomicU64::new(1))),
            calls,
            answered: 0,
            polls: 0,
        }
    }

    /// Returns how often the transport was called.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Polls the driver if it was woken since, and returns whether it was. As a runtime does, it
    /// asks for the deadline after every poll.
    pub fn run_if_woken(&mut self) -> bool {
        let woken = self.alarm.0.load(Ordering::SeqCst);
        if woken == self.answered {
            return false;
        }
        self.answered = woken;
        self.run();
        true
    }

    /// Polls the driver, as at its deadline.
    pub fn run(&mut self) {
        let Some(driver) = &mut self.driver else {
            return;
        };
        self.polls += 1;
        let waker = Waker::from(self.alarm.clone());
        if driver.poll(&mut Context::from_waker(&waker)).is_ready() {
            self.driver = None;
        } else {
            let _ = driver.deadline();
        }
    }
}

/// Runs all ends until none was woken.
pub fn settle(ends: &mut [End]) {
    loop {
        let ran = ends.iter_mut().map(End::run_if_woken);
        if ran.filter(|ran| *ran).count() == 0 {
            return;
        }
    }
}

/// What runs beside the drivers.
pub type Work = Pin<Box<dyn Future<Output = ()>>>;

/// One piece of work, and how often it was woken.
struct Task {
    work: Option<Work>,
    alarm: Arc<Alarm>,
    answered: u64,
}

impl Task {
    fn run_if_woken(&mut self) -> bool {
        let woken = self.alarm.0.load(Ordering::SeqCst);
        if self.work.is_none() || woken == self.answered {
            return false;
        }
        self.answered = woken;
        self.run();
        true
    }

    fn run(&mut self) {
        let Some(work) = &mut self.work else {
            return;
        };
        let waker = Waker::from(self.alarm.clone());
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.work = None;
        }
    }
}

/// When work is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// When it was woken, and never otherwise.
    WhenWoken,
    /// Also, needlessly, in every round in which anything else happens.
    Often,
}

/// Runs work beside the drivers until all of it is done. Each piece is a separate task.
///
/// # Errors
///
/// The pieces that are not done, if no task is awake any more.
pub fn run(ends: &mut [End], work: Vec<Work>, polling: Polling) -> Result<(), Vec<usize>> {
    let task = |work| Task {
        work: Some(work),
        alarm: Arc::new(Alarm(AtomicU64::new(1))),
        answered: 0,
    };
    let mut tasks: Vec<_> = work.into_iter().map(task).collect();
    loop {
        let mut ran = false;
        for end in &mut *ends {
            ran |= end.run_if_woken();
        }
        for task in &mut tasks {
            ran |= task.run_if_woken();
        }
        let left = (0..).zip(&tasks).filter(|(_, task)| task.work.is_some());
        let left: Vec<_> = left.map(|(at, _)| at).collect();
        if left.is_empty() {
            return Ok(());
        }
        if !ran {
            return Err(left);
        }
        if polling == Polling::Often {
            tasks.iter_mut().for_each(Task::run);
        }
    }
}

/// Polls a future once.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets other tasks run: pending once, and woken at once.
pub fn turn() -> impl Future<Output = ()> {
    let mut waited = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Returns two links over a connection in memory, and their drivers.
#[must_use]
pub fn link(client: &Setup, server: &Setup) -> ([Link; 2], [End; 2]) {
    link_over(CAPACITY, client, server)
}

/// Returns the same over a connection that holds this many bytes in each direction.
#[must_use]
pub fn link_over(capacity: usize, client: &Setup, server: &Setup) -> ([Link; 2], [End; 2]) {
    let (connecting, mut ends) = connecting_over(wires(capacity), client, server);
    settle(&mut ends);
    (connecting.map(connected), ends)
}

/// The same, before anything has happened.
pub fn connecting(client: &Setup, server: &Setup) -> ([Connecting; 2], [End; 2]) {
    connecting_over(wires(CAPACITY), client, server)
}

fn connecting_over(
    wires: [Wire; 2],
    client: &Setup,
    server: &Setup,
) -> ([Connecting; 2], [End; 2]) {
    let [near, far] = wires;
    let (opening, opener) = End::new(client, Role::Opener, near);
    let (accepting, acceptor) = End::new(server, Role::Acceptor, far);
    ([opening, accepting], [opener, acceptor])
}

/// Returns the two ends of a connection.
fn wires(capacity: usize) -> [Wire; 2] {
    let [up, down] = [Pipe::holding(capacity), Pipe::holding(capacity)];
    let wire = |reads: &Arc<Mutex<Pipe>>, writes: &Arc<Mutex<Pipe>>| Wire {
        reads: reads.clone(),
        writes: writes.clone(),
        calls: Arc::default(),
    };
    [wire(&down, &up), wire(&up, &down)]
}

/// What becomes of attempts to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// A connection.
    #[default]
    Connects,
    /// An error, at once.
    Refuses,
    /// Nothing, for now.
    Keeps,
}

/// Where an opener's connections lead to.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<NetworkState>>);

#[derive(Debug, Default)]
struct NetworkState {
    answer: Answer,
    attempts: u64,
    /// Those that wait for an answer.
    waiting: Vec<Waker>,
    /// The acceptor's ends of connections that are not accepted yet.
    arrived: VecDeque<Wire>,
    pipes: Vec<Arc<Mutex<Pipe>>>,
    /// How often the opener's ends were called.
    calls: Arc<AtomicU64>,
}

impl Network {
    /// Sets the result of later attempts, and of those that wait.
    pub fn answer(&self, answer: Answer) {
        let mut state = self.0.lock().unwrap();
        state.answer = answer;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Returns how many attempts to connect there were.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.0.lock().unwrap().attempts
    }

    /// Ends all current connections.
    pub fn cut(&self) {
        let pipes = std::mem::take(&mut self.0.lock().unwrap().pipes);
        for pipe in pipes {
            let mut pipe = pipe.lock().unwrap();
            pipe.ended = true;
            pipe.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Makes an opener that connects here.
    pub fn dial(&self, setup: &Setup) -> (Connecting, End) {
        let network = self.clone();
        let open = move || {
            let network = network.clone();
            network.0.lock().unwrap().attempts += 1;
            std::future::poll_fn(move |context| network.connect(context))
        };
        let (connecting, driver) = Connecting::dial(setup, open).unwrap();
        let calls = self.0.lock().unwrap().calls.clone();
        (connecting, End::of(driver, calls))
    }

    fn connect(&self, context: &mut Context<'_>) -> Poll<io::Result<Wire>> {
        let mut state = self.0.lock().unwrap();
        match state.answer {
            Answer::Refuses => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Answer::Keeps => {
                state.waiting.push(context.waker().clone());
                Poll::Pending
            }
            Answer::Connects => {
                let [mut near, far] = wires(CAPACITY);
                near.calls = state.calls.clone();
                state.pipes.extend([near.reads.clone(), far.reads.clone()]);
                state.arrived.push_back(far);
                Poll::Ready(Ok(near))
            }
        }
    }

    /// Has a listener accept the connection that has waited longest.
    pub fn accept(&self, listening: &Listening) -> End {
        let arrived = self.0.lock().unwrap().arrived.pop_front();
        let wire = arrived.expect("a connection");
        let calls = wire.calls.clone();
        End::of(Accepted::new(listening.serve(wire)), calls)
    }
}

/// A listener, and the task that accepts its connections.
pub struct Listening {
    /// The application's handle.
    pub listener: Listener<()>,
    arriving: Arc<Mutex<VecDeque<Wire>>>,
    served: Arc<Mutex<Option<Served<Wire>>>>,
    task: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl Listening {
    /// Makes a listener whose links have this setup.
    #[must_use]
    pub fn new(setup: Setup, limits: Limits) -> Self {
        let (listener, task) = Listener::new((), setup, limits);
        let arriving = Arc::<Mutex<VecDeque<Wire>>>::default();
        let served = Arc::<Mutex<Option<Served<Wire>>>>::default();
        let (arrivals, serves) = (arriving.clone(), served.clone());
        // Polled by hand when something has arrived, so no waker is needed.
        let accept = move || {
            let arrivals = arrivals.clone();
            std::future::poll_fn(move |_| match arrivals.lock().unwrap().pop_front() {
                Some(wire) => Poll::Ready(Ok((wire, None))),
                None => Poll::Pending,
            })
        };
        let start = move |wire, pending: countersign_driver::PendingConnection| {
            *serves.lock().unwrap() = Some(pending.serve(wire)?);
            Ok(())
        };
        let task = async move { drop(serve(task, accept, start, Deadline::default).await) };
        Self {
            listener,
            arriving,
            served,
            task: Mutex::new(Box::pin(task)),
        }
    }

    fn serve(&self, wire: Wire) -> Served<Wire> {
        self.arriving.lock().unwrap().push_back(wire);
        assert!(poll_once(&mut *self.task.lock().unwrap()).is_pending());
        self.served.lock().unwrap().take().expect("it is accepted")
    }

    /// Returns the next link, which must have arrived.
    #[must_use]
    pub fn accepted(&self) -> Link {
        match poll_once(&mut Box::pin(self.listener.accept())) {
            Poll::Ready(link) => link.unwrap(),
            Poll::Pending => panic!("no link has come"),
        }
    }
}

/// The deadline that was asked for last; it is never waited for.
#[derive(Clone, Debug, Default)]
struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Timer for Deadline {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        *self.0.lock().unwrap() = Some(deadline);
        match deadline <= Instant::now() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// What drives a connection that a listener has accepted.
struct Accepted {
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
    deadline: Deadline,
}

impl Accepted {
    fn new(served: Served<Wire>) -> Self {
        let deadline = Deadline::default();
        let run = Box::pin(served.run(deadline.clone()));
        Self { run, deadline }
    }
}

impl Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").finish_non_exhaustive()
    }
}

impl Drive for Accepted {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        *self.deadline.0.lock().unwrap() = None;
        self.run.as_mut().poll(context)
    }

    fn deadline(&self) -> Option<Instant> {
        *self.deadline.0.lock().unwrap()
    }
}

/// Returns the link, which must be up.
#[must_use]
pub fn connected(connecting: Connecting) -> Link {
    match poll_once(&mut Box::pin(connecting)) {
        Poll::Ready(link) => link.unwrap(),
        Poll::Pending => panic!("the link is not up"),
    }
}
