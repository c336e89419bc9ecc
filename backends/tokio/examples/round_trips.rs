//! How many instructions of user code one message at a time costs, both ends together.
//!
//! Sends N messages of 64 bytes (first argument) over TLS and loopback, each when the verdict of
//! the one before has come. Both ends are tasks of one thread. Two runs under callgrind with
//! different N give the cost of one round trip without that of the start:
//!
//! ```sh
//! cargo build --release --example round_trips -p countersign-tokio
//! valgrind --tool=callgrind target/release/examples/round_trips 1000
//! valgrind --tool=callgrind target/release/examples/round_trips 3000
//! ```

use std::error::Error;

use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_tokio::{
    CloseMode, Config, Identity, Link, ReceiveChannel, Security, SendChannel, Setup, connect,
    listen,
};

type Failure = Box<dyn Error + Send + Sync>;

fn security(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Result<Security, Failure> {
    let identity = Identity::from_der(own.certificate_der(), own.key_der())?;
    Ok(Security::tls(identity, peer.fingerprint()).build()?)
}

async fn receive(link: Link) -> Result<u64, Failure> {
    let mut receiver = link.receiver("messages")?;
    let mut received = 0;
    while receiver.recv().await?.is_some() {
        received += 1;
    }
    Ok(received)
}

async fn send(link: Link, messages: u64) -> Result<(), Failure> {
    let sender = link.sender("messages")?;
    for _ in 0..messages {
        sender.send(&[7; 64][..]).await?.await.into_result()?;
    }
    link.close(CloseMode::Drain).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let argument = std::env::args().nth(1);
    let messages = argument.map_or(Ok(1000), |count| count.parse())?;
    let (one, other) = (
        NewIdentity::new("one").generate()?,
        NewIdentity::new("other").generate()?,
    );
    let sends = Config::new().channel(SendChannel::new("messages"));
    let receives = Config::new().channel(ReceiveChannel::new("messages"));
    let listener = listen(
        "127.0.0.1:0",
        Setup::new(receives, security(&other, &one)?)?,
    )
    .await?;
    let setup = Setup::new(sends, security(&one, &other)?)?;
    let (sender, receiver) =
        tokio::join!(connect(listener.local_addr(), &setup), listener.accept());
    let receiving = tokio::spawn(receive(receiver?));
    tokio::spawn(send(sender?, messages)).await??;
    println!("{} messages received", receiving.await??);
    Ok(())
}
