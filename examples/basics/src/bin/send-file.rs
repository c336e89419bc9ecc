//! Sends a file to `receive-file`: its size, the file in pieces, and at last its hash.
//!
//! ```sh
//! cargo run -p basics --bin send-file -- --connect 127.0.0.1:3000 \
//!     --cert client.crt --key client.key --peer server.crt film.mp4
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::Parser;
use countersign::CloseReason;
use countersign::blocking::{Sender, connect};
use countersign::prelude::{CloseMode, Config, Identity, Pins, Security, SendChannel, Setup};
use sha2::{Digest, Sha256};

const PIECE: usize = 64 * 1024;

/// Sends a file.
#[derive(Parser)]
struct Args {
    /// Where the receiver listens: host and port.
    #[arg(long)]
    connect: String,
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// The file of the receiver's certificate.
    #[arg(long)]
    peer: PathBuf,
    /// What to send.
    file: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let mut file = File::open(&args.file)?;
    let size = file.metadata()?.len();

    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    // At most 16 pieces are held. If the session is lost, the link ends: half a file is useless.
    let pieces = SendChannel::new("file").max_message(PIECE);
    let config = Config::new()
        .channel(pieces.queue(16, 16 * PIECE))
        .single_session();
    let link = connect(args.connect, &Setup::new(config, security)?)?;

    let sent = send(&link.sender("file")?, &mut file, size);
    // The receiver learns of everything before this program ends.
    let report = match &sent {
        Ok(()) => link.close(CloseMode::Drain),
        Err(error) => link.close_with(CloseMode::Drain, CloseReason::new(1, error.to_string())),
    };
    println!("{report}");
    sent
}

/// Sends `left` bytes of the file, and waits for the verdict.
fn send(pieces: &Sender, file: &mut File, mut left: u64) -> Result<(), Box<dyn Error>> {
    drop(pieces.send(left.to_be_bytes().to_vec())?);
    let mut hash = Sha256::new();
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        let length = left.min(PIECE as u64);
        file.take(length).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Err("the file has become shorter meanwhile".into());
        }
        left -= piece.len() as u64;
        hash.update(&piece);
        // Waits for room. The last verdict stands for all, since they come in order.
        drop(pieces.send(piece)?);
    }
    let receipt = pieces.send(hash.finalize().to_vec())?;
    Ok(receipt.wait().into_result()?)
}
