//! Several tasks that wait for links of the same listener. Nothing here waits: everything is polled
//! by hand.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use countersign_core::{ChannelConfig, Config, ReceiveChannel, Role, SendChannel};
use countersign_driver::{Connecting, Limits, Link, Listener, Memory, Setup, Timer, memory, serve};
use countersign_endpoint::Security;
use countersign_tests::memory::poll_once;
use futures_util::StreamExt;
use futures_util::stream::FusedStream;

/// Counts how often it is woken.
#[derive(Default)]
struct Task(AtomicU64);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn woken(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(self.clone());
        future.poll(&mut Context::from_waker(&waker))
    }
}

/// A clock that stands still.
struct Never;

impl Timer for Never {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    let config = Config::new().channel(channel).single_connection();
    Setup::new(config, Security::plaintext()).unwrap()
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// What runs a listener, and connections on their way to it.
struct World {
    work: Vec<Work>,
    arriving: Rc<RefCell<VecDeque<Memory>>>,
    started: Rc<RefCell<Vec<Work>>>,
}

impl World {
    fn new() -> (Listener<()>, Self) {
        let receive = setup(ReceiveChannel::new("data"));
        let (listener, doors) = Listener::new((), receive, Limits::default());
        let arriving = Rc::<RefCell<VecDeque<Memory>>>::default();
        let started = Rc::<RefCell<Vec<Work>>>::default();
        let (from, to) = (arriving.clone(), started.clone());
        let accept = move || {
            let from = from.clone();
            poll_fn(move |_| match from.borrow_mut().pop_front() {
                Some(wire) => Poll::Ready(Ok((wire, None))),
                None => Poll::Pending,
            })
        };
        let start = move |wire, pending: countersign_driver::PendingConnection| {
            let served = pending.serve(wire)?;
            to.borrow_mut().push(Box::pin(served.run(Never)));
            Ok(())
        };
        let world = Self {
            work: vec![Box::pin(async {
                drop(serve(doors, accept, start, || Never).await);
            })],
            arriving,
            started,
        };
        (listener, world)
    }

    /// Opens `count` links, and runs everything until they are up at both ends.
    fn open(&mut self, count: usize) -> Vec<Link> {
        let mut opening = Vec::new();
        for _ in 0..count {
            let (near, far) = memory();
            let send = setup(SendChannel::new("data"));
            let (connecting, driver) = Connecting::over(&send, Role::Opener, near).unwrap();
            self.work.push(Box::pin(driver.run(Never)));
            self.arriving.borrow_mut().push_back(far);
            opening.push(Box::pin(connecting));
        }
        // More rounds than are ever needed.
        for _ in 0..100 {
            self.work.append(&mut self.started.borrow_mut());
            self.work.retain_mut(|work| poll_once(work).is_pending());
        }
        let opened = opening.iter_mut().map(poll_once);
        let links = opened.map(|polled| match polled {
            Poll::Ready(link) => link.unwrap(),
            Poll::Pending => panic!("a link is not up"),
        });
        links.collect()
    }
}

#[test]
fn each_link_wakes_one_who_waits_for_it() {
    let (listener, mut world) = World::new();
    let tasks: Vec<_> = (0..3).map(|_| Arc::<Task>::default()).collect();
    let mut accepts: Vec<_> = tasks.iter().map(|_| Box::pin(listener.accept())).collect();
    for (task, accept) in tasks.iter().zip(&mut accepts) {
        assert!(task.poll(accept.as_mut()).is_pending());
    }
    // All links are up before any of the waiting tasks is polled.
    let _opened = world.open(3);
    assert!(tasks.iter().all(|task| task.woken() > 0));
    for (task, accept) in tasks.iter().zip(&mut accepts) {
        assert!(matches!(task.poll(accept.as_mut()), Poll::Ready(Ok(_))));
    }
}

#[test]
fn a_link_whose_accept_was_dropped_wakes_another() {
    let (listener, mut world) = World::new();
    let [first, second] = [Arc::<Task>::default(), Arc::default()];
    let mut accepts = [Box::pin(listener.accept()), Box::pin(listener.accept())];
    for (task, accept) in [&first, &second].into_iter().zip(&mut accepts) {
        assert!(task.poll(accept.as_mut()).is_pending());
    }
    let _opened = world.open(1);
    let [woken, mut other] = accepts;
    drop(woken);
    assert!(second.woken() > 0);
    assert!(matches!(second.poll(other.as_mut()), Poll::Ready(Ok(_))));
}

#[test]
fn links_come_as_a_stream_until_the_listener_is_closed() {
    let (listener, mut world) = World::new();
    let task = Arc::<Task>::default();
    let mut incoming = listener.incoming();
    assert!(task.poll(pin!(incoming.next())).is_pending());
    let _opened = world.open(2);
    assert!(task.woken() > 0);
    for _ in 0..2 {
        let next = task.poll(pin!(incoming.next()));
        assert!(matches!(next, Poll::Ready(Some(Ok(_)))));
    }
    assert!(task.poll(pin!(incoming.next())).is_pending());
    assert!(!incoming.is_terminated());
    let woken = task.woken();
    let mut closing = Box::pin(listener.close());
    assert!(poll_once(&mut closing).is_pending());
    assert!(task.woken() > woken);
    assert!(matches!(
        task.poll(pin!(incoming.next())),
        Poll::Ready(None)
    ));
    assert!(incoming.is_terminated());
    assert!(matches!(
        task.poll(pin!(incoming.next())),
        Poll::Ready(None)
    ));
    let _ = world.open(0);
    assert!(poll_once(&mut closing).is_ready());
}

#[test]
fn a_stream_that_nobody_polls_keeps_no_link_from_others() {
    let (listener, mut world) = World::new();
    let [first, second] = [Arc::<Task>::default(), Arc::default()];
    let mut incoming = listener.incoming();
    // As where another branch of a select was the faster one.
    assert!(first.poll(pin!(incoming.next())).is_pending());
    let mut accept = Box::pin(listener.accept());
    assert!(second.poll(accept.as_mut()).is_pending());
    let _opened = world.open(1);
    assert!(second.woken() > 0);
    assert!(matches!(second.poll(accept.as_mut()), Poll::Ready(Ok(_))));
    drop(incoming);
}
