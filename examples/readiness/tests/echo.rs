//! Many peers over TLS, one of which loses its connection, and all of which are closed in order.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::Instant as StdInstant;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{Config, Drained, Event, Instant, ReceiveChannel, SendChannel};
use countersign_endpoint::{Identity, LinksEvent, Security};
use countersign_tokio::{LinkEvent, Setup, connect_with};
use readiness::Server;

const PEERS: usize = 20;
const WORDS: usize = 50;
/// The peer whose connection is cut.
const UNLUCKY: usize = 7;

fn security(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Security {
    let identity = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    let tls = Security::tls(identity, peer.fingerprint());
    tls.build().unwrap()
}

/// Says words, hears them again, and then that all is well.
async fn peer(number: usize, address: SocketAddr, security: Security) {
    let config = Config::new()
        .channel(SendChannel::new("words"))
        .channel(ReceiveChannel::new("echoes"));
    let setup = Setup::new(config, security).unwrap();
    let socket = Arc::new(Mutex::new(None));
    let open = {
        let socket = socket.clone();
        move || {
            let socket = socket.clone();
            async move {
                let stream = TcpStream::connect(address)?;
                stream.set_nonblocking(true)?;
                *socket.lock().unwrap() = Some(stream.try_clone()?);
                tokio::net::TcpStream::from_std(stream)
            }
        }
    };
    let link = connect_with(open, &setup).await.unwrap();
    let words = link.sender("words").unwrap();
    let mut echoes = link.receiver("echoes").unwrap();
    for at in 0..WORDS {
        let word = format!("{number}: {at}");
        let receipt = words.send(word.clone()).await.unwrap();
        if number == UNLUCKY && at == WORDS / 2 {
            let socket = socket.lock().unwrap().take().unwrap();
            socket.shutdown(Shutdown::Both).unwrap();
            assert!(matches!(link.event().await, Some(LinkEvent::Lost { .. })));
            assert_eq!(link.event().await, Some(LinkEvent::Resumed));
        }
        assert_eq!(echoes.recv().await.unwrap().unwrap(), word);
        assert!(receipt.await.is_handled());
    }
    // The server closes.
    assert_eq!(echoes.recv().await.unwrap(), None);
    assert!(link.ended().await.is_orderly());
}

#[test]
fn many_peers_hear_themselves() {
    let [station, robot] = ["station", "robot"].map(fixtures::good);
    let loopback = "127.0.0.1:0".parse().unwrap();
    let mut server = Server::new(loopback, &security(&station, &robot)).unwrap();
    let address = server.address().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let security = security(&robot, &station);
    let mut peers: Vec<_> = (0..PEERS)
        .map(|number| runtime.spawn(peer(number, address, security.clone())))
        .collect();

    let begun = StdInstant::now();
    let (mut accepted, mut words, mut resumed) = (0, 0, 0);
    while server.drained().is_none() || !peers.is_empty() {
        let now = Instant::ZERO + begun.elapsed();
        server.service(|| now, &mut |what| match what {
            LinksEvent::Accepted { .. } => accepted += 1,
            LinksEvent::Event { event, .. } => match event {
                Event::Handled { first, last, .. } => words += last - first + 1,
                Event::Resumed => resumed += 1,
                _ => {}
            },
            _ => {}
        });
        if accepted == PEERS && words == (PEERS * WORDS) as u64 {
            server.drain(now);
        }
        // One that has failed says so.
        let over: Vec<_> = peers.extract_if(.., |peer| peer.is_finished()).collect();
        for peer in over {
            runtime.block_on(peer).unwrap();
        }
        yield_now();
    }
    assert_eq!(resumed, 1);
    let all = Drained {
        orderly: PEERS,
        cut_short: 0,
    };
    assert_eq!(server.drained(), Some(all));
}
