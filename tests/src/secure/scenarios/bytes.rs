//! Bytes come as they were written, however they are read.

use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use countersign_core::Role;
use countersign_endpoint::SecurityError;

use crate::Proxy;
use crate::pair::{loopback, payload};
use crate::secure::{Made, Pair, Sink, Source, sockets};

scenarios! {
    SECURED_OR_PLAIN {
        echo_of_all_sizes,
        both_directions_at_once,
        exactly,
        until_a_separator,
        lines,
        over_a_connection_that_carried_other_bytes,
        byte_by_byte,
        connecting,
    }
}

/// Sends back what comes, until the peer ends its direction, with reads of `piece` bytes.
fn send_back(stream: &mut Made, piece: usize) {
    let mut buffer = vec![0; piece];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            return stream.close().unwrap();
        }
        stream.write_all(&buffer[..count]).unwrap();
        stream.flush().unwrap();
    }
}

/// What was written comes back as it was, from nothing to a mebibyte, in pieces that fit nothing.
fn echo_of_all_sizes(pair: &Pair) {
    const SIZES: [usize; 9] = [0, 1, 2, 16_383, 16_384, 16_385, 65_537, 200_000, 1 << 20];
    for (written, read) in [(7, 65_537), (16_385, 7), (1 << 20, 1000), (65_536, 65_536)] {
        pair.both_ways(|first, mut second| {
            // By sevens a mebibyte would take long, and show nothing new.
            let sizes = SIZES
                .into_iter()
                .filter(|size| written.min(read) > 7 || *size < 20_000);
            let data = payload(sizes.sum(), written);
            let (mut source, mut sink) = first.split();
            thread::scope(|scope| {
                scope.spawn(|| send_back(&mut second, read));
                scope.spawn(|| {
                    for piece in data.chunks(written) {
                        sink.write_all(piece).unwrap();
                    }
                    sink.flush().unwrap();
                    sink.shutdown().unwrap();
                });
                let mut back = Vec::new();
                source.read_to_end(&mut back).unwrap();
                assert!(back == data, "{} bytes of {}", back.len(), data.len());
            });
        });
    }
}

fn send_and_receive(
    mut source: Box<dyn Source>,
    mut sink: Box<dyn Sink>,
    own: &[u8],
    other: &[u8],
) {
    thread::scope(|scope| {
        scope.spawn(move || {
            sink.write_all(own).unwrap();
            sink.shutdown().unwrap();
        });
        let mut got = Vec::new();
        source.read_to_end(&mut got).unwrap();
        assert!(got == other, "{} bytes of {}", got.len(), other.len());
    });
}

/// Far more than the sockets hold goes in both directions, with a thread for each: neither waits
/// for the other.
fn both_directions_at_once(pair: &Pair) {
    let (up, down) = (payload(8 << 20, 1), payload(8 << 20, 2));
    let (client, server) = pair.streams();
    let (client, server) = (client.split(), server.split());
    thread::scope(|scope| {
        scope.spawn(|| send_and_receive(client.0, client.1, &up, &down));
        send_and_receive(server.0, server.1, &down, &up);
    });
}

/// `read_exact` gets as many bytes as it was asked for, or reports that there are fewer.
fn exactly(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        first.write_all(&payload(50_000, 3)).unwrap();
        first.shutdown().unwrap();
        let mut got = vec![0; 49_000];
        let (start, rest) = got.split_at_mut(20_001);
        second.read_exact(start).unwrap();
        second.read_exact(rest).unwrap();
        assert!(
            got == payload(49_000, 3),
            "what was read is not what was written"
        );
        let error = second.read_exact(&mut [0; 1001]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        // The stream has ended in order: it is not the security layer that complains.
        let inner = error.get_ref();
        assert!(
            !inner.is_some_and(<dyn Error + Send + Sync>::is::<SecurityError>),
            "{error}"
        );
    });
}

/// `read_until` stops behind the separator, or at the limit, or at the end.
fn until_a_separator(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        let mut sent = vec![b'a'; 40_000];
        sent.push(0);
        sent.extend_from_slice(&[b'b'; 30_000]);
        sent.push(0);
        sent.extend_from_slice(b"rest");
        first.write_all(&sent).unwrap();
        first.shutdown().unwrap();
        let mut until = |limit| {
            let mut got = Vec::new();
            let count = second.read_until(0, limit, &mut got).unwrap();
            assert_eq!(count, got.len());
            (count, got.last().copied())
        };
        assert_eq!(until(50_000), (40_001, Some(0)));
        assert_eq!(until(20_000), (20_000, Some(b'b')), "the limit comes first");
        assert_eq!(
            until(20_000),
            (10_001, Some(0)),
            "nothing behind the limit was taken"
        );
        assert_eq!(until(20_000), (4, Some(b't')), "the end comes first");
        assert_eq!(until(20_000), (0, None));
    });
}

/// Lines come as lines, whatever the writes were.
fn lines(pair: &Pair) {
    pair.both_ways(|mut first, mut second| {
        for piece in ["one\ntw", "o\nthr", "ee\n", "\nend"] {
            first.write_all(piece.as_bytes()).unwrap();
        }
        first.shutdown().unwrap();
        for expected in ["one\n", "two\n", "three\n", "\n", "end", ""] {
            let mut line = String::new();
            second.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        }
    });
}

/// Two ends talk in plain text, agree, and go on secured over the same connection.
fn over_a_connection_that_carried_other_bytes(pair: &Pair) {
    agree(pair, "go\n");
    agree(pair, "");
}

/// The opener asks, and waits for `answer`; where there is none to wait for, what it says next has
/// been read too far by the time that the acceptor has read the question.
fn agree(pair: &Pair, answer: &str) {
    const QUESTION: &str = "secured?\n";
    let (mut near, far) = sockets();
    let setups = pair.setups();
    thread::scope(|scope| {
        scope.spawn(|| {
            near.write_all(QUESTION.as_bytes()).unwrap();
            if !answer.is_empty() {
                let mut line = String::new();
                // Nothing is read too far: nothing comes before this end has spoken.
                BufReader::new(&near).read_line(&mut line).unwrap();
                assert_eq!(line, answer);
            }
            let mut stream = pair
                .client
                .over(near, Role::Opener, &setups[0], &[])
                .unwrap();
            stream.write_all(b"first bytes\n").unwrap();
            stream.flush().unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert_eq!(line, "bytes back\n");
            stream.close().unwrap();
        });
        if answer.is_empty() {
            // What comes next has arrived too, and so is read with the question.
            let mut there = [0; 100];
            while far.peek(&mut there).unwrap() <= QUESTION.len() {
                thread::yield_now();
            }
        }
        let mut reader = BufReader::new(far);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, QUESTION);
        let already_read = reader.buffer().to_vec();
        assert_eq!(already_read.is_empty(), !answer.is_empty());
        let mut far: TcpStream = reader.into_inner();
        far.write_all(answer.as_bytes()).unwrap();
        let stream = pair
            .server
            .over(far, Role::Acceptor, &setups[1], &already_read);
        let mut stream = stream.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "first bytes\n");
        stream.write_all(b"bytes back\n").unwrap();
        stream.close().unwrap();
    });
}

/// A network that brings one byte at a time.
fn byte_by_byte(pair: &Pair) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap());
    proxy.trickle();
    let near = TcpStream::connect(proxy.address()).unwrap();
    let far = listener.accept().unwrap().0;
    let (mut client, mut server) = pair.over((near, far), &pair.setups());
    client.write_all(b"a line\n").unwrap();
    client.flush().unwrap();
    let mut line = String::new();
    server.read_line(&mut line).unwrap();
    assert_eq!(line, "a line\n");
    server.shutdown().unwrap();
    client.close().unwrap();
    server.close().unwrap();
}

/// By address.
fn connecting(pair: &Pair) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let setups = pair.setups();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = pair.client.connect(address, &setups[0]).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.close().unwrap();
        });
        let (socket, _) = listener.accept().unwrap();
        let stream = pair.server.over(socket, Role::Acceptor, &setups[1], &[]);
        let (mut stream, mut got) = (stream.unwrap(), Vec::new());
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"hello");
        stream.close().unwrap();
    });
}
