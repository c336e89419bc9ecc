//! Which peers get a stream, and what the others learn.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::{Fingerprint, Identity, Pins, PlainProtocol, Reason};

use rustls::Connection;

use super::{reason, security};
use crate::adversary::Disguise;
use crate::pair::{IDENTITIES, tls};
use crate::secure::{Pair, sockets};

scenarios! {
    SECURED {
        peers_are_known,
        peers_have_names,
        a_peer_that_does_not_ask,
        wrong_pin_at_the_client,
        wrong_pin_at_the_server,
        a_handshake_that_stalls,
        a_peer_that_hangs_up,
        a_peer_that_does_not_speak_tls,
        a_pin_is_removed,
    }
}

/// Both ends know the other's identity.
fn peers_are_known(pair: &Pair) {
    let [client_identity, server_identity] = &*IDENTITIES;
    let (client, server) = pair.streams();
    assert_eq!(client.peer(), Some(server_identity.fingerprint()));
    assert_eq!(server.peer(), Some(client_identity.fingerprint()));
    assert_eq!([client.peer_name(), server.peer_name()], [None; 2]);
    assert!(
        client
            .cipher()
            .is_some_and(|name| name.starts_with("TLS13_"))
    );
    assert_eq!(client.cipher(), server.cipher());
}

/// What the application calls them.
fn peers_have_names(pair: &Pair) {
    let [client, server] = &*IDENTITIES;
    let named = |own, peer: &GeneratedIdentity, name| {
        let pins = Pins::from(peer.fingerprint()).named(name).unwrap();
        StreamSetup::new(tls(own, pins))
    };
    let setups = [
        named(client, server, "station"),
        named(server, client, "robot"),
    ];
    let (client, server) = pair.over(sockets(), &setups);
    assert_eq!(client.peer_name(), Some("station"));
    assert_eq!(server.peer_name(), Some("robot"));
}

/// A server that does not ask for certificates is refused, unless that was said to be well.
fn a_peer_that_does_not_ask(pair: &Pair) {
    let [setup, _] = pair.setups();
    for one_sided in [false, true] {
        let (near, far) = sockets();
        let setup = match one_sided {
            true => setup.clone().one_sided(),
            false => setup.clone(),
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let disguise = Disguise::of(&IDENTITIES[1]).speaking(None).without_asking();
                let Connection::Server(mut tls) = disguise.connection(Role::Opener) else {
                    panic!("it accepts")
                };
                let mut far = far;
                let mut stream = rustls::Stream::new(&mut tls, &mut far);
                // If refused, it reads an end of stream in place of a line.
                let mut line = [0; 5];
                if stream.read_exact(&mut line).is_ok() {
                    assert_eq!(&line, b"hello");
                    stream.write_all(b"there").unwrap();
                }
            });
            let made = pair.client.over(near, Role::Opener, &setup, &[]);
            match made {
                Ok(mut stream) => {
                    assert!(one_sided);
                    stream.write_all(b"hello").unwrap();
                    stream.flush().unwrap();
                    let mut line = [0; 5];
                    stream.read_exact(&mut line).unwrap();
                    assert_eq!(&line, b"there");
                    assert_eq!(stream.peer(), Some(IDENTITIES[1].fingerprint()));
                }
                Err(error) => {
                    assert!(!one_sided, "{error}");
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    assert_eq!(*reason(&error), Reason::NotAskedForCertificate);
                }
            }
        });
    }
}

/// Secures both ends, and lets the opener read until it fails if it got that far. Returns both
/// errors.
fn refused(pair: &Pair, setups: &[StreamSetup; 2]) -> (io::Error, io::Error) {
    let (near, far) = sockets();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let made = pair.server.over(far, Role::Acceptor, &setups[1], &[]);
            made.err().expect("the acceptor's end fails")
        });
        let client = match pair.client.over(near, Role::Opener, &setups[0], &[]) {
            Ok(mut stream) => stream
                .read(&mut [0; 10])
                .expect_err("the opener's end fails"),
            Err(error) => error,
        };
        (client, server.join().unwrap())
    })
}

/// Which of the two refuses, and what both are told.
fn assert_refusal(refuses: &io::Error, is_refused: &io::Error, seen: usize, own: usize) {
    let seen = IDENTITIES[seen].fingerprint();
    assert_eq!(refuses.kind(), ErrorKind::PermissionDenied);
    assert!(
        matches!(reason(refuses), Reason::PinMismatch { .. }),
        "{refuses}"
    );
    let text = refuses.to_string();
    assert!(
        text.starts_with("we refused the peer: it presented the key"),
        "{text}"
    );
    assert!(text.contains(&seen.to_string()), "{text}");
    assert_eq!(
        is_refused.kind(),
        ErrorKind::PermissionDenied,
        "{is_refused}"
    );
    let text = is_refused.to_string();
    assert!(
        text.starts_with("the peer refused our certificate"),
        "{text}"
    );
    assert!(
        text.contains(&IDENTITIES[own].fingerprint().to_string()),
        "{text}"
    );
    assert!(!security(is_refused).can_retry());
}

/// The opener expects another identity.
fn wrong_pin_at_the_client(pair: &Pair) {
    let stranger = fixtures::good("stranger");
    let [_, server] = pair.setups();
    let client = StreamSetup::new(tls(&IDENTITIES[0], stranger.fingerprint()));
    let (client, server) = refused(pair, &[client, server]);
    assert_refusal(&client, &server, 1, 1);
}

/// The acceptor expects another identity: the opener learns of it when it reads.
fn wrong_pin_at_the_server(pair: &Pair) {
    let stranger = fixtures::good("stranger");
    let [client, _] = pair.setups();
    let server = StreamSetup::new(tls(&IDENTITIES[1], stranger.fingerprint()));
    let (client, server) = refused(pair, &[client, server]);
    assert_refusal(&server, &client, 0, 0);
}

/// One end of the pair, and something else.
fn against(
    pair: &Pair,
    change: impl Fn(StreamSetup) -> StreamSetup,
    other: impl Fn(TcpStream) + Sync,
    judge: impl Fn(io::Error),
) {
    for (role, setup) in [Role::Opener, Role::Acceptor]
        .into_iter()
        .zip(pair.setups())
    {
        let (near, far) = sockets();
        thread::scope(|scope| {
            scope.spawn(|| other(far));
            let backend = if role == Role::Opener {
                pair.client
            } else {
                pair.server
            };
            let made = backend.over(near, role, &change(setup), &[]);
            judge(made.err().expect("no stream comes of it"));
        });
    }
}

/// A peer that says nothing, or not enough, holds the handshake up for as long as was said.
fn a_handshake_that_stalls(pair: &Pair) {
    const LIMIT: Duration = Duration::from_millis(50);
    // The beginning of a record that never comes to its end.
    for said in [&[][..], &[22, 3, 1, 0, 200, 1]] {
        against(
            pair,
            |setup| setup.handshake_limit(LIMIT),
            |mut socket| {
                socket.write_all(said).unwrap();
                // Until this end has given up, and with a word of ours perhaps.
                let _ = socket.read_to_end(&mut Vec::new());
            },
            |error| {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert_eq!(error.to_string(), "the handshake took longer than 50ms");
            },
        );
    }
}

/// A peer that hangs up in the handshake.
fn a_peer_that_hangs_up(pair: &Pair) {
    against(
        pair,
        |setup| setup,
        |socket| socket.shutdown(Shutdown::Write).unwrap(),
        |error| {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
            assert!(
                matches!(reason(&error), Reason::ClosedDuringHandshake),
                "{error}"
            );
        },
    );
}

/// A peer that speaks something else.
fn a_peer_that_does_not_speak_tls(pair: &Pair) {
    let (sender, receiver) = mpsc::channel();
    against(
        pair,
        |setup| setup,
        |mut socket| {
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
            // An honest peer hangs up when we do.
            let _ = socket.read_to_end(&mut Vec::new());
            sender.send(()).unwrap();
        },
        |error| {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let seems = PlainProtocol::Http;
            assert_eq!(*reason(&error), Reason::NotTls { seems });
        },
    );
    drop(sender);
    assert_eq!(receiver.iter().count(), 2, "the peer has seen us go");
}

/// A removed pin ends a stream that is up at the next write or read, and lets in no new one. A
/// stream with another pin goes on.
fn a_pin_is_removed(pair: &Pair) {
    let [client_is, server_is] = &*IDENTITIES;
    let setups = pair.setups();
    let (mut client, mut server) = pair.over(sockets(), &setups);
    client.write_all(b"before").unwrap();
    client.flush().unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    let replace = |pin: Fingerprint| {
        let (certificate, key) = (server_is.certificate_der(), server_is.key_der());
        let own = Identity::from_der(certificate, key).unwrap();
        setups[1].security().replace(own, pin).unwrap();
    };
    replace(client_is.fingerprint());
    server.write_all(b"as before").unwrap();
    server.flush().unwrap();
    client.read_exact(&mut [0; 9]).unwrap();

    let other = fixtures::good("other");
    replace(other.fingerprint());
    let error = server.write_all(b"unheard").and_then(|()| server.flush());
    let error = error.expect_err("its pin is gone");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let presented = Some(client_is.fingerprint());
    assert_eq!(*reason(&error), Reason::PinRemoved { presented });
    let error = server.read(&mut [0; 1]).expect_err("its pin is gone");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    drop(server);
    let error = client.read(&mut [0; 1]).expect_err("no orderly end");
    assert_ne!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let (at_client, at_server) = refused(pair, &setups);
    assert_eq!(at_client.kind(), ErrorKind::PermissionDenied, "{at_client}");
    assert!(
        matches!(reason(&at_server), Reason::PinMismatch { .. }),
        "{at_server}"
    );
}
