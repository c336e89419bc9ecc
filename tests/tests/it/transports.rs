//! What links go over besides TCP to one address: each backend has the same functions under the
//! same names.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign_core::{Config, EndReason, Loss, ReceiveChannel, Role, SendChannel, Timeouts};
use countersign_driver::{AddressError, AddressFault, Setup};
use countersign_endpoint::Reason;
use countersign_tests::pair::{IDENTITIES, loopback, tls};
use countersign_tests::watch;

fn setups() -> [Setup; 2] {
    let [client, server] = &*IDENTITIES;
    let sends = Config::new().channel(SendChannel::new("data"));
    let receives = Config::new().channel(ReceiveChannel::new("data"));
    [
        Setup::new(sends, tls(client, server.fingerprint())).unwrap(),
        Setup::new(receives, tls(server, client.fingerprint())).unwrap(),
    ]
}

/// An address without a listener, and the one of a listener.
fn dead_and_alive(alive: SocketAddr) -> &'static [SocketAddr] {
    // Bound, and not listening: connections are refused, and no other socket gets the address.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&loopback().into()).unwrap();
    let dead = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    Box::leak(Box::new([dead, alive]))
}

/// The opener, with so long for a handshake.
fn hurried(opener: &Setup, handshake: Duration) -> Setup {
    let timeouts = Timeouts {
        handshake,
        ..Timeouts::default()
    };
    let config = opener.config().clone().timeouts(timeouts);
    Setup::new(config, opener.security().clone()).unwrap()
}

/// An acceptor that the opener does not know.
fn stranger(acceptor: &Setup) -> Setup {
    let [client, _] = &*IDENTITIES;
    let other = countersign_certs::fixtures::good("other");
    let security = tls(&other, client.fingerprint());
    Setup::new(acceptor.config().clone(), security).unwrap()
}

/// A connection that has carried other bytes in both directions.
fn used_connection() -> [TcpStream; 2] {
    let listener = TcpListener::bind(loopback()).unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut far = listener.accept().unwrap().0;
    let mut line = [0; 6];
    near.write_all(b"START\n").unwrap();
    far.read_exact(&mut line).unwrap();
    far.write_all(b"READY\n").unwrap();
    near.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"READY\n");
    [near, far]
}

/// Where futures are waited for.
macro_rules! awaited {
    ($future:expr) => {
        $future.await
    };
}

/// Where calls block.
macro_rules! blocking {
    ($result:expr) => {
        $result
    };
}

/// Tests of one backend: its crate, what runs a future of its, how its calls are waited for, and
/// how it takes a socket of the standard library's.
macro_rules! transports {
    ($name:ident, $backend:ident, $run:path, $wait:ident, $socket:path) => {
        mod $name {
            use countersign_core::CloseMode;
            use $backend::{Limits, Link, connect, link_over, listen, pair};

            use super::*;

            /// A message goes from one end to the other, and the link is closed in order.
            macro_rules! passes {
                ($opener:expr, $acceptor:expr) => {
                    let (opener, acceptor): (Link, Link) = ($opener, $acceptor);
                    let sender = opener.sender("data").unwrap();
                    let mut receiver = acceptor.receiver("data").unwrap();
                    drop($wait!(sender.send("message")).unwrap());
                    assert_eq!($wait!(receiver.recv()).unwrap().unwrap(), "message");
                    opener.start_close(CloseMode::Drain);
                    assert!($wait!(receiver.recv()).unwrap().is_none());
                    assert!($wait!(acceptor.ended()).is_orderly());
                    let report = $wait!(opener.ended());
                    assert!(report.is_orderly());
                    assert_eq!(report.verdicts().to_string(), "1 handled");
                };
            }

            #[test]
            fn an_address_of_several() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let listener = $wait!(listen(loopback(), acceptor)).unwrap();
                        let addresses = dead_and_alive(listener.local_addr());
                        let opened = $wait!(connect(addresses, &opener)).unwrap();
                        passes!(opened, $wait!(listener.accept()).unwrap());
                    });
                });
            }

            #[test]
            fn the_newer_protocol_of_the_internet() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let listener = $wait!(listen("[::1]:0", acceptor)).unwrap();
                        assert!(listener.local_addr().is_ipv6());
                        let opened = $wait!(connect(listener.local_addr(), &opener)).unwrap();
                        passes!(opened, $wait!(listener.accept()).unwrap());
                    });
                });
            }

            #[test]
            fn a_name() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let listener = $wait!(listen("localhost:0", acceptor)).unwrap();
                        let place = ("localhost", listener.local_addr().port());
                        let opened = $wait!(connect(place, &opener)).unwrap();
                        passes!(opened, $wait!(listener.accept()).unwrap());
                    });
                });
            }

            /// One refuses, one answers with another identity, one accepts and stays silent.
            #[test]
            fn all_addresses_have_their_turn() {
                // [RECONNECT-9]
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let opener = hurried(&opener, Duration::from_secs(1));
                        let other = $wait!(listen(loopback(), stranger(&acceptor))).unwrap();
                        let silent = TcpListener::bind(loopback()).unwrap();
                        let listener = $wait!(listen(loopback(), acceptor)).unwrap();
                        let mut addresses = dead_and_alive(other.local_addr()).to_vec();
                        addresses.push(silent.local_addr().unwrap());
                        addresses.push(listener.local_addr());
                        let opened = $wait!(connect(addresses, &opener)).unwrap();
                        passes!(opened, $wait!(listener.accept()).unwrap());
                    });
                });
            }

            #[test]
            fn a_peer_that_is_at_none_of_its_addresses() {
                // [RECONNECT-5] [RECONNECT-9]
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let one = $wait!(listen(loopback(), stranger(&acceptor))).unwrap();
                        let other = $wait!(listen(loopback(), stranger(&acceptor))).unwrap();
                        let addresses = vec![one.local_addr(), other.local_addr()];
                        let error = $wait!(connect(addresses, &opener)).unwrap_err();
                        let expected = EndReason::Lost(Loss::Unproven);
                        assert_eq!(*error.reason(), expected, "{error}");
                        let why = error.security().unwrap().reason();
                        assert!(matches!(why, Reason::PinMismatch { .. }), "{error}");
                    });
                });
            }

            /// Other systems have no second address by themselves.
            #[cfg(target_os = "linux")]
            #[test]
            fn a_name_is_listened_on_at_all_of_its_addresses() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let name = ["127.0.0.1:0", "127.0.0.2:0"];
                        let name = name.map(|one| one.parse::<SocketAddr>().unwrap());
                        let listener = $wait!(listen(&name[..], acceptor)).unwrap();
                        let addresses = listener.local_addrs().to_vec();
                        assert_eq!(addresses[0], listener.local_addr());
                        let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
                        assert_eq!(ips, name.map(|one| one.ip()));
                        assert_eq!(addresses[0].port(), addresses[1].port());
                        for address in addresses {
                            let opened = $wait!(connect(address, &opener)).unwrap();
                            passes!(opened, $wait!(listener.accept()).unwrap());
                        }
                        $wait!(listener.close());
                    });
                });
            }

            #[test]
            fn what_is_no_address() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let error = $wait!(connect("https://robot:1", &opener)).unwrap_err();
                        let usage = error.usage().unwrap().downcast_ref::<AddressError>();
                        assert_eq!(usage.unwrap().fault(), AddressFault::Url);
                        assert!(error.io().is_none() && !error.can_retry());
                        let any = SocketAddr::from(([127, 0, 0, 1], 0));
                        let error = $wait!(connect(any, &opener)).unwrap_err();
                        assert!(error.to_string().contains("port 0"), "{error}");
                        let error = $wait!(listen(":4433", acceptor)).unwrap_err();
                        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
                        let inside = error.get_ref().unwrap().downcast_ref::<AddressError>();
                        assert_eq!(inside.unwrap().fault(), AddressFault::NoHost);
                    });
                });
            }

            #[cfg(unix)]
            #[test]
            fn a_unix_socket() {
                watch(|| {
                    let folder = tempfile::tempdir().unwrap();
                    let path = folder.path().join("socket");
                    $run(async {
                        let [opener, acceptor] = setups();
                        for _ in 0..2 {
                            let limits = Limits::default();
                            let listener = $backend::listen_unix(&path, acceptor.clone(), limits);
                            let listener = $wait!(listener).unwrap();
                            assert_eq!(listener.local_addr(), path);
                            let opened = $wait!($backend::connect_unix(&path, &opener)).unwrap();
                            passes!(opened, $wait!(listener.accept()).unwrap());
                            assert!(path.exists());
                            $wait!(listener.close());
                            assert!(!path.exists());
                        }
                    });
                });
            }

            #[cfg(unix)]
            #[test]
            fn a_unix_socket_where_nobody_listens() {
                watch(|| {
                    $run(async {
                        let [opener, _] = setups();
                        let config = opener.config().clone();
                        let never = config.reconnect(countersign_core::Reconnect::never());
                        let opener = Setup::new(never, opener.security().clone()).unwrap();
                        let error = $wait!($backend::connect_unix("/nowhere/at/all", &opener));
                        let error = error.unwrap_err().to_string();
                        assert!(error.contains("/nowhere/at/all: "), "{error}");
                    });
                });
            }

            #[test]
            fn within_the_process() {
                watch(|| {
                    $run(async {
                        let [opener, acceptor] = setups();
                        let (opened, accepted) = $wait!(pair(&opener, &acceptor)).unwrap();
                        passes!(opened, accepted);
                    });
                });
            }

            #[test]
            fn a_connection_that_has_carried_other_bytes() {
                watch(|| {
                    let [near, far] = used_connection();
                    let [opener, acceptor] = setups();
                    let accepting = thread::spawn(move || {
                        $run(async {
                            let far = $socket(far);
                            let link = $wait!(link_over(far, Role::Acceptor, &acceptor)).unwrap();
                            let mut receiver = link.receiver("data").unwrap();
                            assert_eq!($wait!(receiver.recv()).unwrap().unwrap(), "message");
                            assert!($wait!(receiver.recv()).unwrap().is_none());
                            assert!($wait!(link.ended()).is_orderly());
                        });
                    });
                    $run(async {
                        let near = $socket(near);
                        let link = $wait!(link_over(near, Role::Opener, &opener)).unwrap();
                        let sender = link.sender("data").unwrap();
                        drop($wait!(sender.send("message")).unwrap());
                        assert!($wait!(link.close(CloseMode::Drain)).is_orderly());
                    });
                    accepting.join().unwrap();
                });
            }
        }
    };
}

mod on_tokio {
    use super::*;

    pub(super) fn run<F: Future>(test: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test)
    }

    pub(super) fn socket(socket: TcpStream) -> tokio::net::TcpStream {
        socket.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(socket).unwrap()
    }
}

mod on_std {
    use super::*;

    /// Runs what waits for nothing by itself.
    pub(super) fn run<F: Future>(test: F) -> F::Output {
        futures_util::FutureExt::now_or_never(test).unwrap()
    }

    pub(super) fn socket(socket: TcpStream) -> TcpStream {
        socket
    }
}

mod on_smol {
    use super::*;

    pub(super) fn socket(socket: TcpStream) -> smol::net::TcpStream {
        socket.try_into().unwrap()
    }
}

mod on_async_std {
    use countersign_async_std::Socket;

    use super::*;

    pub(super) fn socket(socket: TcpStream) -> Socket<async_std::net::TcpStream> {
        Socket(socket.into())
    }
}

mod on_compio {
    use super::*;

    pub(super) fn run<F: Future>(test: F) -> F::Output {
        compio::runtime::Runtime::new().unwrap().block_on(test)
    }

    pub(super) fn socket(socket: TcpStream) -> compio::net::TcpStream {
        compio::net::TcpStream::from_std(socket).unwrap()
    }
}

transports!(
    tokio_backend,
    countersign_tokio,
    on_tokio::run,
    awaited,
    on_tokio::socket
);
transports!(
    std_backend,
    countersign_std,
    on_std::run,
    blocking,
    on_std::socket
);
transports!(
    smol_backend,
    countersign_smol,
    smol::block_on,
    awaited,
    on_smol::socket
);
transports!(
    async_std_backend,
    countersign_async_std,
    async_std::task::block_on,
    awaited,
    on_async_std::socket
);
transports!(
    compio_backend,
    countersign_compio,
    on_compio::run,
    awaited,
    on_compio::socket
);
