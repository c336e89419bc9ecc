//! `client` without a runtime: sends messages to a server, and prints what became of each.
//!
//! ```sh
//! cargo run -p basics --bin blocking-client -- --connect 127.0.0.1:3000 \
//!     --cert client.crt --key client.key --peer server.crt hello goodbye
//! ```
//!
//! The server may be `blocking-server` or `server`: it doesn't matter what the other end runs on.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use countersign::blocking::connect;
use countersign::prelude::*;

/// Sends messages to the server, and prints what became of each.
#[derive(Parser)]
struct Args {
    /// Where the server listens: host and port.
    #[arg(long)]
    connect: String,
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// The file of the server's certificate.
    #[arg(long)]
    peer: PathBuf,
    /// What to send.
    #[arg(required = true)]
    messages: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // The log shows what is waited for while the server can't be reached.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    let config = Config::new().channel(SendChannel::new("messages"));
    let link = connect(args.connect, &Setup::new(config, security)?)?;

    // All are on their way before the first verdict is awaited.
    let messages = link.sender("messages")?;
    let mut receipts = Vec::new();
    for message in args.messages {
        let receipt = messages.send(message.clone())?;
        receipts.push((message, receipt));
    }
    for (message, receipt) in receipts {
        println!("{message}: {}", receipt.wait());
    }

    let report = link.close(CloseMode::Drain);
    if !report.is_orderly() {
        return Err(report.to_string().into());
    }
    Ok(())
}
