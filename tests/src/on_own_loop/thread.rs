//! The thread that runs the loop, and how others have it do something.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Waker;
use std::thread;

use countersign_driver::Clock;
use own_loop::OwnLoop;

use super::world::World;

/// Something to do on the loop's thread, again after each turn until it says that it is done.
type Job = Box<dyn FnMut(&mut World) -> bool + Send>;

/// What time it is for all loops.
pub(super) static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::default);

/// The loops that all links of this backend share, in both roles and in all tests that run in
/// parallel. One would do, but a test that is about a time limit would then wait for others that
/// move megabytes.
static LOOPS: LazyLock<[Loop; 8]> = LazyLock::new(|| std::array::from_fn(|_| Loop::start()));

/// A loop's thread.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    queue: Arc<Queue>,
    waker: Waker,
}

#[derive(Default)]
struct Queue(Mutex<VecDeque<Job>>);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Loop {
    /// Whose turn it is to have one more link or listener.
    pub(super) fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        LOOPS[NEXT.fetch_add(1, Ordering::Relaxed) % LOOPS.len()].clone()
    }

    fn start() -> Self {
        let links = OwnLoop::new().unwrap();
        let this = Self {
            queue: Arc::default(),
            waker: links.waker(),
        };
        let (world, queue) = (World::new(links, this.clone()), this.queue.clone());
        let thread = thread::Builder::new().name("own-loop".to_owned());
        thread.spawn(move || run(world, &queue)).unwrap();
        this
    }

    fn push(&self, job: Job) {
        self.queue.lock().push_back(job);
        self.waker.wake_by_ref();
    }

    /// Has the loop's thread do something, and does not wait for it.
    pub(super) fn tell(&self, work: impl FnOnce(&mut World) + Send + 'static) {
        let mut work = Some(work);
        self.push(Box::new(move |world| {
            if let Some(work) = work.take() {
                work(world);
            }
            true
        }));
    }

    /// Waits for something that the loop's thread looks for after each turn.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        mut look: impl FnMut(&mut World) -> Option<T> + Send + 'static,
    ) -> T {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.push(Box::new(move |world| {
            let found = look(world);
            let done = found.is_some();
            // The caller waits for the answer.
            found
                .into_iter()
                .for_each(|found| sender.send(found).unwrap());
            done
        }));
        receiver.recv().expect("the loop's thread goes on")
    }

    /// Has the loop's thread do something, and waits for its result.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> T {
        let mut work = Some(work);
        self.wait(move |world| work.take().map(|work| work(world)))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop of the program that this backend stands for.
fn run(mut world: World, queue: &Queue) {
    let mut events = Vec::new();
    let mut waiting: Vec<Job> = Vec::new();
    loop {
        world.links.service(|| CLOCK.now(), &mut events).unwrap();
        world.now = CLOCK.now();
        for event in events.drain(..) {
            world.note(event);
        }
        waiting.extend(queue.lock().drain(..));
        waiting.retain_mut(|job| !job(&mut world));
        let deadline = world.deadline();
        let limit = deadline.map(|deadline| deadline.saturating_since(CLOCK.now()));
        world.links.wait(limit).unwrap();
    }
}
