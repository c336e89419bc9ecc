//! A link over something other than a socket: standard input and output, perhaps a serial line.
//!
//! ```sh
//! stty -F /dev/ttyUSB0 115200 raw -echo
//! serial --cert robot.crt --key robot.key --peer station.crt < /dev/ttyUSB0 > /dev/ttyUSB0
//! ```
//!
//! and at the other end of the line the same with messages to send:
//!
//! ```sh
//! serial --cert station.crt --key station.key --peer robot.crt forward stop < /dev/ttyS1 > /dev/ttyS1
//! ```
//!
//! `link_over_halves` takes any reader and writer instead.

use std::error::Error;
use std::io::{stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use countersign::blocking::link_over_halves;
use countersign::prelude::*;
use countersign::{Escaped, Role, Timeouts};

/// Sends messages over standard input and output, or prints those that come on standard error.
#[derive(Parser)]
struct Args {
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// The file of the peer's certificate.
    #[arg(long)]
    peer: PathBuf,
    /// What to send; without any, this end receives.
    messages: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    // A serial line never ends, so neither end waits long for that once both have agreed to close.
    // Frames are small, since the line is slow.
    let timeouts = Timeouts {
        linger: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let config = Config::new().timeouts(timeouts).frame_limit(1024);

    if args.messages.is_empty() {
        let config = config.channel(ReceiveChannel::new("messages"));
        let setup = Setup::new(config, security)?;
        let link = link_over_halves(stdin(), stdout(), Role::Acceptor, &setup)?;
        for message in link.receiver("messages")?.iter() {
            let message = message?;
            eprintln!("{}", Escaped::new(String::from_utf8_lossy(&message)));
        }
        eprintln!("{}", link.ended());
        return Ok(());
    }

    let config = config.channel(SendChannel::new("messages"));
    let setup = Setup::new(config, security)?;
    let link = link_over_halves(stdin(), stdout(), Role::Opener, &setup)?;
    let messages = link.sender("messages")?;
    for message in args.messages {
        let receipt = messages.send(message.clone())?;
        eprintln!("{message}: {}", receipt.wait());
    }
    eprintln!("{}", link.close(CloseMode::Drain));
    Ok(())
}
