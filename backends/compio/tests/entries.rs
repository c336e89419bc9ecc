//! Every way to a link, with and without io_uring, and what becomes of links without their runtime.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::net::{SocketAddr, TcpListener};

use compio::driver::{DriverType, ProactorBuilder};
use compio::net::TcpStream;
use compio::runtime::{Runtime, spawn, spawn_blocking};
use countersign_compio::{
    ChannelConfig, CloseMode, Config, EndReason, Limits, Link, Loss, ReceiveChannel, Receiver,
    Role, Security, SendChannel, Sender, Setup, close, connect, connect_with, link_over, listen,
    listen_over, pair,
};

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    Setup::new(Config::new().channel(channel), Security::plaintext()).unwrap()
}

fn setups() -> [Setup; 2] {
    let channels = [
        ChannelConfig::from(SendChannel::new("data")),
        ReceiveChannel::new("data").into(),
    ];
    channels.map(setup)
}

fn runtimes() -> [Runtime; 2] {
    let mut polling = ProactorBuilder::new();
    if cfg!(unix) {
        polling.driver_type(DriverType::Poll);
    }
    [ProactorBuilder::new(), polling].map(|builder| {
        let runtime = Runtime::builder().with_proactor(builder).build();
        runtime.unwrap()
    })
}

/// A message from the first end to the second, and the end of both.
async fn use_up([near, far]: [Link; 2]) {
    let receipt = near.sender("data").unwrap().send("hello").await.unwrap();
    let mut receiver = far.receiver("data").unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap(), "hello");
    assert!(receipt.await.is_handled());
    let closing = spawn(async move { near.close(CloseMode::Drain).await });
    assert!(receiver.recv().await.unwrap().is_none());
    assert!(far.ended().await.is_orderly());
    assert!(closing.await.unwrap().is_orderly());
}

#[test]
fn over_tcp_until_the_address_is_free() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let [near, far] = setups();
            let listener = listen("localhost:0", far).await.unwrap();
            let address = listener.local_addr();
            let opened = connect(("localhost", address.port()), &near).await.unwrap();
            use_up([opened, listener.accept().await.unwrap()]).await;
            let dial = move || TcpStream::connect(address);
            let opened = connect_with(dial, &near).await.unwrap();
            use_up([opened, listener.accept().await.unwrap()]).await;
            listener.close().await;
            drop(TcpListener::bind(address).unwrap());
        });
    }
}

#[cfg(unix)]
#[test]
fn over_unix_sockets() {
    use countersign_compio::{connect_unix, listen_unix};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    for runtime in runtimes() {
        runtime.block_on(async {
            let [near, far] = setups();
            let listening = listen_unix(&path, far, Limits::default()).await;
            let listener = listening.unwrap();
            let opened = connect_unix(&path, &near).await.unwrap();
            use_up([opened, listener.accept().await.unwrap()]).await;
            listener.close().await;
            assert!(!path.exists());
        });
    }
}

#[test]
fn over_streams_that_others_open() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let [near, far] = setups();
            let socket = compio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let accept = move || {
                let socket = socket.clone();
                async move { socket.accept().await.map(|(stream, _)| (stream, None)) }
            };
            let listener = listen_over(accept, far, Limits::default());
            let stream = TcpStream::connect(address).await.unwrap();
            let opened = link_over(stream, Role::Opener, &near).await.unwrap();
            use_up([opened, listener.accept().await.unwrap()]).await;
        });
    }
}

#[test]
fn within_a_process() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let [near, far] = setups();
            let (near, far) = pair(&near, &far).await.unwrap();
            use_up([near, far]).await;
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn io_uring_is_used_where_the_system_allows_it() {
    let [best, polling] = runtimes();
    assert!(polling.driver_type().is_polling());
    // Where the kernel has no such setting, it may lack io_uring.
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    assert!(best.driver_type().is_iouring() || setting.is_ok_and(|value| value.trim() != "0"));
}

/// A link whose runtime lives and dies in this thread.
fn without_its_runtime(address: SocketAddr) -> (Link, Sender) {
    let [near, _] = setups();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let link = connect(address, &near).await.unwrap();
        let sender = link.sender("data").unwrap();
        let receipt = sender.send("in time").await.unwrap();
        assert!(receipt.await.is_handled());
        (link, sender)
    })
}

#[test]
fn handles_outlive_their_runtime() {
    Runtime::new().unwrap().block_on(async {
        let [_, far] = setups();
        let listener = listen("127.0.0.1:0", far).await.unwrap();
        let address = listener.local_addr();
        let other = spawn_blocking(move || without_its_runtime(address));
        let link = listener.accept().await.unwrap();
        let mut receiver: Receiver = link.receiver("data").unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "in time");
        let (lost, sender) = other.await.unwrap();
        let end = lost.ended().await.end.unwrap();
        assert_eq!(end.reason(), &EndReason::Lost(Loss::Abandoned));
        assert!(sender.send("too late").await.is_err());
    });
}

async fn assert_dropped(far: &Link) {
    let report = far.ended().await;
    match report.end.as_ref().unwrap().reason() {
        EndReason::Closed { theirs, .. } => assert_eq!(theirs.code, close::DROPPED),
        other => panic!("{other:?}"),
    }
}

/// compio's wakers abort the process where a thread that unwinds wakes them.
#[test]
fn a_thread_that_panics_with_a_link_ends_the_link_alone() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let [near, far] = setups();
            let (near, far) = pair(&near, &far).await.unwrap();
            let panics = move || {
                let _link = near;
                panic!("on purpose");
            };
            std::thread::spawn(panics).join().unwrap_err();
            assert_dropped(&far).await;

            let [near, far] = setups();
            let (near, far) = pair(&near, &far).await.unwrap();
            let task = spawn(async move {
                let _link = near;
                panic!("on purpose");
            });
            assert!(task.await.is_err());
            assert_dropped(&far).await;
        });
    }
}
