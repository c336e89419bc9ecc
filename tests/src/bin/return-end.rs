//! One end of a link as a separate process, for timing how soon it goes on after a cut.
//!
//! `return-end listen|connect ADDRESS FOLDER`; the folder as for `bad-network-end`. The end that
//! connects prints `dial` whenever it opens a connection, `lost` and `resumed`, and sends a message
//! for each line that it reads; the other prints `got` for each that arrives. Each word is followed
//! by the time in microseconds.

#![allow(
    clippy::unwrap_used,
    reason = "this is a part of a test, and panicking is how a test fails"
)]

use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, SystemTime};

use countersign_core::{Config, ReceiveChannel, Reconnect, SendChannel, Timeouts};
use countersign_driver::{LinkEvent, Setup};
use countersign_tests::pair::role_security;
use countersign_tokio::connect_with;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

fn say(word: &str) {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    println!("{word} {}", since.as_micros());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, address, folder] = &arguments[..] else {
        panic!("three arguments are needed, see the head of this program");
    };
    let security = role_security(Path::new(folder), role);
    let timeouts = Timeouts {
        ping: Duration::from_millis(300),
        give_up: Duration::from_secs(1),
        ..Timeouts::default()
    };
    let reconnect = Reconnect {
        longest_delay: Duration::from_millis(200),
        ..Reconnect::default()
    };
    let config = Config::new().timeouts(timeouts).reconnect(reconnect);
    if role == "listen" {
        let config = config.channel(ReceiveChannel::new("data"));
        listen(address, &Setup::new(config, security).unwrap()).await;
    } else {
        let config = config.channel(SendChannel::new("data"));
        connect(address.clone(), &Setup::new(config, security).unwrap()).await;
    }
}

async fn listen(address: &str, setup: &Setup) {
    let listener = countersign_tokio::listen(address, setup.clone())
        .await
        .unwrap();
    let link = listener.accept().await.unwrap();
    let mut receiver = link.receiver("data").unwrap();
    while receiver.recv().await.unwrap().is_some() {
        say("got");
    }
}

async fn connect(address: String, setup: &Setup) {
    let dial = move || {
        say("dial");
        let address = address.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    };
    let link = connect_with(dial, setup).await.unwrap();
    let sender = link.sender("data").unwrap();
    let (lines, mut asked) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            // The other side is gone once the link is closed.
            let _ = lines.send(line.unwrap());
        }
    });
    let mut receipts = Vec::new();
    loop {
        tokio::select! {
            line = asked.recv() => match line {
                Some(line) => receipts.push(sender.send(line).await.unwrap()),
                None => break,
            },
            event = link.event() => match event.unwrap() {
                LinkEvent::Lost { .. } => say("lost"),
                LinkEvent::Resumed => say("resumed"),
                other => panic!("{other:?}"),
            },
        }
    }
    for receipt in receipts {
        assert!(receipt.await.is_handled());
    }
    let replayed = link.report().channels[0].replayed;
    assert!(link.close(Default::default()).await.is_orderly());
    println!("replayed {replayed}");
}
