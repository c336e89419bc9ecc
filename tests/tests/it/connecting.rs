//! Connecting as a program sees it that has no log: asked, hastened, given up.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign_core::{
    Config, EndReason, LinkState, ReceiveChannel, Reconnect, RetryLimit, Role, SendChannel,
};
use countersign_driver::{Connecting, LinkError, Setup, TransportAddress};
use countersign_endpoint::Security;
use countersign_tests::pair::loopback;
use countersign_tests::{on_compio, on_futures_io, watch_as};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;

/// An end that waits for up to an hour before each further attempt.
fn patient() -> Setup {
    let hour = Duration::from_secs(3600);
    let reconnect = Reconnect {
        limit: RetryLimit::Forever,
        first_delay: hour,
        longest_delay: hour,
    };
    let config = Config::new().channel(SendChannel::new("data"));
    Setup::new(config.reconnect(reconnect), Security::plaintext()).unwrap()
}

fn acceptor() -> Setup {
    let config = Config::new().channel(ReceiveChannel::new("data"));
    Setup::new(config, Security::plaintext()).unwrap()
}

/// Returns an address that refuses connections, for as long as the socket is kept.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&loopback().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn on_each(test: impl Fn(&Runtime, fn(SocketAddr, &Setup) -> Result<Connecting, LinkError>)) {
    let runtime = Runtime::new().unwrap();
    let _guard = runtime.enter();
    test(&runtime, |to, setup| {
        countersign_tokio::start_connect(to, setup)
    });
    test(&runtime, |to, setup| {
        countersign_smol::start_connect(to, setup)
    });
    test(&runtime, |to, setup| {
        countersign_async_std::start_connect(to, setup)
    });
    test(&runtime, on_futures_io::start_connect);
    test(&runtime, on_compio::start_connect);
}

#[test]
fn each_failure_is_told_and_the_pause_can_be_ended() {
    watch_as("failures", || {
        on_each(|runtime, start| {
            let (socket, address) = refusing();
            let mut connecting = start(address, &patient()).unwrap();
            for number in 1..=3 {
                let failed = runtime.block_on(connecting.failed()).unwrap();
                assert_eq!(failed.number, number);
                let kind = failed.error.io().map(std::io::Error::kind);
                assert_eq!(kind, Some(ErrorKind::ConnectionRefused), "{failed}");
                assert!(failed.next.is_some_and(|next| next > Instant::now()));
                assert_eq!(connecting.failure().unwrap().number, number);
                let status = connecting.status();
                assert!(!status.is_connected());
                assert_eq!(
                    (status.link.state, status.link.role),
                    (LinkState::Offline, Role::Opener)
                );
                if number < 3 {
                    assert!(connecting.connect_now());
                }
            }
            drop(socket);
            let listening = countersign_tokio::listen(address, acceptor());
            let listener = runtime.block_on(listening).unwrap();
            let handle = connecting.handle();
            assert!(handle.connect_now());
            assert!(runtime.block_on(connecting.failed()).is_none());
            let link = runtime.block_on(connecting).unwrap();
            let accepted = runtime.block_on(listener.accept()).unwrap();
            // Nothing is given up or hastened any more.
            handle.cancel();
            assert!(!link.connect_now());
            let [near, far] = [link.status(), accepted.status()];
            assert!(near.is_connected() && far.is_connected());
            assert!(near.failure.is_none() && near.since.is_some());
            assert_eq!(near.remote, Some(TransportAddress::Ip(address)));
            assert_eq!(near.remote, far.local);
            assert_eq!(near.local, far.remote);
        });
    });
}

#[test]
fn another_task_gives_it_up() {
    watch_as("giving up", || {
        on_each(|runtime, start| {
            let (_socket, address) = refusing();
            let connecting = start(address, &patient()).unwrap();
            let handle = connecting.handle();
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| runtime.block_on(connecting).err().unwrap());
                handle.cancel();
                let error = waits.join().unwrap();
                assert_eq!(*error.reason(), EndReason::ClosedBeforeConnected);
            });
        });
    });
}

#[test]
fn the_same_in_threads() {
    watch_as("std", || {
        let (socket, address) = refusing();
        let mut connecting = countersign_std::start_connect(address, &patient()).unwrap();
        assert_eq!(connecting.failed().unwrap().number, 1);
        assert!(connecting.connect_now());
        assert_eq!(connecting.failed().unwrap().number, 2);
        let handle = connecting.handle();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| connecting.wait().err().unwrap());
            handle.cancel();
            let error = waits.join().unwrap();
            assert_eq!(*error.reason(), EndReason::ClosedBeforeConnected);
        });

        let connecting = countersign_std::start_connect(address, &patient()).unwrap();
        let Err(countersign_std::ConnectTimeoutError::Timeout(mut connecting)) =
            connecting.wait_timeout(Duration::ZERO)
        else {
            panic!("nobody listens");
        };
        assert_eq!(connecting.failed().unwrap().number, 1);
        drop(socket);
        let listener = countersign_std::listen(address, acceptor()).unwrap();
        assert!(connecting.connect_now());
        let link = connecting.wait().unwrap();
        let status = link.status();
        assert!(status.is_connected());
        assert_eq!(status.remote, Some(TransportAddress::Ip(address)));
        assert!(!link.connect_now());
        drop(listener);
    });
}
