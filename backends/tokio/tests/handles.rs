//! What clones and streams of a link's handles are good for.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::pin::pin;

use countersign_core::NotHandled;
use countersign_tokio::{
    CloseMode, Config, Link, LinkEvent, ReceiveChannel, Security, SendChannel, Setup, Verdict, pair,
};
use futures_util::StreamExt;

async fn linked() -> (Link, Link) {
    let opener = Config::new()
        .channel(SendChannel::new("data"))
        .channel(SendChannel::new("more"));
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("data"))
        .channel(ReceiveChannel::new("more"));
    let setup = |config| Setup::new(config, Security::plaintext()).unwrap();
    pair(&setup(opener), &setup(acceptor)).await.unwrap()
}

#[tokio::test]
async fn a_link_is_open_as_long_as_a_clone_of_it() {
    let (near, far) = linked().await;
    let clone = far.clone();
    drop(far);
    let receipt = near.sender("data").unwrap().send("one").await.unwrap();
    // With the first handle gone its receiver could still be asked for.
    let mut receiver = clone.receiver("data").unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap(), "one");
    let handled: Result<(), NotHandled> = receipt.await.into();
    handled.unwrap();

    // Once the last handle is gone, messages are no longer taken.
    let (near, far) = linked().await;
    let _open = far.receiver("more").unwrap();
    drop((far.clone(), far));
    let receipt = near.sender("data").unwrap().send("two").await.unwrap();
    let error = receipt.await.into_result().unwrap_err();
    assert!(matches!(error.verdict(), Verdict::Rejected(_)), "{error}");
}

#[tokio::test]
async fn events_come_as_a_stream_that_ends_with_the_link() {
    let (near, far) = linked().await;
    let mut events = pin!(far.events());
    let closing = tokio::spawn(async move { near.close(CloseMode::Drain).await });
    assert_eq!(events.next().await, Some(LinkEvent::PeerClosing));
    assert_eq!(events.next().await, None);
    assert_eq!(events.next().await, None);
    assert!(closing.await.unwrap().is_orderly());
}

#[tokio::test]
async fn a_stream_of_events_keeps_no_link_open() {
    let (near, far) = linked().await;
    let events = far.events();
    drop(far);
    assert!(near.ended().await.end.is_some());
    assert!(events.collect::<Vec<_>>().await.len() <= 1);
}
