//! Sends back what comes, to any number of peers at once; `chat` can be one. Ctrl-C ends it.
//!
//! ```sh
//! cargo run -p basics --bin echo -- --listen 127.0.0.1:3000 \
//!     --cert server.crt --key server.key --peer ann.crt --peer bob.crt
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Parser;
use countersign::listen;
use countersign::prelude::*;

/// Sends back what comes.
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
    /// The file of a peer's certificate; may be repeated.
    #[arg(long, required = true)]
    peer: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files(&args.peer)?).build()?;
    let config = Config::new()
        .channel(ReceiveChannel::new("up").manual())
        .channel(SendChannel::new("down"));
    let listener = listen(args.listen, Setup::new(config, security)?).await?;
    println!("listening on {}", listener.local_addr());

    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => drop(tokio::spawn(async move {
                    if let Err(error) = echo(&link).await {
                        eprintln!("{error}");
                    }
                    println!("{}", link.ended().await);
                })),
                // The error concerns a single connection, such as that of a stranger.
                Err(error) => listener.log(&error),
            },
            stopped = &mut stop => break stopped?,
        }
    }
    // Closes the links that remain.
    listener.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Serves one peer until its link has ended.
async fn echo(link: &Link) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut up, down) = (link.manual_receiver("up")?, link.sender("down")?);
    while let Some(message) = up.recv().await? {
        // Waits for room, so a peer that doesn't read its echoes can't send more either. A message
        // is handled once its echo is on the way; if that fails, it is rejected by being dropped.
        drop(down.send(message.payload().clone()).await?);
        message.handled();
    }
    Ok(())
}
