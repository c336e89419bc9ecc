//! Receives a file from `send-file`, in bounded memory, and keeps it if its hash is right.
//!
//! ```sh
//! cargo run -p basics --bin receive-file -- --listen 127.0.0.1:3000 \
//!     --cert server.crt --key server.key --peer client.crt film.mp4
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use countersign::CloseReason;
use countersign::blocking::{ManualReceiver, listen};
use countersign::prelude::{CloseMode, Config, Identity, Pins, ReceiveChannel, Security, Setup};
use sha2::{Digest, Sha256};

const PIECE: usize = 64 * 1024;

/// Receives a file.
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
    /// The file of the sender's certificate.
    #[arg(long)]
    peer: PathBuf,
    /// Where to put the file.
    file: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let security = Security::tls(identity, Pins::from_files([&args.peer])?).build()?;
    // At most 16 pieces are held, however fast they come and however slow the disk is.
    let pieces = ReceiveChannel::new("file").manual().max_message(PIECE);
    let config = Config::new()
        .channel(pieces.window(16, 16 * PIECE))
        .single_session();
    let setup = Setup::new(config, security)?;
    let bound = setup.memory_bound();
    let listener = listen(args.listen, setup)?;
    println!("listening on {}", listener.local_addr());
    println!("a link takes {bound} bytes of memory at most");
    let link = loop {
        match listener.accept() {
            Ok(link) => break link,
            Err(error) if error.is_closed() => return Err(error.into()),
            // The error concerns a single connection, such as that of a stranger.
            Err(error) => listener.log(&error),
        }
    };

    let received = receive(&mut link.manual_receiver("file")?, &args.file);
    // The sender learns of everything before this program ends.
    let report = match &received {
        Ok(_) => link.ended(),
        Err(error) => link.close_with(CloseMode::Drain, CloseReason::new(1, error.to_string())),
    };
    println!("{report}");
    println!("{} bytes received", received?);
    Ok(())
}

/// Receives the file, and returns its size.
fn receive(pieces: &mut ManualReceiver, path: &Path) -> Result<u64, Box<dyn Error>> {
    let mut next = || -> Result<_, Box<dyn Error>> {
        let piece = pieces.recv()?;
        Ok(piece.ok_or("the file broke off")?)
    };
    let begin = next()?;
    let size = u64::from_be_bytes(begin[..].try_into()?);
    begin.handled();

    // Written under another name until it is complete.
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    let mut left = size;
    let mut hash = Sha256::new();
    while left > 0 {
        let piece = next()?;
        let length = piece.len() as u64;
        left = left.checked_sub(length).ok_or("too much came")?;
        hash.update(&piece[..]);
        // A piece that can't be written is rejected by being dropped.
        file.write_all(&piece)?;
        piece.handled();
    }

    let end = next()?;
    if end[..] != hash.finalize()[..] {
        end.reject(1, "the hash differs");
        return Err("the hash differs".into());
    }
    file.sync_all()?;
    fs::rename(&part, path)?;
    // Now the sender may delete its own.
    end.handled();
    Ok(size)
}
