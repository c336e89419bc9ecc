//! Jobs on a backend's sockets, and the futures that only a backend has.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use countersign_core::{
    Bytes, ChannelConfig, CloseMode, Config, ReceiveChannel, Role, SendChannel,
};
use countersign_driver::{Link, LinkError, LinkEvent, Listener, Setup};
use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream::FuturesUnordered;

use super::forms::{Receives, Sends};
use super::{Drops, Job, Moment, persist, until};
use crate::memory::turn;
use crate::pair::{IDENTITIES, loopback, tls};

/// A backend whose methods are futures and whose handles are the shared driver's.
///
/// Nothing is asked to be `Send`: what a test does runs in one thread.
#[allow(async_fn_in_trait, reason = "nobody spawns these futures")]
pub trait AsyncBackend {
    /// Runs a test's future in this thread.
    fn block_on<T>(&self, test: impl Future<Output = T>) -> T;

    /// Listens.
    async fn listen(&self, address: SocketAddr, setup: Setup) -> io::Result<Listener>;

    /// Opens a link.
    async fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Link, LinkError>;

    /// Opens a link over streams that the backend's way of dialling is asked for.
    async fn connect_with(&self, address: SocketAddr, setup: &Setup) -> Result<Link, LinkError>;

    /// Makes a link over a connection that is open already.
    async fn link_over(
        &self,
        stream: std::net::TcpStream,
        role: Role,
        setup: &Setup,
    ) -> Result<Link, LinkError>;
}

/// Secured setups of an opener and an acceptor.
fn setups([client, server]: [Config; 2]) -> [Setup; 2] {
    let [first, second] = &*IDENTITIES;
    let secured = |config: Config, own, peer: &countersign_certs::GeneratedIdentity| {
        let security = tls(own, peer.fingerprint());
        Setup::new(config.single_connection(), security).unwrap()
    };
    [
        secured(client, first, second),
        secured(server, second, first),
    ]
}

/// Setups of an opener that sends and an acceptor that receives.
fn one_way() -> [Setup; 2] {
    let channels = [
        ChannelConfig::from(SendChannel::new("data")),
        ReceiveChannel::new("data").into(),
    ];
    setups(channels.map(|channel| Config::new().channel(channel)))
}

/// A job in each form, over links that were opened and accepted as usual.
pub fn jobs<B: AsyncBackend>(backend: &B) {
    for sends in Sends::ALL {
        for receives in Receives::ALL {
            let job = Job {
                sends,
                receives,
                count: 50,
                drops: true,
            };
            backend.block_on(async {
                // Where other threads do the work, a wait may be over before it could be dropped.
                while job_on(backend, job).await.contains(&0) {}
            });
        }
    }
}

/// How many futures were dropped.
async fn job_on<B: AsyncBackend>(backend: &B, job: Job) -> [u64; 2] {
    let [client, server] = setups(job.configs());
    let listener = backend.listen(loopback(), server).await.unwrap();
    let address = listener.local_addr();
    let (near, far) = join(backend.connect(address, &client), listener.accept()).await;
    let (work, outcome) = job.work([near.unwrap(), far.unwrap()]);
    // Each piece has a separate waker.
    let mut work: FuturesUnordered<_> = work.into_iter().collect();
    while work.next().await.is_some() {}
    let checked = outcome.borrow().check(job.count);
    checked.map_err(|why| format!("{job:?}: {why}")).unwrap();
    outcome.borrow().drops.counts()
}

/// Connecting as [`AsyncBackend::connect`] does.
pub fn connect<B: AsyncBackend>(backend: &B) {
    let opening = async |address, setup: &Setup| backend.connect(address, setup).await;
    openings(backend, &opening);
}

/// Connecting over streams that a function dials.
pub fn connect_with<B: AsyncBackend>(backend: &B) {
    let opening = async |address, setup: &Setup| backend.connect_with(address, setup).await;
    openings(backend, &opening);
}

/// Connecting over a stream that is open already.
pub fn link_over<B: AsyncBackend>(backend: &B) {
    let opening = async |address, setup: &Setup| {
        let stream = std::net::TcpStream::connect::<SocketAddr>(address).unwrap();
        backend.link_over(stream, Role::Opener, setup).await
    };
    openings(backend, &opening);
}

/// Opens links with futures that are dropped. Those leave nothing but links without a message or
/// errors at the acceptor; the last one is a link as any other.
fn openings<B: AsyncBackend>(
    backend: &B,
    opening: &impl AsyncFn(SocketAddr, &Setup) -> Result<Link, LinkError>,
) {
    let drops = Drops::new(true);
    backend.block_on(async {
        // Where other threads do the work, an attempt may be ready before it could be dropped.
        while drops.counts().into_iter().any(|count| count < 5) {
            let [client, server] = one_way();
            let listener = backend.listen(loopback(), server).await.unwrap();
            let address = listener.local_addr();
            let accepting = accept_until_message(&listener);
            let opening = async {
                let open = async || opening(address, &client).await;
                let link = persist(&drops, open).await.unwrap();
                let receipt = link.sender("data").unwrap().send("hello").await.unwrap();
                assert!(receipt.await.is_handled());
                assert!(link.close(CloseMode::Drain).await.is_orderly());
            };
            let (got, ()) = join(accepting, opening).await;
            assert_eq!(got, ["hello"]);
        }
    });
}

/// Accepts links one after the other, until one brings messages: all of those.
async fn accept_until_message(listener: &Listener) -> Vec<Bytes> {
    loop {
        // A connection that was given up in its handshake is an error.
        let Ok(link) = listener.accept().await else {
            continue;
        };
        let mut receiver = link.receiver("data").unwrap();
        let mut got = Vec::new();
        // So may the end of a link be whose opener did not wait for it.
        while let Ok(Some(message)) = receiver.recv().await {
            got.push(message);
        }
        if !got.is_empty() {
            return got;
        }
    }
}

/// Becoming the acceptor of a stream that is open already.
pub fn link_over_as_acceptor<B: AsyncBackend>(backend: &B) {
    let drops = Drops::new(true);
    backend.block_on(async {
        // Where other threads do the work, the link may be there before it could be given up.
        while drops.counts()[0] == 0 {
            become_acceptor(backend, &drops).await;
        }
    });
}

async fn become_acceptor<B: AsyncBackend>(backend: &B, drops: &Drops) {
    let [client, server] = one_way();
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let opening = async {
        // Links that the acceptor gives up fail, and the next one is opened.
        loop {
            let Ok(link) = backend.connect(address, &client).await else {
                continue;
            };
            let Ok(receipt) = link.sender("data").unwrap().send("hello").await else {
                continue;
            };
            if receipt.await.is_handled() {
                return link.close(CloseMode::Drain).await;
            }
        }
    };
    let accepting = async {
        listener.set_nonblocking(true).unwrap();
        let link = persist(drops, async || {
            let stream = arrival(&listener).await;
            backend.link_over(stream, Role::Acceptor, &server).await
        });
        let link = link.await.unwrap();
        let mut receiver = link.receiver("data").unwrap();
        let mut got = Vec::new();
        while let Some(message) = receiver.recv().await.unwrap() {
            got.push(message);
        }
        got
    };
    let (report, got) = join(opening, accepting).await;
    assert!(report.is_orderly());
    assert_eq!(got, ["hello"]);
}

/// Returns the next connection; other tasks run until it arrives.
async fn arrival(listener: &TcpListener) -> std::net::TcpStream {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        turn().await;
    }
}

/// Accepting: every link comes out, once.
pub fn accept<B: AsyncBackend>(backend: &B) {
    let links = 20;
    let drops = Drops::new(true);
    backend.block_on(async {
        let [client, server] = one_way();
        let listener = backend.listen(loopback(), server).await.unwrap();
        let address = listener.local_addr();
        let opening = async |number: u8| {
            let link = backend.connect(address, &client).await.unwrap();
            let receipt = link.sender("data").unwrap().send(vec![number]).await;
            assert!(receipt.unwrap().await.is_handled());
            assert!(link.close(CloseMode::Drain).await.is_orderly());
        };
        let awaited = Cell::new(0);
        let opening = async {
            // Some one by one, when the acceptor waits for them, and the others at once.
            for number in 0..links / 2 {
                while awaited.get() < number {
                    turn().await;
                }
                opening(number).await;
            }
            join_all((links / 2..links).map(opening)).await;
        };
        let accepting = async {
            let mut numbers = BTreeSet::new();
            for number in 0..links {
                awaited.set(number);
                let accept = async || listener.accept().await;
                let link = persist(&drops, accept).await.unwrap();
                let mut receiver = link.receiver("data").unwrap();
                let number = receiver.recv().await.unwrap().unwrap()[0];
                assert!(numbers.insert(number), "{number} came twice");
                assert!(receiver.recv().await.unwrap().is_none());
            }
            numbers
        };
        let (numbers, ()) = join(accepting, opening).await;
        assert!(numbers.into_iter().eq(0..links));
    });
    let counts = drops.counts();
    assert!(counts.into_iter().all(|count| count >= 10), "{counts:?}");
}

/// Closing a listener goes on without its future, and leaves accepted links alone.
pub fn close<B: AsyncBackend>(backend: &B) {
    let mut dropped = 0;
    backend.block_on(async {
        for moment in Moment::all() {
            let [client, server] = one_way();
            let listener = backend.listen(loopback(), server).await.unwrap();
            let address = listener.local_addr();
            let opened = backend.connect(address, &client);
            let (opened, accepted) = join(opened, listener.accept()).await;
            let (opened, accepted) = (opened.unwrap(), accepted.unwrap());
            let closed = until(moment, listener.close()).await;
            if closed.is_none() {
                dropped += 1;
                // One that was not polled has done nothing, and one that was needs no other.
                if moment.polls == 0 {
                    listener.close().await;
                }
                until_free(address).await;
            }
            drop(TcpListener::bind(address).unwrap());
            assert!(listener.accept().await.unwrap_err().is_closed());
            let receipt = opened.sender("data").unwrap().send("hello").await.unwrap();
            let mut receiver = accepted.receiver("data").unwrap();
            assert_eq!(receiver.recv().await.unwrap().unwrap(), "hello");
            assert!(receipt.await.is_handled());
            if closed.is_some() {
                return;
            }
        }
    });
    assert!(dropped > 0);
}

/// Draining a listener goes on without its future, until every link has closed in order.
pub fn drain<B: AsyncBackend>(backend: &B) {
    let drops = Drops::new(true);
    backend.block_on(async {
        // Where other threads do the work, all may be over before a future could be dropped.
        while drops.counts().contains(&0) {
            drain_once(backend, &drops).await;
        }
    });
}

async fn drain_once<B: AsyncBackend>(backend: &B, drops: &Drops) {
    let limit = Duration::from_secs(3600);
    let [client, server] = one_way();
    let listener = backend.listen(loopback(), server).await.unwrap();
    let address = listener.local_addr();
    let opened = backend.connect(address, &client);
    let (opened, accepted) = join(opened, listener.accept()).await;
    let (opened, accepted) = (opened.unwrap(), accepted.unwrap());
    let mut receiver = accepted.receiver("data").unwrap();
    let draining = async {
        let drained = persist(drops, async || listener.drain(limit).await).await;
        drop(TcpListener::bind(address).unwrap());
        drained
    };
    let receiving = async {
        assert_eq!(opened.event().await, Some(LinkEvent::PeerClosing));
        assert!(opened.ended().await.is_orderly());
        receiver.recv().await.unwrap()
    };
    let (drained, rest) = join(draining, receiving).await;
    assert_eq!((drained.orderly, drained.cut_short), (1, 0));
    assert_eq!(rest, None);
}

/// Waits until an address can be bound.
async fn until_free(address: SocketAddr) {
    while let Err(error) = TcpListener::bind(address) {
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        turn().await;
    }
}

/// Makes a test of everything here for a backend.
#[macro_export]
macro_rules! cancelling {
    ($name:ident, $backend:expr) => {
        mod $name {
            use super::*;

            $crate::cancelling!($backend; jobs connect connect_with link_over
                link_over_as_acceptor accept close drain);
        }
    };
    ($backend:expr; $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::watch(|| $crate::cancelling::on_sockets::$test(&$backend));
            }
        )*
    };
}
