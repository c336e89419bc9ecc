//! What the sockets of a link are set to.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use countersign_core::{Config, ReceiveChannel, SendChannel, Timeouts};
use countersign_driver::prepare_socket;
use countersign_tests::pair::loopback;
use socket2::SockRef;

fn connection() -> [TcpStream; 2] {
    let listener = TcpListener::bind(loopback()).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    [near, listener.accept().unwrap().0]
}

fn prepared(ping: Duration, give_up: Duration) -> TcpStream {
    let timeouts = Timeouts {
        ping,
        give_up,
        ..Timeouts::default()
    };
    let config = Config::new().channel(SendChannel::new("data"));
    let [stream, _] = connection();
    prepare_socket(&SockRef::from(&stream), &config.timeouts(timeouts)).unwrap();
    stream
}

#[test]
fn short_frames_do_not_wait_for_company() {
    let stream = prepared(Duration::from_secs(5), Duration::from_secs(15));
    assert!(SockRef::from(&stream).tcp_nodelay().unwrap());
    assert!(SockRef::from(&stream).keepalive().unwrap());
}

/// Elsewhere the figures can't be read back, or not be set.
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::SocketAddr;
    use std::thread;

    use countersign_tests::backend::Backend;
    use countersign_tests::on_async_std::AsyncStd;
    use countersign_tests::on_futures_io::FuturesIo;
    use countersign_tests::on_smol::Smol;
    use countersign_tests::on_std::Std;
    use countersign_tests::on_tokio::Tokio;
    use countersign_tests::{Pair, Transport, watch};

    use super::*;

    #[test]
    fn the_system_gives_up_a_silent_peer_when_the_link_would() {
        let stream = prepared(Duration::from_secs(4), Duration::from_secs(19));
        let socket = SockRef::from(&stream);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(19))
        );
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(4));
        // So that asking three times takes as long as the link waits after its ping.
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn the_system_takes_little_that_it_can_not_send() {
        let unsent = |config: Config| {
            let [stream, _] = connection();
            let socket = SockRef::from(&stream);
            prepare_socket(&socket, &config).unwrap();
            socket.tcp_notsent_lowat().unwrap()
        };
        let receives = || Config::new().channel(ReceiveChannel::new("back"));
        let [stream, _] = connection();
        let default = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
        assert_ne!(default, 16_384);
        // A listener may declare more when it knows its peer.
        assert_eq!(unsent(receives()), 16_384);
        // Any message may have a limited life.
        let channel = || SendChannel::new("data");
        for sends in [channel(), channel().latest(), channel().urgent()] {
            assert_eq!(unsent(Config::new().channel(sends.clone())), 16_384);
            assert_eq!(unsent(receives().channel(sends)), 16_384);
        }
    }

    #[test]
    fn any_patience_can_be_set() {
        let day = Duration::from_secs(24 * 3600);
        let short = Duration::from_millis(1);
        for (ping, give_up) in [
            (short, 2 * short),
            (day, 2 * day),
            (365 * day, 3650 * day),
            (Duration::from_secs(5), Duration::MAX),
            (Duration::MAX - short, Duration::MAX),
        ] {
            let stream = prepared(ping, give_up);
            let socket = SockRef::from(&stream);
            let alive = socket.tcp_keepalive_time().unwrap();
            assert!(
                alive >= ping.clamp(Duration::from_secs(1), day / 4),
                "{alive:?}"
            );
            let timeout = socket.tcp_user_timeout().unwrap().unwrap();
            assert!(timeout >= give_up.min(20 * day), "{timeout:?}");
        }
    }

    /// The system's view of a connection's timers, from the end at `from`.
    fn timer(from: SocketAddr, to: SocketAddr) -> Option<String> {
        let end = |address: SocketAddr| format!(":{:04X}", address.port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let row = table.lines().skip(1).find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let ends = fields[1].ends_with(&end(from)) && fields[2].ends_with(&end(to));
            // State 1 is an established connection.
            (ends && fields[3] == "01").then(|| fields[5].to_owned())
        });
        row.and_then(|timer| Some(timer.split_once(':')?.0.to_owned()))
    }

    /// With nothing under way, the timer that runs is the one that asks a silent peer.
    fn wait_for_keepalive(from: SocketAddr, to: SocketAddr) {
        while timer(from, to).as_deref() != Some("02") {
            thread::yield_now();
        }
    }

    #[test]
    fn both_ends_of_every_backend_set_their_sockets() {
        let backends: [&'static dyn Backend; 5] = [&Tokio, &Std, &Smol, &AsyncStd, &FuturesIo];
        for backend in backends {
            watch(move || {
                let pair = Pair {
                    client: backend,
                    server: backend,
                    transport: Transport::Plain,
                };
                let listener = pair.listen(Config::new().channel(ReceiveChannel::new("data")));
                let here = listener.address();
                let config = Config::new().channel(SendChannel::new("data"));
                let _ends = pair.join(&*listener, here, config);
                let there = peer_of(here);
                wait_for_keepalive(here, there);
                wait_for_keepalive(there, here);
            });
        }
    }

    /// The other end of the connection to an address.
    fn peer_of(here: SocketAddr) -> SocketAddr {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!(":{:04X}", here.port());
        let ports = table.lines().skip(1).filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_this = fields[1].ends_with(&port) && fields[3] == "01";
            let port = fields[2].rsplit(':').next()?;
            is_this
                .then(|| u16::from_str_radix(port, 16).ok())
                .flatten()
        });
        let port = ports.last().expect("a connection");
        SocketAddr::new(here.ip(), port)
    }
}
