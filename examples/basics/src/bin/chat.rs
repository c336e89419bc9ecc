//! Two people at two terminals: what one types, the other reads. End of input (Ctrl-D) closes the
//! link.
//!
//! ```sh
//! cargo run -p basics --bin chat -- --listen 0.0.0.0:3000 --cert ann.crt --key ann.key --peer bob.crt
//! cargo run -p basics --bin chat -- --connect ann.local:3000 --cert bob.crt --key bob.key --peer ann.crt
//! ```
//!
//! With `--connect` it also talks to `echo`, `peers` and `hub`.

use std::error::Error;
use std::io::stdin;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use countersign::Escaped;
use countersign::blocking::{Link, Listener, connect, listen};
use countersign::prelude::*;

/// Lets two people talk: what one types, the other reads.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    place: Place,
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// The file of the other's certificate.
    #[arg(long)]
    peer: PathBuf,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The address to listen on; port 0 lets the system choose one.
    #[arg(long)]
    listen: Option<String>,
    /// Where the other listens: host and port.
    #[arg(long)]
    connect: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    // A channel has one name at both ends: `up` goes from the end that connects to the one that
    // listens.
    let (ours, theirs) = match args.place.connect {
        Some(_) => ("up", "down"),
        None => ("down", "up"),
    };
    let config = Config::new()
        .channel(SendChannel::new(ours))
        .channel(ReceiveChannel::new(theirs));
    let setup = Setup::new(config, security)?;

    let listener; // Kept until the end: a peer that lost its connection comes back through it.
    let link = if let Some(address) = args.place.connect {
        connect(address, &setup)?
    } else {
        listener = listen(args.place.listen.unwrap_or_default(), setup)?;
        println!("listening on {}", listener.local_addr());
        accept(&listener)?
    };
    println!("connected");

    // Two threads share the link: one types, this one reads.
    let link = Arc::new(link);
    let typing = link.clone();
    let sender = link.sender(ours)?;
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            // This fails once the other has gone, and then the link has ended.
            if sender.send(line).is_err() {
                return;
            }
        }
        typing.start_close(CloseMode::Drain);
    });
    for line in link.receiver(theirs)?.iter() {
        match line {
            // What a peer says is escaped, so that it can't control the terminal.
            Ok(line) => println!("> {}", Escaped::new(String::from_utf8_lossy(&line))),
            Err(error) if error.is_border() => println!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    println!("{}", link.ended());
    Ok(())
}

fn accept(listener: &Listener) -> Result<Link, Box<dyn Error>> {
    loop {
        match listener.accept() {
            Ok(link) => return Ok(link),
            Err(error) if error.is_closed() => return Err(error.into()),
            // The error concerns a single connection, such as that of a stranger.
            Err(error) => listener.log(&error),
        }
    }
}
