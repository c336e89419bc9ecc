//! How streams end.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Duration;

use countersign_endpoint::Reason;

use super::reason;
use crate::pair::payload;
use crate::secure::{Pair, sockets};

scenarios! {
    SECURED_OR_PLAIN {
        half_closed,
        nothing_after_shutdown,
        closing_waits_for_the_peer,
        closing_throws_away_what_comes,
        a_peer_that_never_ends,
    }
    SECURED {
        cut_without_a_goodbye,
        what_came_before_the_cut_is_read,
        a_changed_record,
        a_peer_that_says_goodbye_and_leaves,
    }
}

/// A limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(50);

/// One direction ends, and the other goes on.
fn half_closed(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        first.write_all(b"question").unwrap();
        first.shutdown().unwrap();
        first.shutdown().unwrap();
        let mut got = Vec::new();
        second.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"question");
        assert_eq!(
            second.read(&mut [0; 10]).unwrap(),
            0,
            "the end stays the end"
        );
        let answer = payload(300_000, 5);
        thread::scope(|scope| {
            scope.spawn(|| {
                second.write_all(&answer).unwrap();
                second.shutdown().unwrap();
            });
            let mut got = Vec::new();
            first.read_to_end(&mut got).unwrap();
            assert!(got == answer, "{} bytes of {}", got.len(), answer.len());
        });
        first.close().unwrap();
        second.close().unwrap();
    });
}

/// What has ended takes no more.
fn nothing_after_shutdown(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        first.shutdown().unwrap();
        let error = first.write_all(b"more").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(reason(&error), Reason::AlreadyClosed), "{error}");
        assert_eq!(second.read(&mut [0; 10]).unwrap(), 0);
    });
}

/// `close` returns when the peer has ended its direction, and not before.
fn closing_waits_for_the_peer(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                first.write_all(b"last words").unwrap();
                sender.send(first.close()).unwrap();
            });
            let mut got = Vec::new();
            second.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"last words");
            assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
            second.shutdown().unwrap();
            receiver.recv().unwrap().unwrap();
        });
        second.close().unwrap();
    });
}

/// A peer that still sends while this end closes is not held up.
fn closing_throws_away_what_comes(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        thread::scope(|scope| {
            scope.spawn(|| {
                second.write_all(&payload(2 << 20, 6)).unwrap();
                second.close().unwrap();
            });
            first.close().unwrap();
            assert_eq!(first.read(&mut [0; 10]).unwrap(), 0);
        });
    });
}

/// A peer that never ends its direction holds `close` up for as long as was said.
fn a_peer_that_never_ends(pair: &Pair) {
    for client_closes in [true, false] {
        let setups = pair.setups().map(|setup| setup.shutdown_limit(SHORT));
        let (client, server) = pair.over(sockets(), &setups);
        let (mut closes, mut stays) = match client_closes {
            true => (client, server),
            false => (server, client),
        };
        let error = closes.close().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "closing took longer than 50ms");
        // What was said is said, and the peer can still end in order.
        assert_eq!(stays.read(&mut [0; 10]).unwrap(), 0);
        stays.close().unwrap();
        closes.close().unwrap();
    }
}

/// A connection that breaks off is an error, and not the end.
fn cut_without_a_goodbye(pair: &Pair) {
    for cut_client in [true, false] {
        let (near, far) = sockets();
        let [near_socket, far_socket] = [&near, &far].map(|end| end.try_clone().unwrap());
        let (mut client, mut server) = pair.over((near, far), &pair.setups());
        let (socket, witness) = match cut_client {
            true => (near_socket, &mut server),
            false => (far_socket, &mut client),
        };
        socket.shutdown(Shutdown::Write).unwrap();
        for _ in 0..2 {
            let error = witness.read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert!(matches!(reason(&error), Reason::Truncated), "{error}");
        }
        let error = witness.close().unwrap_err();
        assert!(matches!(reason(&error), Reason::Truncated), "{error}");
    }
}

/// What had come before the connection broke off is read before the error.
fn what_came_before_the_cut_is_read(pair: &Pair) {
    let (near, far) = sockets();
    let socket = near.try_clone().unwrap();
    let (mut client, mut server) = pair.over((near, far), &pair.setups());
    client.write_all(b"whole\nin part").unwrap();
    client.flush().unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut line = String::new();
    server.read_line(&mut line).unwrap();
    assert_eq!(line, "whole\n");
    let mut rest = Vec::new();
    let error = server.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(rest, b"in part");
}

/// Bytes that are not the peer's end the stream, and the peer learns of it.
fn a_changed_record(pair: &Pair) {
    let (near, far) = sockets();
    let mut socket = near.try_clone().unwrap();
    let (mut client, mut server) = pair.over((near, far), &pair.setups());
    client.write_all(b"good").unwrap();
    client.flush().unwrap();
    let mut got = [0; 4];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"good");
    let mut record = vec![23, 3, 3, 0, 40];
    record.extend_from_slice(&[7; 40]);
    socket.write_all(&record).unwrap();
    let error = server.read(&mut got).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(matches!(reason(&error), Reason::Corrupted), "{error}");
    let error = server.write_all(b"more").unwrap_err();
    assert!(matches!(reason(&error), Reason::Corrupted), "{error}");
    let error = client.read(&mut got).unwrap_err();
    assert!(
        matches!(reason(&error), Reason::PeerAlert { .. }),
        "{error}"
    );
}

/// A peer that has said goodbye and does not wait for ours is no error.
fn a_peer_that_says_goodbye_and_leaves(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        first.write_all(b"bye").unwrap();
        first.shutdown().unwrap();
        drop(first);
        let mut got = Vec::new();
        second.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"bye");
        second.close().unwrap();
    });
}
