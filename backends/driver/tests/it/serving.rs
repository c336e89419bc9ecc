//! What a listener does when the system has nothing more to give.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use countersign_core::{Config, ReceiveChannel};
use countersign_driver::{
    Limits, Listener, Memory, PendingConnection, Setup, Timer, memory, serve,
};
use countersign_endpoint::Security;

/// Goes off at once, and keeps how long it would have taken.
struct Pauses<'a>(&'a RefCell<Vec<Duration>>);

impl Timer for Pauses<'_> {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let pause = deadline.saturating_duration_since(Instant::now());
        self.0.borrow_mut().push(pause);
        Poll::Ready(())
    }
}

fn setup() -> Setup {
    let config = Config::new().channel(ReceiveChannel::new("data"));
    Setup::new(config, Security::plaintext()).unwrap()
}

fn out_of_files() -> io::Error {
    io::Error::other("too many open files")
}

type Accepted = io::Result<(Memory, Option<SocketAddr>)>;

/// Serves what `accept` gives until that is `None`; the pauses.
fn pauses(
    accept: impl Fn(u32) -> Option<Accepted>,
    start: impl FnMut(Memory, PendingConnection) -> io::Result<()>,
) -> Vec<Duration> {
    let pauses = RefCell::default();
    let calls = Cell::new(0);
    let (_listener, doors) = Listener::new((), setup(), Limits::default());
    let accept = || {
        poll_fn(|_| {
            let call = calls.replace(calls.get() + 1);
            accept(call).map_or(Poll::Pending, Poll::Ready)
        })
    };
    let mut serving = pin!(serve(doors, accept, start, || Pauses(&pauses)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(serving.as_mut().poll(&mut context).is_pending());
    pauses.take()
}

/// Whether each pause is about as long as it should be: nearly all of it was left when it began.
fn assert_are(pauses: &[Duration], millis: &[u64]) {
    assert_eq!(pauses.len(), millis.len(), "{pauses:?}");
    for (pause, millis) in pauses.iter().zip(millis) {
        assert!(*pause <= Duration::from_millis(*millis), "{pauses:?}");
    }
    // They grow, whatever the machine does in between.
    assert!(pauses.last() > pauses.first());
}

#[test]
fn pauses_grow_to_a_second() {
    let accept = |call| (call < 12).then(|| Err(out_of_files()));
    let pauses = pauses(accept, |_, _| Ok(()));
    let all = [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000];
    assert_are(&pauses, &all);
}

#[test]
fn a_connection_that_is_accepted_ends_them() {
    let accept = |call| match call {
        0..3 | 4..7 => Some(Err(out_of_files())),
        3 => Some(Ok((memory().0, None))),
        _ => None,
    };
    let pauses = pauses(accept, |_, _| Ok(()));
    assert_are(&pauses, &[5, 10, 20, 5, 10, 20]);
}

#[test]
fn connections_that_are_gone_too_soon_are_no_reason() {
    let accept = |call| (call < 50).then(|| Err(io::ErrorKind::ConnectionAborted.into()));
    assert!(pauses(accept, |_, _| Ok(())).is_empty());
}

#[test]
fn what_is_wrong_with_one_connection_is_told_and_holds_up_no_other() {
    let accept = |call| (call < 3).then(|| Ok((memory().0, None)));
    let refuse = |_, guest: PendingConnection| {
        guest.refuse(io::Error::other("its socket can't be set"));
        Ok(())
    };
    assert!(pauses(accept, refuse).is_empty());
}

#[test]
fn connections_without_end_leave_others_their_turn() {
    let (listener, doors) = Listener::new((), setup(), Limits::default());
    let accept = || ready(Err::<(Memory, _), _>(io::ErrorKind::ConnectionReset.into()));
    let pauses = RefCell::default();
    let mut serving = pin!(serve(doors, accept, |_, _| Ok(()), || Pauses(&pauses)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(serving.as_mut().poll(&mut context).is_pending());
    drop(listener);
    assert!(serving.as_mut().poll(&mut context).is_ready());
}

#[test]
fn what_can_not_be_started_is_told_and_waited_for() {
    let pauses = RefCell::default();
    let calls = Cell::new(0);
    let (listener, doors) = Listener::new((), setup(), Limits::default());
    let peer: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let accept = || {
        poll_fn(|_| {
            let call = calls.replace(calls.get() + 1);
            if call < 2 {
                Poll::Ready(Ok((memory().0, Some(peer))))
            } else {
                Poll::Pending
            }
        })
    };
    let start = |_: Memory, _: PendingConnection| Err(io::Error::other("no more threads"));
    let mut serving = pin!(serve(doors, accept, start, || Pauses(&pauses)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(serving.as_mut().poll(&mut context).is_pending());
    assert_are(&pauses.take(), &[5, 10]);
    for _ in 0..2 {
        let mut accepting = pin!(listener.accept());
        let Poll::Ready(Err(error)) = accepting.as_mut().poll(&mut context) else {
            panic!("it waits");
        };
        assert_eq!(error.peer(), Some(peer));
        assert!(error.to_string().ends_with("no more threads"), "{error}");
    }
}
