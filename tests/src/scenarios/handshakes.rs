//! Handshakes that are slow, stall or break off, and listeners that go on meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use countersign_core::{
    CloseMode, Config, EndReason, Loss, ReceiveChannel, SendChannel, VerdictKind,
};
use countersign_driver::{AcceptError, Limits};

use super::{one, timeouts};
use crate::backend::Listener;
use crate::pair::loopback;
use crate::{Direction, Ends, Pair, Proxy, Transport};

scenarios! {
    SECURED_OR_PLAIN {
        byte_by_byte,
        strangers_that_say_nothing: "a stranger's own socket",
        strangers_that_leave: "a stranger's own socket",
        strangers_that_speak_something_else: "a stranger's own socket",
        a_stall_in_the_middle: "counts bytes",
        an_acceptor_that_stalls: "a stranger's own socket",
        an_acceptor_that_hangs_up: "a stranger's own socket",
        strangers_hold_up_nobody: "a stranger's own socket",
        half_open_places: "a stranger's own socket",
        refused_peers_that_stay: "a stranger's own socket",
        errors_that_nobody_accepts: "a stranger's own socket",
        many_peers_at_once: "who misses the last word of a close returns as one more link",
        a_dropped_listener: "without its listener no peer returns",
        a_link_that_nobody_accepts: "without its listener no peer returns",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// A listener's declaration that gives strangers little time.
fn impatient() -> Config {
    receive().timeouts(timeouts(|timeouts| {
        timeouts.handshake = Duration::from_millis(100);
    }))
}

/// A declaration that waits longer than any test takes.
fn patient(config: Config) -> Config {
    config.timeouts(timeouts(|timeouts| {
        timeouts.handshake = Duration::from_secs(3600);
    }))
}

/// The first bytes of an opener, as few as there can be.
fn first_byte(pair: &Pair) -> &'static [u8] {
    match pair.transport {
        Transport::Tls => &[22],
        Transport::Plain => b"c",
    }
}

fn refused(listener: &dyn Listener) -> AcceptError {
    listener.accept().err().expect("no link")
}

fn assert_too_slow(refused: &AcceptError, from: SocketAddr) {
    assert_eq!(refused.peer(), Some(from));
    let error = refused.error();
    assert_eq!(
        *error.reason(),
        EndReason::Lost(Loss::HandshakeTooSlow),
        "{error}"
    );
    assert!(
        refused.to_string().starts_with(&from.to_string()),
        "{refused}"
    );
}

/// Waits until the other end has dropped a connection, in any way.
fn wait_for_end(mut stream: &TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
}

/// Whether the other end has said anything, or ended the connection.
fn was_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let answered = stream.peek(&mut [0; 1]).is_ok();
    stream.set_nonblocking(false).unwrap();
    answered
}

/// A message goes from the opener to the acceptor.
fn assert_works(ends: &Ends) {
    let receipt = ends.client.sender("data").unwrap().give("hello");
    assert_eq!(ends.server.receiver("data").unwrap().take(), "hello");
    assert!(receipt.wait().is_handled());
}

/// A stranger connects and sends nothing, or one byte: after a time it is reported and dropped.
fn strangers_that_say_nothing(pair: &Pair) {
    let listener = pair.listen(impatient());
    for words in [&[], first_byte(pair)] {
        let mut stranger = TcpStream::connect(listener.address()).unwrap();
        stranger.write_all(words).unwrap();
        assert_too_slow(&refused(&*listener), stranger.local_addr().unwrap());
        wait_for_end(&stranger);
    }
}

/// A stranger connects and leaves at once.
fn strangers_that_leave(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    for words in [&[], first_byte(pair)] {
        let mut stranger = TcpStream::connect(listener.address()).unwrap();
        stranger.write_all(words).unwrap();
        let from = stranger.local_addr().unwrap();
        drop(stranger);
        let refused = refused(&*listener);
        assert_eq!(refused.peer(), Some(from));
        let reason = refused.error().reason();
        assert!(matches!(reason, EndReason::Lost(_)), "{refused}");
    }
}

/// A stranger speaks another protocol.
fn strangers_that_speak_something_else(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    let noise = [0xA5; 4000];
    for words in [&b"GET / HTTP/1.1\r\nHost: robot\r\n\r\n"[..], &noise] {
        let mut stranger = TcpStream::connect(listener.address()).unwrap();
        stranger.write_all(words).unwrap();
        let refused = refused(&*listener);
        assert_eq!(refused.peer(), Some(stranger.local_addr().unwrap()));
        assert!(!refused.error().can_retry(), "{refused}");
        wait_for_end(&stranger);
    }
}

/// An opener that stalls in the middle of its handshake.
fn a_stall_in_the_middle(pair: &Pair) {
    // After its first bytes, and after the other end has answered.
    let stalls: &[(Direction, u64)] = match pair.transport {
        Transport::Tls => &[(Direction::Up, 100), (Direction::Down, 100)],
        Transport::Plain => &[(Direction::Up, 4)],
    };
    for (direction, bytes) in stalls {
        let listener = pair.listen(impatient());
        let proxy = Proxy::to(listener.address());
        proxy.allow(*direction, *bytes);
        thread::scope(|scope| {
            let opening = scope.spawn(|| pair.connect(proxy.address(), patient(send())));
            let error = refused(&*listener);
            let reason = error.error().reason();
            assert_eq!(*reason, EndReason::Lost(Loss::HandshakeTooSlow), "{error}");
            proxy.resume();
            let error = opening.join().unwrap().err().expect("no link");
            assert!(error.can_retry(), "{error}");
        });
    }
}

/// An acceptor that stalls is given up by the opener.
fn an_acceptor_that_stalls(pair: &Pair) {
    let listener = std::net::TcpListener::bind(loopback()).unwrap();
    let short = timeouts(|timeouts| timeouts.handshake = Duration::from_millis(100));
    let address = listener.local_addr().unwrap();
    let error = pair.connect(address, send().timeouts(short)).err().unwrap();
    assert_eq!(
        *error.reason(),
        EndReason::Lost(Loss::HandshakeTooSlow),
        "{error}"
    );
    assert!(error.can_retry());
    wait_for_end(&listener.accept().unwrap().0);
}

/// An acceptor that hangs up, or resets the connection.
fn an_acceptor_that_hangs_up(pair: &Pair) {
    for read_first in [true, false] {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let hanging_up = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if read_first {
                let _ = stream.read(&mut [0; 4096]).unwrap();
            }
        });
        let error = pair.connect(address, send()).err().unwrap();
        hanging_up.join().unwrap();
        assert!(matches!(error.reason(), EndReason::Lost(_)), "{error}");
        assert!(error.can_retry(), "{error}");
    }
}

/// Everything arrives one byte at a time, in both directions, from the first byte to the last.
fn byte_by_byte(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    let proxy = Proxy::to(listener.address());
    proxy.trickle();
    let ends = pair.join(&*listener, proxy.address(), patient(send()));
    assert_works(&ends);
    assert!(ends.client.close(CloseMode::Drain).is_orderly());
    assert!(ends.server.ended().is_orderly());
}

/// While strangers stall, others are let in.
fn strangers_hold_up_nobody(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    let strangers: Vec<_> = [&[], first_byte(pair), &[]]
        .into_iter()
        .map(|words| {
            let mut stranger = TcpStream::connect(listener.address()).unwrap();
            stranger.write_all(words).unwrap();
            stranger
        })
        .collect();
    for _ in 0..3 {
        assert_works(&pair.join(&*listener, listener.address(), send()));
    }
    drop(strangers);
    for _ in 0..3 {
        let _ = refused(&*listener);
    }
}

/// With all half-open places taken others wait, until a place is free.
fn half_open_places(pair: &Pair) {
    let setup = pair.server_setup(patient(receive()));
    let limits = Limits {
        half_open: 2,
        ..Limits::default()
    };
    let listener = pair.server.listen(loopback(), setup, limits);
    let connect = || TcpStream::connect(listener.address()).unwrap();
    let [leaves, stays] = [connect(), connect()];
    thread::scope(|scope| {
        let opening = scope.spawn(|| pair.connect(listener.address(), patient(send())).unwrap());
        // Long enough for a whole link elsewhere.
        let elsewhere = pair.link(send(), receive());
        assert_works(&elsewhere);
        let from = leaves.local_addr().unwrap();
        drop(leaves);
        // Had the third been let in before, it would have come first.
        assert_eq!(refused(&*listener).peer(), Some(from));
        let server = listener.accept().unwrap();
        let client = opening.join().unwrap();
        assert_works(&Ends { client, server });
    });
    drop(stays);
}

/// A refused peer that stays keeps its place until it leaves.
fn refused_peers_that_stay(pair: &Pair) {
    const PLACES: usize = 4;
    const ROUNDS: usize = 10;
    let unhurried = receive().timeouts(timeouts(|timeouts| {
        timeouts.handshake = Duration::from_secs(3600);
        timeouts.linger = Duration::from_secs(3600);
    }));
    let limits = Limits {
        half_open: PLACES,
        ..Limits::default()
    };
    let setup = pair.server_setup(unhurried);
    let listener = pair.server.listen(loopback(), setup, limits);
    let mut strangers: Vec<_> = (0..PLACES * ROUNDS)
        .map(|_| {
            let mut stranger = TcpStream::connect(listener.address()).unwrap();
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            stranger
        })
        .collect();
    thread::scope(|scope| {
        let opening = scope.spawn(|| pair.connect(listener.address(), patient(send())).unwrap());
        for _ in 0..ROUNDS {
            let served: Vec<_> = (0..PLACES)
                .map(|_| refused(&*listener).peer().unwrap())
                .collect();
            // Long enough for a whole link elsewhere.
            assert_works(&pair.link(send(), receive()));
            let (leaving, staying): (Vec<_>, Vec<_>) = strangers
                .drain(..)
                .partition(|stranger| served.contains(&stranger.local_addr().unwrap()));
            assert_eq!(leaving.len(), PLACES);
            leaving.iter().for_each(wait_for_end);
            assert!(!staying.iter().any(was_answered), "more are served at once");
            strangers = staying;
        }
        let server = listener.accept().unwrap();
        let client = opening.join().unwrap();
        assert_works(&Ends { client, server });
    });
}

/// Errors that are not accepted are forgotten, the oldest first.
fn errors_that_nobody_accepts(pair: &Pair) {
    let setup = pair.server_setup(patient(receive()));
    let limits = Limits {
        half_open: 1,
        backlog: 1,
        ..Limits::default()
    };
    let listener = pair.server.listen(loopback(), setup, limits);
    let mut last = None;
    for _ in 0..5 {
        let mut stranger = TcpStream::connect(listener.address()).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        last = Some(stranger.local_addr().unwrap());
        wait_for_end(&stranger);
    }
    // Its turn comes when the last of them is gone.
    let client = pair.connect(listener.address(), patient(send())).unwrap();
    assert_eq!(refused(&*listener).peer(), last);
    let server = listener.accept().unwrap();
    assert_works(&Ends { client, server });
}

/// One listener serves many peers at once.
fn many_peers_at_once(pair: &Pair) {
    const PEERS: usize = 20;
    let listener = pair.listen(patient(receive()));
    thread::scope(|scope| {
        for peer in 0..PEERS {
            let listener = &listener;
            scope.spawn(move || {
                let link = pair.connect(listener.address(), patient(send())).unwrap();
                let sender = link.sender("data").unwrap();
                for at in 0..10_u8 {
                    assert!(sender.deliver(vec![peer as u8, at]).is_handled());
                }
                let report = link.close(CloseMode::Drain);
                assert!(report.is_orderly(), "{report}");
                assert_eq!(report.verdicts()[VerdictKind::Handled], 10);
            });
        }
        for _ in 0..PEERS {
            let link = listener.accept().unwrap();
            scope.spawn(move || {
                let messages = link.receiver("data").unwrap().take_all();
                let peer = messages[0][0];
                for (at, message) in messages.iter().enumerate() {
                    assert_eq!(message[..], [peer, at as u8]);
                }
                assert_eq!(messages.len(), 10);
                assert!(link.ended().is_orderly());
            });
        }
    });
}

/// A listener that is dropped gives up unfinished handshakes and keeps what was accepted.
fn a_dropped_listener(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    let ends = pair.join(&*listener, listener.address(), send());
    let stranger = TcpStream::connect(listener.address()).unwrap();
    // Connections are seen in order, so the stranger's has been seen by now.
    let second = pair.join(&*listener, listener.address(), send());
    drop(listener);
    wait_for_end(&stranger);
    assert_works(&ends);
    assert_works(&second);
}

/// A link that is not accepted is closed when its listener is dropped.
fn a_link_that_nobody_accepts(pair: &Pair) {
    let listener = pair.listen(patient(receive()));
    let link = pair.connect(listener.address(), patient(send())).unwrap();
    let receipt = link.sender("data").unwrap().give("anybody?");
    drop(listener);
    let report = link.ended();
    assert!(!receipt.wait().is_handled(), "{report}");
}
