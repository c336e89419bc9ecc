//! Steers a `robot`: sends it lines of standard input as commands, and prints their verdicts.
//!
//! ```sh
//! cargo run -p basics --bin operator -- --connect robot.local:3000 \
//!     --cert operator.crt --key operator.key --peer robot.crt
//! ```

use std::error::Error;
use std::io::stdin;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use countersign::prelude::*;
use countersign::{Reconnect, connect};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Sends the lines of standard input to a robot as commands, and prints what became of each.
#[derive(Parser)]
struct Args {
    /// Where the robot listens: host and port.
    #[arg(long)]
    connect: String,
    /// The file of this end's certificate.
    #[arg(long)]
    cert: PathBuf,
    /// The file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// The file of the robot's certificate.
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
    // Tries forever, and at least once a second.
    let reconnect = Reconnect {
        longest_delay: Duration::from_secs(1),
        ..Reconnect::default()
    };
    let config = Config::new()
        .channel(SendChannel::new("commands"))
        .channel(ReceiveChannel::new("video").latest())
        .reconnect(reconnect);
    let link = connect(args.connect, &Setup::new(config, security)?).await?;
    println!("connected");

    let commands = link.sender("commands")?;
    let screen = tokio::spawn(watch(link.receiver("video")?));
    let mut verdicts = JoinSet::new();
    let mut lines = lines();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => {
                    // A late command is worse than none.
                    let command = Outgoing::from(line.clone());
                    let command = command.expires_in(Duration::from_millis(500));
                    let receipt = commands.send(command).await?;
                    verdicts.spawn(async move { println!("{line}: {}", receipt.await) });
                }
                None => break,
            },
            event = link.event() => match event {
                Some(LinkEvent::Lost { why, .. }) => println!("connection lost: {why}"),
                Some(LinkEvent::Resumed) => println!("connected again"),
                // The robot was restarted; what it had not confirmed is unknown.
                Some(LinkEvent::NewSession) => println!("connected again, to a new session"),
                Some(_) => {}
                None => break,
            },
        }
    }
    let report = link.close(CloseMode::Drain).await;
    verdicts.join_all().await;
    println!("{report}");
    println!("{} pictures seen", screen.await?);
    Ok(())
}

/// Returns the lines of standard input, read by a thread that is not waited for at the end.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Counts the pictures, until the link has ended.
async fn watch(mut video: Receiver) -> u64 {
    let mut seen = 0;
    loop {
        match video.recv().await {
            Ok(Some(picture)) => {
                seen += 1;
                if seen == 1 {
                    println!("the first picture has {} bytes", picture.len());
                }
            }
            // What follows is from the next session: video goes on.
            Err(error) if error.is_border() => {}
            Ok(None) | Err(_) => return seen,
        }
    }
}
