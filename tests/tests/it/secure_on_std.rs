//! What only the blocking secure streams can show: halves for two threads, the socket's own
//! time-outs, and a socket that blocks again after several addresses were tried.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use countersign_core::Role;
use countersign_std::{SecureStream, secure_connect, secure_over};
use countersign_tests::on_std::Std;
use countersign_tests::pair::{loopback, payload};
use countersign_tests::secure::{Pair, sockets};
use countersign_tests::{Transport, watch};

/// A limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(20);

fn streams(transport: Transport) -> (SecureStream, SecureStream) {
    let pair = Pair {
        client: &Std,
        server: &Std,
        transport,
    };
    let (near, far) = sockets();
    let [client, server] = pair.setups();
    thread::scope(|scope| {
        let server = scope.spawn(|| secure_over(far, Role::Acceptor, &server));
        let client = secure_over(near, Role::Opener, &client);
        (client.unwrap(), server.join().unwrap().unwrap())
    })
}

/// A socket whose address refuses connections for as long as it lives.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.unwrap();
    socket.bind(&loopback().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn an_address_that_refuses_leaves_the_next() {
    for transport in [Transport::Tls, Transport::Plain] {
        watch(move || {
            let pair = Pair {
                client: &Std,
                server: &Std,
                transport,
            };
            let [client, server] = pair.setups();
            let (_kept, refusing) = refusing();
            let listener = TcpListener::bind(loopback()).unwrap();
            let addresses: &'static [_] = vec![refusing, listener.local_addr().unwrap()].leak();
            let (mut client, mut server) = thread::scope(|scope| {
                let accept = || secure_over(listener.accept().unwrap().0, Role::Acceptor, &server);
                let server = scope.spawn(accept);
                let client = secure_connect(addresses, &client).unwrap();
                (client, server.join().unwrap().unwrap())
            });
            assert!(client.get_ref().nodelay().unwrap());
            // More than the sockets hold, so writing has to wait.
            let data = payload(8 << 20, 1);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut got = vec![0; data.len()];
                    server.read_exact(&mut got).unwrap();
                    server.write_all(&got).unwrap();
                    server.close().unwrap();
                });
                client.write_all(&data).unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).unwrap();
                assert!(got == data, "{} bytes of {}", got.len(), data.len());
                client.close().unwrap();
            });
        });
    }
}

#[test]
fn each_address_that_refuses_is_named() {
    watch(|| {
        let pair = Pair {
            client: &Std,
            server: &Std,
            transport: Transport::Tls,
        };
        let [client, _] = pair.setups();
        let ((_one, one), (_two, two)) = (refusing(), refusing());
        let error = secure_connect(&*vec![one, two].leak(), &client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = error.to_string();
        for address in [one, two] {
            assert!(text.contains(&address.to_string()), "{text}");
        }
    });
}

#[test]
fn a_name_without_addresses_is_an_error() {
    watch(|| {
        const NONE: &[SocketAddr] = &[];
        let pair = Pair {
            client: &Std,
            server: &Std,
            transport: Transport::Tls,
        };
        let [client, _] = pair.setups();
        let error = secure_connect(NONE, &client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn halves_become_a_stream_again() {
    for transport in [Transport::Tls, Transport::Plain] {
        watch(move || {
            let (client, mut server) = streams(transport);
            let peer = client.peer();
            let (mut read, mut write) = client.split();
            write.write_all(b"one").unwrap();
            server.write_all(b"two lines\nand more").unwrap();
            let mut line = String::new();
            read.read_line(&mut line).unwrap();
            assert_eq!(line, "two lines\n");
            let mut client = read.reunite(write).unwrap();
            assert_eq!(client.peer(), peer);
            client.write_all(b" and two").unwrap();
            client.shutdown().unwrap();
            let mut got = Vec::new();
            server.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"one and two");
            server.close().unwrap();
            let mut rest = String::new();
            client.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "and more");
            client.close().unwrap();
        });
    }
}

#[test]
fn halves_of_different_streams_stay_apart() {
    watch(|| {
        let ((client, server), (other, _kept)) = (streams(Transport::Tls), streams(Transport::Tls));
        let (read, write) = client.split();
        let (other_read, other_write) = other.split();
        let (read, other_write) = *read.reunite(other_write).unwrap_err();
        read.reunite(write).unwrap();
        other_read.reunite(other_write).unwrap();
        drop(server);
    });
}

#[test]
fn time_outs_of_the_socket_lose_nothing() {
    for transport in [Transport::Tls, Transport::Plain] {
        watch(move || {
            let (mut client, mut server) = streams(transport);
            server.get_ref().set_read_timeout(Some(SHORT)).unwrap();
            client.get_ref().set_write_timeout(Some(SHORT)).unwrap();
            let late = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let error = server.read(&mut [0; 10]).unwrap_err();
            assert!(late(error.kind()), "{error}");
            // Until the sockets hold no more.
            let data = payload(64 << 20, 1);
            let mut written = 0;
            let error = loop {
                match client.write(&data[written..]) {
                    Ok(count) => written += count,
                    Err(error) => break error,
                }
            };
            assert!(late(error.kind()), "{error}");
            let error = client.flush().unwrap_err();
            assert!(late(error.kind()), "{error}");
            client.get_ref().set_write_timeout(None).unwrap();
            server.get_ref().set_read_timeout(None).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    client.write_all(&data[written..]).unwrap();
                    client.shutdown().unwrap();
                });
                let mut got = Vec::new();
                server.read_to_end(&mut got).unwrap();
                assert!(got == data, "{} bytes of {}", got.len(), data.len());
            });
        });
    }
}

#[test]
fn time_outs_of_the_socket_are_put_back() {
    watch(|| {
        let (near, far) = sockets();
        for socket in [&near, &far] {
            socket
                .set_read_timeout(Some(Duration::from_secs(77)))
                .unwrap();
        }
        let pair = Pair {
            client: &Std,
            server: &Std,
            transport: Transport::Tls,
        };
        let [client, server] = pair.setups();
        let mut ends = thread::scope(|scope| {
            let server = scope.spawn(|| secure_over(far, Role::Acceptor, &server).unwrap());
            let client = secure_over(near, Role::Opener, &client).unwrap();
            [client, server.join().unwrap()]
        });
        let time_outs = |end: &SecureStream| {
            let socket = end.get_ref();
            (
                socket.read_timeout().unwrap(),
                socket.write_timeout().unwrap(),
            )
        };
        let expected = (Some(Duration::from_secs(77)), None);
        assert_eq!(ends.each_ref().map(time_outs), [expected; 2]);
        thread::scope(|scope| {
            for end in &mut ends {
                scope.spawn(|| end.close().unwrap());
            }
        });
        assert_eq!(ends.each_ref().map(time_outs), [expected; 2]);
    });
}
