//! Addresses: bound again, and several for one name.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::net::SocketAddr;

use countersign_core::{Config, ReceiveChannel, SendChannel};
use countersign_driver::{LinkError, Setup};
use countersign_endpoint::Security;
use countersign_tests::pair::loopback;
use countersign_tests::watch;

const TIMES: usize = 50;

fn receiving() -> Setup {
    let config = Config::new().channel(ReceiveChannel::new("data"));
    Setup::new(config.single_connection(), Security::plaintext()).unwrap()
}

fn sending() -> Setup {
    let config = Config::new().channel(SendChannel::new("data"));
    Setup::new(config.single_connection(), Security::plaintext()).unwrap()
}

fn on_tokio<T: Send + 'static>(
    threads: usize,
    test: impl Future<Output = T> + Send + 'static,
) -> T {
    watch(move || {
        let mut runtime = if threads == 0 {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = runtime.worker_threads(threads.max(1)).enable_all().build();
        runtime.unwrap().block_on(test)
    })
}

#[test]
fn an_address_is_free_when_its_blocking_listener_was_dropped() {
    watch(|| {
        for _ in 0..TIMES {
            let listener = countersign_std::listen(loopback(), receiving()).unwrap();
            let address = listener.local_addr();
            // A peer in the middle of a handshake does not hold it.
            let stranger = std::net::TcpStream::connect(address).unwrap();
            drop(listener);
            countersign_std::listen(address, receiving()).unwrap();
            drop(stranger);
        }
    });
}

#[test]
fn an_address_is_free_when_its_asynchronous_listener_was_closed() {
    for threads in [0, 2] {
        on_tokio(threads, async {
            for _ in 0..TIMES {
                let listener = countersign_tokio::listen(loopback(), receiving());
                let listener = listener.await.unwrap();
                let address = listener.local_addr();
                let stranger = tokio::net::TcpStream::connect(address).await.unwrap();
                listener.close().await;
                let again = countersign_tokio::listen(address, receiving());
                again.await.unwrap().close().await;
                drop(stranger);
            }
        });
    }
}

#[test]
fn a_name_without_addresses_is_the_same_error_everywhere() {
    const NONE: &[SocketAddr] = &[];
    let blocking = countersign_std::connect(NONE, &sending()).map(drop);
    let other = on_tokio(0, async {
        countersign_tokio::connect(NONE, &sending()).await.map(drop)
    });
    let [blocking, other]: [LinkError; 2] = [blocking, other].map(Result::unwrap_err);
    assert_eq!(blocking.io().unwrap().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(other.io().unwrap().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(blocking.to_string(), other.to_string());
}

/// Elsewhere a listener with a full queue may refuse instead of keeping silent.
#[cfg(target_os = "linux")]
mod silent {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use countersign_core::Timeouts;

    use super::*;

    /// A listener that never answers, and the connections that fill its queue.
    fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&loopback().into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(200);
        let connect = || TcpStream::connect_timeout(&address, limit).ok();
        let queue = std::iter::from_fn(connect).collect();
        (listener, queue)
    }

    #[test]
    fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let timeouts = Timeouts {
            handshake: Duration::from_secs(2),
            ..Timeouts::default()
        };
        let config = sending().config().clone().timeouts(timeouts);
        let client = Setup::new(config.single_connection(), Security::plaintext()).unwrap();
        let (silent, _queue) = silent();
        on_tokio(1, async move {
            let listener = countersign_tokio::listen(loopback(), receiving());
            let listener = listener.await.unwrap();
            let addresses = vec![silent.local_addr().unwrap(), listener.local_addr()];
            let addresses: &'static [_] = addresses.leak();
            let link = countersign_tokio::connect(addresses, &client).await;
            link.unwrap();
        });
    }
}
