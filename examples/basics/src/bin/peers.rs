//! A server with a handler for each peer of a list; `chat` can be one. Ctrl-C ends it.
//!
//! ```sh
//! cargo run -p basics --bin peers -- --listen 127.0.0.1:3000 \
//!     --cert server.crt --key server.key --peers peers.txt
//! ```
//!
//! `peers.txt` has a name and a pin in each line: `ann file:ann.crt`, or `ann sha256:...`.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use countersign::prelude::*;
use countersign::{Escaped, listen};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Serves the peers of a list, each by its name.
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
    /// A file with a line for each peer: its name and its pins.
    #[arg(long)]
    peers: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_list_file(&args.peers)?).build()?;
    let config = Config::new()
        .channel(ReceiveChannel::new("up"))
        .channel(SendChannel::new("down"));
    let listener = listen(args.listen, Setup::new(config, security)?).await?;
    println!("listening on {}", listener.local_addr());

    let mut handlers: HashMap<Arc<str>, mpsc::UnboundedSender<Link>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        let link = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => link,
                Err(error) => { listener.log(&error); continue }
            },
            stopped = &mut stop => break stopped?,
        };
        // Every line of a list has a name.
        let name = link.peer_name().unwrap_or_default();
        let handler = handlers.entry(name.clone()).or_insert_with(|| {
            let (links, of_peer) = mpsc::unbounded_channel();
            tasks.spawn(handle(name, of_peer));
            links
        });
        let _ = handler.send(link);
    }
    listener.drain(Duration::from_secs(5)).await;
    drop(handlers); // No more links come: each handler ends after those it has.
    tasks.join_all().await;
    Ok(())
}

/// Serves one peer for as long as the server runs, over one link after another.
async fn handle(name: Arc<str>, mut links: mpsc::UnboundedReceiver<Link>) {
    let mut lines = 0; // What the server knows of this peer.
    let mut next = links.recv().await;
    while let Some(link) = next {
        next = tokio::select! {
            biased;
            served = serve(&name, &link, &mut lines) => {
                if let Err(error) = served {
                    eprintln!("{name}: {error}");
                }
                println!("{name}: {}", link.ended().await);
                links.recv().await
            }
            // The peer's program was restarted. Its former link would wait for it in vain.
            newer = links.recv() => {
                link.abandon();
                newer
            }
        };
    }
}

async fn serve(
    name: &str,
    link: &Link,
    lines: &mut u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut up, down) = (link.receiver("up")?, link.sender("down")?);
    while let Some(line) = up.recv().await? {
        *lines += 1;
        println!("{name}: {}", Escaped::new(String::from_utf8_lossy(&line)));
        let answer = format!("{name}, that was your line {lines}");
        drop(down.send(answer).await?);
    }
    Ok(())
}
