//! tokio's paused clock: users' tests with links in them take no time.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_tokio::{
    ChannelConfig, CloseMode, Config, EndReason, Link, LinkEvent, Loss, Outgoing, ReceiveChannel,
    Reconnect, Role, Security, SendChannel, Setup, Timeouts, Verdict, connect, connect_with,
    link_over, listen, pair,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::join;
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    let config = Config::new().channel(channel);
    Setup::new(config, Security::plaintext()).unwrap()
}

fn sending() -> Setup {
    setup(SendChannel::new("main"))
}

fn receiving() -> Setup {
    setup(ReceiveChannel::new("main"))
}

/// Two ends, and how nothing comes through between them any more, though nothing is closed.
async fn apart() -> (Link, Link, Arc<AtomicBool>) {
    let silent = Arc::new(AtomicBool::new(false));
    let ((near, close), (far, distant)) = (duplex(1000), duplex(1000));
    let ((close_in, close_out), (distant_in, distant_out)) = (split(close), split(distant));
    let carry = |mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>| {
        let silent = silent.clone();
        tokio::spawn(async move {
            let mut piece = [0; 1000];
            loop {
                let count = from.read(&mut piece).await.unwrap();
                if count == 0 || silent.load(Ordering::SeqCst) {
                    return pending().await;
                }
                to.write_all(&piece[..count]).await.unwrap();
            }
        });
    };
    carry(close_in, distant_out);
    carry(distant_in, close_out);
    let (sending, receiving) = (sending(), receiving());
    let (opener, acceptor) = join!(
        link_over(near, Role::Opener, &sending),
        link_over(far, Role::Acceptor, &receiving)
    );
    (opener.unwrap(), acceptor.unwrap(), silent)
}

/// The handshake's time limit, in no time.
#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    let begun = Instant::now();
    let (near, mut far) = duplex(1000);
    let config = sending().config().clone().reconnect(Reconnect::never());
    let never = Setup::new(config, Security::plaintext()).unwrap();
    let mut near = Some(near);
    let dial = move || {
        let near = near.take();
        async move { near.ok_or_else(|| io::ErrorKind::NotConnected.into()) }
    };
    let error = connect_with(dial, &never).await.unwrap_err();
    assert_eq!(*error.reason(), EndReason::Lost(Loss::HandshakeTooSlow));
    assert!(begun.elapsed() >= Timeouts::default().handshake);
    let mut hello = Vec::new();
    far.read_to_end(&mut hello).await.unwrap();
    assert!(!hello.is_empty());
}

/// An idle link asks from time to time whether its peer is still connected.
#[tokio::test(start_paused = true)]
async fn an_hour_passes() {
    let (opener, acceptor) = pair(&sending(), &receiving()).await.unwrap();
    sleep(HOUR).await;
    let receipt = opener
        .sender("main")
        .unwrap()
        .send("forward")
        .await
        .unwrap();
    let mut receiver = acceptor.receiver("main").unwrap();
    assert_eq!(&receiver.recv().await.unwrap().unwrap()[..], b"forward");
    assert!(receipt.await.is_handled());
    assert!(opener.close(CloseMode::Drain).await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn over_sockets_too() {
    let listener = listen("127.0.0.1:0", receiving()).await.unwrap();
    let (address, setup) = (listener.local_addr(), sending());
    let (opener, acceptor) = join!(connect(address, &setup), listener.accept());
    let (opener, acceptor) = (opener.unwrap(), acceptor.unwrap());
    let receipt = opener
        .sender("main")
        .unwrap()
        .send("forward")
        .await
        .unwrap();
    let mut receiver = acceptor.receiver("main").unwrap();
    assert_eq!(&receiver.recv().await.unwrap().unwrap()[..], b"forward");
    assert!(receipt.await.is_handled());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let (opener, acceptor, silent) = apart().await;
    let begun = Instant::now();
    silent.store(true, Ordering::SeqCst);
    for link in [opener, acceptor] {
        let end = link.ended().await.end.unwrap();
        assert_eq!(*end.reason(), EndReason::Lost(Loss::Silence));
    }
    let waited = begun.elapsed();
    assert!(waited >= Timeouts::default().give_up && waited < HOUR);
}

/// What was not on the wire in time, with no connection to put it on.
#[tokio::test(start_paused = true)]
async fn a_message_expires() {
    let (near, far) = duplex(1000);
    let mut near = Some(near);
    let dial = move || {
        let near = near.take();
        async move {
            match near {
                Some(near) => Ok::<_, io::Error>(near),
                None => pending().await,
            }
        }
    };
    let (sending, receiving) = (sending(), receiving());
    let (opener, acceptor) = join!(
        connect_with(dial, &sending),
        link_over(far, Role::Acceptor, &receiving)
    );
    let opener = opener.unwrap();
    acceptor.unwrap().abandon();
    assert!(matches!(opener.event().await, Some(LinkEvent::Lost { .. })));
    let begun = Instant::now();
    let sender = opener.sender("main").unwrap();
    let late = sender.send(Outgoing::from("stop").expires_in(HOUR)).await;
    assert_eq!(late.unwrap().await, Verdict::Expired);
    assert!(begun.elapsed() >= HOUR && begun.elapsed() < 2 * HOUR);
    // By tokio's own name for a moment.
    let moment = (Instant::now() + HOUR).into_std();
    let late = sender.send(Outgoing::from("stop").expires(moment)).await;
    assert_eq!(late.unwrap().await, Verdict::Expired);
    assert!(begun.elapsed() >= 2 * HOUR);
}

/// A close to which the peer says nothing.
#[tokio::test(start_paused = true)]
async fn a_close_comes_to_a_standstill() {
    let (opener, _acceptor, silent) = apart().await;
    silent.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let report = opener.close(CloseMode::Drain).await;
    assert!(!report.is_orderly());
    assert!(begun.elapsed() >= Timeouts::default().close && begun.elapsed() < HOUR);
}
