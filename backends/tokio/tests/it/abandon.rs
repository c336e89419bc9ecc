//! Links that one end gives up.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_tokio::{
    ChannelConfig, Config, EndReason, Link, LinkEvent, Listener, Loss, ReceiveChannel, Security,
    SendChannel, SessionLoss, Setup, Verdict, connect, listen,
};

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    Setup::new(Config::new().channel(channel), Security::plaintext()).unwrap()
}

async fn pair() -> (Listener, Link, Link) {
    let receive = ReceiveChannel::new("main").manual();
    let listener = listen("127.0.0.1:0", setup(receive)).await.unwrap();
    let sending = setup(SendChannel::new("main"));
    let (opener, acceptor) =
        tokio::join!(connect(listener.local_addr(), &sending), listener.accept());
    (listener, opener.unwrap(), acceptor.unwrap())
}

#[tokio::test]
async fn nothing_is_waited_for() {
    let (_listener, opener, acceptor) = pair().await;
    let mut receiver = acceptor.manual_receiver("main").unwrap();
    let receipt = opener
        .sender("main")
        .unwrap()
        .send("forward")
        .await
        .unwrap();
    let delivery = receiver.recv().await.unwrap().unwrap();
    opener.abandon();
    assert_eq!(receipt.await, Verdict::Unknown);
    let end = opener.ended().await.end.unwrap();
    assert_eq!(end.reason(), &EndReason::Lost(Loss::Abandoned));
    // The peer finds out at once, and knows no more than that.
    assert!(matches!(
        acceptor.event().await,
        Some(LinkEvent::Lost { .. })
    ));
    delivery.handled();
    // The same without a connection.
    acceptor.abandon();
    assert!(!acceptor.ended().await.is_orderly());
}

#[tokio::test]
async fn a_peer_that_comes_back_is_told() {
    let (_listener, opener, acceptor) = pair().await;
    acceptor.abandon();
    assert!(matches!(opener.event().await, Some(LinkEvent::Lost { .. })));
    let told = LinkEvent::SessionLost(SessionLoss::TooOld);
    assert_eq!(opener.event().await, Some(told));
}

#[tokio::test]
async fn handles_of_one_link_are_told_from_those_of_another() {
    let (_listener, opener, acceptor) = pair().await;
    assert!(opener.same_link(&opener.clone()));
    assert!(!opener.same_link(&acceptor));
}
