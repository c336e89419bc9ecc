//! Which of several addresses a connection is opened to.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use countersign_driver::{ATTEMPT_DELAY, StreamSocket, Timer, Transport, open};
use countersign_endpoint::Buffer;
use socket2::{Domain, SockRef, Socket, Type};

const HOUR: Duration = Duration::from_secs(3600);

thread_local! {
    static EARLIEST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The thread sleeps until it goes off.
struct Clock;

impl Timer for Clock {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        EARLIEST.set(Some(deadline));
        Poll::Pending
    }
}

/// Runs a future that waits for nothing but the clock.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        EARLIEST.set(None);
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        let earliest = EARLIEST.get().expect("it waits for the clock");
        thread::sleep(earliest.saturating_duration_since(Instant::now()));
    }
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<Answer>>>>;

/// A connection to this address, as far as the test goes, and a socket that has none.
#[derive(Debug)]
struct Answer(SocketAddr, Socket);

impl Answer {
    fn of(address: SocketAddr) -> Self {
        Self(
            address,
            Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(),
        )
    }
}

impl StreamSocket for Answer {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.1)
    }
}

/// Opening reads and writes nothing.
impl Transport for Answer {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut Buffer) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &mut Buffer) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A name with some addresses, and which of them were tried.
struct Name {
    addresses: Vec<SocketAddr>,
    tried: RefCell<Vec<SocketAddr>>,
}

impl Name {
    fn of(addresses: &[&str]) -> Self {
        Self {
            addresses: addresses.iter().copied().map(address).collect(),
            tried: RefCell::default(),
        }
    }

    fn open(
        &self,
        limit: Duration,
        answer: impl Fn(SocketAddr) -> Attempt,
    ) -> io::Result<SocketAddr> {
        let lookup = ready(Ok(self.addresses.clone()));
        let opened = run(open(lookup, limit, Clock, |address| {
            self.tried.borrow_mut().push(address);
            answer(address)
        }));
        opened.map(|Answer(address, _)| address)
    }

    fn tried(&self) -> Vec<String> {
        let tried = self.tried.borrow();
        tried.iter().map(SocketAddr::to_string).collect()
    }
}

fn answers(address: SocketAddr) -> Attempt {
    Box::pin(ready(Ok(Answer::of(address))))
}

fn refuses(_: SocketAddr) -> Attempt {
    Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into())))
}

fn is_silent(_: SocketAddr) -> Attempt {
    Box::pin(pending())
}

#[test]
fn the_first_that_answers_is_taken_and_no_other_tried() {
    let name = Name::of(&["10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(name.open(HOUR, answers).unwrap(), address("10.0.0.1:1"));
    assert_eq!(name.tried(), ["10.0.0.1:1"]);
}

#[test]
fn families_take_turns_beginning_with_that_of_the_first() {
    let name = Name::of(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
    assert!(name.open(HOUR, refuses).is_err());
    let turns = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"];
    assert_eq!(name.tried(), turns);
    let name = Name::of(&["10.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
    assert!(name.open(HOUR, refuses).is_err());
    assert_eq!(
        name.tried(),
        ["10.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]
    );
}

#[test]
fn one_that_is_silent_holds_up_nobody_for_long() {
    let name = Name::of(&["[::1]:1", "10.0.0.1:1"]);
    let answer = |address: SocketAddr| {
        if address.is_ipv6() {
            is_silent(address)
        } else {
            answers(address)
        }
    };
    assert_eq!(name.open(HOUR, answer).unwrap(), address("10.0.0.1:1"));
    assert_eq!(name.tried(), ["[::1]:1", "10.0.0.1:1"]);
}

#[test]
fn the_silent_one_may_still_be_the_first() {
    let name = Name::of(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
    let opened = name.open(HOUR, |to| {
        if to != address("10.0.0.1:1") {
            return is_silent(to);
        }
        let asked = Instant::now();
        // It takes longer than it has alone: by then another is asked as well.
        Box::pin(std::future::poll_fn(move |_| {
            if asked.elapsed() > ATTEMPT_DELAY {
                Poll::Ready(Ok(Answer::of(to)))
            } else {
                Poll::Pending
            }
        }))
    });
    assert_eq!(opened.unwrap(), address("10.0.0.1:1"));
}

#[test]
fn each_address_says_why_it_was_not_to_be_had() {
    let name = Name::of(&["10.0.0.1:1", "10.0.0.2:2"]);
    let error = name.open(HOUR, refuses).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let refused = "connection refused";
    let all = format!("10.0.0.1:1: {refused}; 10.0.0.2:2: {refused}");
    assert_eq!(error.to_string(), all);
    let nobody = Name::of(&[]).open(HOUR, answers).unwrap_err();
    assert_eq!(nobody.to_string(), "the name has no address");
}

/// Elsewhere the system does not let a socket connect to itself.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_to_oneself_is_refused_and_the_next_address_tried() {
    let comes_back = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address("127.0.0.1:0").into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        socket
    };
    let addresses = vec![address("127.0.0.1:1"), address("127.0.0.2:1")];
    let connect = |address| ready(Ok(Answer(address, comes_back())));
    let opened = run(open(ready(Ok(addresses.clone())), HOUR, Clock, connect));
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let both = |address: &SocketAddr| error.to_string().contains(&format!("{address}: nobody"));
    assert!(addresses.iter().all(both), "{error}");

    // Its port is free at once for the next listener.
    let held = comes_back();
    let held_at = held.local_addr().unwrap().as_socket().unwrap();
    assert!(countersign_driver::refuse_self(&SockRef::from(&held)).is_err());
    drop(held);
    let again = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    again.bind(&held_at.into()).unwrap();
}

#[test]
fn the_limit_is_for_all_together() {
    let name = Name::of(&["10.0.0.1:1", "10.0.0.2:1"]);
    let error = name.open(Duration::from_millis(1), is_silent).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(name.tried(), ["10.0.0.1:1"]);
    let text = error.to_string();
    assert!(
        text.contains("10.0.0.1:1: ") && text.contains("10.0.0.2:1: "),
        "{text}"
    );
}

#[test]
fn looking_up_has_the_limit_too() {
    let connect = |address: SocketAddr| ready(Ok(Answer::of(address)));
    let lookup = pending::<io::Result<Vec<SocketAddr>>>();
    let error = run(open(lookup, Duration::from_millis(1), Clock, connect)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let lookup = ready(Err(io::Error::other("no such name")));
    let error = run(open(lookup, HOUR, Clock, connect)).unwrap_err();
    assert_eq!(error.to_string(), "no such name");
}
