//! A chat of many: each line goes to all others, and slow members are dropped. Ctrl-C ends it.
//!
//! ```sh
//! cargo run -p basics --bin hub -- --listen 0.0.0.0:3000 \
//!     --cert hub.crt --key hub.key --peers members.txt
//! ```
//!
//! Members take part with `chat --connect`. `members.txt` has a name and a pin in each line:
//! `ann file:ann.crt`, or `ann sha256:...`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use countersign::prelude::*;
use countersign::{Bytes, CloseReason, listen};
use tokio::sync::Mutex;

/// The longest line.
const LINE: usize = 4 * 1024;

/// Lets many people talk: what one says, all others hear.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose one.
    #[arg(long)]
    listen: String,
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// A file with a line for each member: the name and the pins.
    #[arg(long)]
    peers: PathBuf,
}

/// The members that are connected. One may be connected several times.
type Members = Arc<Mutex<BTreeMap<u64, Member>>>;

struct Member {
    name: Arc<str>,
    link: Link,
    down: Sender,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_list_file(&args.peers)?).build()?;
    // At most 64 lines wait for a member, each with a name in front.
    let down = SendChannel::new("down").max_message(2 * LINE);
    let config = Config::new()
        .channel(ReceiveChannel::new("up").max_message(LINE))
        .channel(down.queue(64, 64 * 2 * LINE));
    let listener = listen(args.listen, Setup::new(config, security)?).await?;
    println!("listening on {}", listener.local_addr());

    let members = Members::default();
    let mut stop = pin!(tokio::signal::ctrl_c());
    for number in 0.. {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => drop(tokio::spawn(serve(members.clone(), number, link))),
                Err(error) => listener.log(&error),
            },
            stopped = &mut stop => { stopped?; break }
        }
    }
    listener.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Passes on what one member says, until it has left or was dropped.
async fn serve(members: Members, number: u64, link: Link) {
    let (Ok(mut up), Ok(down)) = (link.receiver("up"), link.sender("down")) else {
        return; // They are declared above.
    };
    let name = link.peer_name().unwrap_or_default(); // Every line of a list has one.
    let member = Member {
        name: name.clone(),
        link: link.clone(),
        down,
    };
    members.lock().await.insert(number, member);
    broadcast(&members, None, format!("{name} is here").into()).await;
    while let Ok(Some(line)) = up.recv().await {
        let line = [name.as_bytes(), b": ", &line].concat();
        broadcast(&members, Some(number), line.into()).await;
    }
    members.lock().await.remove(&number);
    broadcast(&members, None, format!("{name} has left").into()).await;
    println!("{name}: {}", link.ended().await);
}

/// Sends a line to all others without waiting: members that are too far behind are dropped.
async fn broadcast(members: &Members, from: Option<u64>, line: Bytes) {
    members.lock().await.retain(|number, member| {
        if Some(*number) == from {
            return true;
        }
        let sent = member.down.try_send(line.clone());
        if let Err(error) = &sent {
            println!("{} is dropped: {error}", member.name);
            let reason = CloseReason::new(1, "too slow");
            member.link.start_close_with(CloseMode::Withdraw, reason);
        }
        sent.is_ok()
    });
}
