//! The last frames of a program reach its peer, though the program ends as soon as it has its
//! answer.
//!
//! Such a program is this one, run once more for one test, and ends by [`exit`] with whatever its
//! threads and tasks are in the middle of.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::env;
use std::future::{pending, poll_fn};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::{Child, Command, Stdio, exit};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countersign_certs::fixtures;
use countersign_core::{
    ChannelConfig, Config, EndReason, LinkState, ReceiveChannel, Role, SendChannel, close,
};
use countersign_driver::{Limits, LinkError, Setup};
use countersign_endpoint::{Blame, Security, SecurityError};
use countersign_tests::pair::{loopback, tls};
use countersign_tests::watch_as;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// The variable with the task of the program that ends. If it is set, this process is that program.
const TASK: &str = "COUNTERSIGN_TEST_TASK";
/// More than a drain takes.
const LIMIT: Duration = Duration::from_secs(60);

fn program(test: &str, task: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!("last_words::{test}"))
        .env(TASK, task)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Where the program says that it listens.
fn place(program: &mut Child) -> SocketAddr {
    let said = BufReader::new(program.stdout.as_mut().unwrap()).lines();
    let mut places = said.filter_map(|line| {
        let line = line.unwrap();
        let (_, place) = line.split_once("listening on ")?;
        Some(place.parse().unwrap())
    });
    places.next().expect("it listens")
}

fn plain(channel: impl Into<ChannelConfig>) -> Setup {
    Setup::new(Config::new().channel(channel), Security::plaintext()).unwrap()
}

/// A setup with an identity and a pin that are used nowhere else.
fn secured(channel: impl Into<ChannelConfig>, own: &str, pinned: &str) -> Setup {
    let [own, pinned] = [own, pinned].map(fixtures::good);
    let config = Config::new().channel(channel);
    Setup::new(config, tls(&own, pinned.fingerprint())).unwrap()
}

/// In one thread, which does nothing any more once it has its answer.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// An end that has pinned another identity says so before it goes.
fn connect_fails(test: &'static str, connect: fn(SocketAddr, &Setup) -> LinkError) {
    if let Ok(address) = env::var(TASK) {
        let setup = secured(SendChannel::new("data"), "client", "other");
        let error = connect(address.parse().unwrap(), &setup);
        let blame = error.security().map(SecurityError::blame);
        exit(i32::from(blame != Some(Blame::Refused)));
    }
    watch_as(test, move || {
        let setup = secured(ReceiveChannel::new("data"), "server", "client");
        let listener = countersign_std::listen(loopback(), setup).unwrap();
        let mut program = program(test, &listener.local_addr().to_string());
        let error = listener.accept().err().unwrap();
        let blame = error.error().security().map(SecurityError::blame);
        assert_eq!(blame, Some(Blame::Refused), "{error}");
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn a_connect_that_fails_on_std() {
    connect_fails("a_connect_that_fails_on_std", |address, setup| {
        countersign_std::connect(address, setup).unwrap_err()
    });
}

#[test]
fn a_connect_that_fails_on_tokio() {
    connect_fails("a_connect_that_fails_on_tokio", |address, setup| {
        let connecting = countersign_tokio::connect(address, setup);
        runtime().block_on(connecting).unwrap_err()
    });
}

/// Listens for one peer, drains and is gone; whether the peer was let in.
type Serves = fn(Setup) -> bool;

fn on_std(setup: Setup) -> bool {
    let listener = countersign_std::listen(loopback(), setup).unwrap();
    println!("listening on {}", listener.local_addr());
    let accepted = listener.accept();
    listener.drain(LIMIT);
    accepted.is_ok()
}

fn on_tokio(setup: Setup) -> bool {
    runtime().block_on(async {
        let listener = countersign_tokio::listen(loopback(), setup).await.unwrap();
        println!("listening on {}", listener.local_addr());
        let accepted = listener.accept().await;
        listener.drain(LIMIT).await;
        accepted.is_ok()
    })
}

/// A link that was let in is closed, and its peer learns why.
fn drain_closes(test: &'static str, serves: Serves) {
    if env::var_os(TASK).is_some() {
        exit(i32::from(!serves(plain(SendChannel::new("data")))));
    }
    watch_as(test, move || {
        let mut program = program(test, "drain");
        let setup = plain(ReceiveChannel::new("data"));
        let link = countersign_std::connect(place(&mut program), &setup).unwrap();
        let error = link.receiver("data").unwrap().recv().unwrap_err();
        let end = error.link().unwrap().reason();
        assert!(
            matches!(end, EndReason::Closed { theirs, .. } if theirs.code == close::GOING_AWAY),
            "{error}"
        );
        let report = link.ended();
        assert!(report.end.unwrap().reason().is_closed());
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn a_link_whose_listener_drains_on_std() {
    drain_closes("a_link_whose_listener_drains_on_std", on_std);
}

#[test]
fn a_link_whose_listener_drains_on_tokio() {
    drain_closes("a_link_whose_listener_drains_on_tokio", on_tokio);
}

/// An incompatible peer is refused, and learns why.
fn drain_refuses(test: &'static str, serves: Serves) {
    if env::var_os(TASK).is_some() {
        exit(i32::from(serves(plain(ReceiveChannel::new("data")))));
    }
    watch_as(test, move || {
        let mut program = program(test, "refuse");
        let setup = plain(ReceiveChannel::new("data"));
        let connected = countersign_std::connect(place(&mut program), &setup);
        let error = connected.unwrap_err();
        assert!(
            matches!(error.reason(), EndReason::Incompatible(_)),
            "{error}"
        );
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn a_refusal_whose_listener_drains_on_std() {
    drain_refuses("a_refusal_whose_listener_drains_on_std", on_std);
}

#[test]
fn a_refusal_whose_listener_drains_on_tokio() {
    drain_refuses("a_refusal_whose_listener_drains_on_tokio", on_tokio);
}

/// A connection that takes nothing more once it has brought something, until it is released.
struct Held {
    stream: DuplexStream,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    heard: bool,
    open: bool,
    writer: Option<Waker>,
}

impl Gate {
    fn open(&mut self) {
        self.open = true;
        self.writer.take().expect("somebody writes").wake();
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.gate.lock().unwrap().heard |= buffer.filled().len() > before;
        read
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut gate = self.gate.lock().unwrap();
        if gate.heard && !gate.open {
            gate.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The error that ends a program does not come before the connection has taken what is to be said.
#[test]
fn a_connect_that_fails_over_a_slow_connection() {
    watch_as("slow", || {
        runtime().block_on(async {
            let (near, far) = duplex(1 << 16);
            let accepting = secured(ReceiveChannel::new("data"), "server", "client");
            let accepted = tokio::spawn(async move {
                let linked = countersign_tokio::link_over(far, Role::Acceptor, &accepting);
                linked.await.unwrap_err()
            });
            let gate = Arc::new(Mutex::new(Gate::default()));
            let held = gate.clone();
            let mut near = Some(near);
            let dial = move || {
                let stream = near.take().expect("one attempt");
                let gate = held.clone();
                async move { Ok(Held { stream, gate }) }
            };
            let setup = secured(SendChannel::new("data"), "client", "other");
            let mut connecting = countersign_tokio::start_connect_with(dial, &setup).unwrap();
            while connecting.status().link.state != LinkState::Ended {
                yield_now().await;
            }
            // It is over, and has not been said.
            let waits = poll_fn(|context| {
                let polled = Pin::new(&mut connecting).poll(context);
                Poll::Ready(polled.is_pending())
            });
            assert!(waits.await);
            while gate.lock().unwrap().writer.is_none() {
                yield_now().await;
            }
            gate.lock().unwrap().open();
            let error = connecting.await.unwrap_err();
            assert!(error.security().is_some(), "{error}");
            let error = accepted.await.unwrap();
            let blame = error.security().map(SecurityError::blame);
            assert_eq!(blame, Some(Blame::Refused), "{error}");
        });
    });
}

/// A listener that drains does not end before a peer that it refuses can have heard so.
#[test]
fn a_refusal_over_a_slow_connection_while_its_listener_drains() {
    watch_as("slow", || {
        runtime().block_on(async {
            let (near, far) = duplex(1 << 16);
            let gate = Arc::new(Mutex::new(Gate::default()));
            let mut held = Some(Held {
                stream: far,
                gate: gate.clone(),
            });
            let accept = move || {
                let held = held.take();
                async move {
                    match held {
                        Some(stream) => Ok((stream, None)),
                        None => pending().await,
                    }
                }
            };
            let setup = plain(ReceiveChannel::new("data"));
            let listener = countersign_tokio::listen_over(accept, setup, Limits::default());
            let opens = tokio::spawn(async move {
                // It receives, too.
                let setup = plain(ReceiveChannel::new("data"));
                let linked = countersign_tokio::link_over(near, Role::Opener, &setup);
                linked.await.unwrap_err()
            });
            let refused = listener.accept().await.unwrap_err();
            assert!(!refused.is_closed(), "{refused}");
            let mut drained = pin!(listener.drain(LIMIT));
            let mut waits = async || {
                let polled = poll_fn(|context| Poll::Ready(drained.as_mut().poll(context)));
                polled.await.is_pending()
            };
            assert!(waits().await);
            // Nothing is accepted any more, and the refusal has not been said.
            assert!(listener.accept().await.unwrap_err().is_closed());
            assert!(waits().await);
            gate.lock().unwrap().open();
            let _ = drained.await;
            let error = opens.await.unwrap();
            let is_refused = matches!(error.reason(), EndReason::Incompatible(_));
            assert!(is_refused, "{error}");
        });
    });
}
