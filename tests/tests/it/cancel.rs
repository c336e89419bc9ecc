//! Futures that are dropped before they are ready have done nothing.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::VecDeque;
use std::io::Read;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countersign_core::{Bytes, CloseMode, Config, ReceiveChannel, SendChannel, Timeouts};
use countersign_tests::on_tokio::Tokio;
use countersign_tests::pair::loopback;
use countersign_tests::{Pair, Transport, memory, watch};
use countersign_tokio::{Setup, connect, listen};

const PAIR: Pair = Pair {
    client: &Tokio,
    server: &Tokio,
    transport: Transport::Tls,
};

fn setups() -> [Setup; 2] {
    let send = SendChannel::new("data").max_message(100).queue(2, 100);
    let receive = ReceiveChannel::new("data").max_message(100);
    [
        PAIR.client_setup(Config::new().channel(send)),
        PAIR.server_setup(Config::new().channel(receive)),
    ]
}

fn patient(setup: &Setup) -> Setup {
    let handshake = Duration::from_secs(3600);
    let timeouts = Timeouts {
        handshake,
        ..Timeouts::default()
    };
    let config = setup.config().clone().timeouts(timeouts);
    Setup::new(config.single_connection(), setup.security().clone()).unwrap()
}

/// Polls a future once and drops it; panics if it was ready.
fn give_up<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
}

#[test]
fn a_send_that_is_dropped_has_not_sent() {
    let [client, server] = setups();
    let ([from, to], mut ends) = memory::link(&client, &server);
    let sender = from.sender("data").unwrap();
    let mut receiver = to.receiver("data").unwrap();
    let kept = [sender.try_send("1").unwrap(), sender.try_send("2").unwrap()];
    give_up(sender.send("dropped"));
    memory::settle(&mut ends);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "1");
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "2");
    memory::settle(&mut ends);
    assert!(
        kept.iter()
            .all(|receipt| receipt.verdict().unwrap().is_handled())
    );
    let receipt = sender.try_send("3").unwrap();
    assert_eq!(receipt.sequence(), 3);
    memory::settle(&mut ends);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "3");
    assert!(receiver.try_recv().unwrap().is_none());
}

#[test]
fn a_batch_that_is_dropped_keeps_what_was_not_sent() {
    let [client, server] = setups();
    let ([from, to], mut ends) = memory::link(&client, &server);
    let sender = from.sender("data").unwrap();
    let mut batch: VecDeque<Bytes> = ["1", "2", "3", "4"].map(Bytes::from).into();
    give_up(sender.send_batch(&mut batch));
    assert_eq!(batch, ["3", "4"]);
    memory::settle(&mut ends);
    let mut receiver = to.receiver("data").unwrap();
    let mut got = Vec::new();
    let mut receiving = Box::pin(receiver.recv_batch(&mut got, 10));
    assert!(matches!(
        memory::poll_once(&mut receiving),
        Poll::Ready(Ok(2))
    ));
    drop(receiving);
    assert_eq!(got, ["1", "2"]);
    memory::settle(&mut ends);
    assert_eq!(from.report().verdicts().to_string(), "2 handled");
}

#[test]
fn a_receive_that_is_dropped_has_taken_nothing() {
    let [client, server] = setups();
    let ([from, to], mut ends) = memory::link(&client, &server);
    let mut receiver = to.receiver("data").unwrap();
    give_up(receiver.recv());
    give_up(receiver.recv_batch(&mut Vec::new(), 5));
    let receipt = from.sender("data").unwrap().try_send("message").unwrap();
    memory::settle(&mut ends);
    assert_eq!(receipt.verdict(), None);
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "message");
    // A future that is made and never polled does nothing either.
    drop(receiver.recv());
    drop(from.sender("data").unwrap().send("never"));
    memory::settle(&mut ends);
    assert!(receiver.try_recv().unwrap().is_none());
}

#[test]
fn a_close_goes_on_without_its_future() {
    let [client, server] = setups();
    let ([from, to], mut ends) = memory::link(&client, &server);
    give_up(from.close(CloseMode::Drain));
    give_up(from.ended());
    memory::settle(&mut ends);
    assert!(from.end_reason().unwrap().is_orderly());
    assert!(to.end_reason().unwrap().is_orderly());
}

#[test]
fn a_connect_that_is_dropped_hangs_up() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let [client, _] = setups();
        let client = patient(&client);
        let opening = runtime.spawn(async move { connect(address, &client).await.map(drop) });
        let (mut stream, _) = listener.accept().unwrap();
        // It has begun to speak.
        assert!(stream.read(&mut [0; 1]).unwrap() == 1);
        opening.abort();
        while matches!(stream.read(&mut [0; 4096]), Ok(count) if count > 0) {}
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_link() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let [client, server] = setups().each_ref().map(patient);
            let listener = listen(loopback(), server).await.unwrap();
            for _ in 0..5 {
                give_up(listener.accept());
                let opened = connect(listener.local_addr(), &client);
                let (opened, accepted) = tokio::join!(opened, listener.accept());
                let (opened, accepted) = (opened.unwrap(), accepted.unwrap());
                let receipt = opened.sender("data").unwrap().send("hello").await.unwrap();
                let mut receiver = accepted.receiver("data").unwrap();
                assert_eq!(receiver.recv().await.unwrap().unwrap(), "hello");
                assert!(receipt.await.is_handled());
                let (ours, theirs) = tokio::join!(opened.close(CloseMode::Drain), accepted.ended());
                assert!(ours.is_orderly() && theirs.is_orderly());
            }
        });
    });
}
