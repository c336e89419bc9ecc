//! Prints the messages of one `client`, until it closes the link.
//!
//! ```sh
//! cargo run -p basics --bin server -- --listen 127.0.0.1:3000 \
//!     --cert server.crt --key server.key --peer client.crt
//! ```
//!
//! `countersign keygen server` makes `server.crt` and `server.key`. For a server with many clients
//! see `peers`.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use countersign::prelude::*;
use countersign::{Escaped, listen};

/// Prints the messages of one client, until that closes the link.
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
    /// The file of the client's certificate.
    #[arg(long)]
    peer: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    // With `manual`, a message is handled when this program says so, not when it arrives.
    let config = Config::new().channel(ReceiveChannel::new("messages").manual());

    // Kept, because a client that lost its connection comes back through it.
    let listener = listen(args.listen, Setup::new(config, security)?).await?;
    println!("listening on {}", listener.local_addr());
    let link = loop {
        match listener.accept().await {
            Ok(link) => break link,
            Err(error) if error.is_closed() => return Err(error.into()),
            // The error concerns a single connection, such as that of a stranger.
            Err(error) => listener.log(&error),
        }
    };

    let mut messages = link.manual_receiver("messages")?;
    while let Some(message) = messages.recv().await? {
        match std::str::from_utf8(&message) {
            Ok(text) => {
                println!("{}", Escaped::whole(text));
                message.handled();
            }
            Err(_) => message.reject(1, "not text"),
        }
    }
    // Once this is ready, the client's receipts and its farewell are out.
    println!("{}", link.ended().await);
    Ok(())
}
