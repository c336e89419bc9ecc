//! A robot: sends video, and obeys the commands of its `operator`. Ctrl-C ends it.
//!
//! ```sh
//! cargo run -p basics --bin robot -- --listen 0.0.0.0:3000 \
//!     --cert robot.crt --key robot.key --peer operator.crt
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Parser;
use countersign::prelude::*;
use countersign::{Delivery, SendError, listen};

/// Sends video, and obeys the commands of its operator.
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
    /// The file of the operator's certificate.
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
    let commands = ReceiveChannel::new("commands").manual();
    let config = Config::new()
        .channel(commands.lease(Duration::from_millis(300)))
        .channel(SendChannel::new("video").latest());
    let listener = listen(args.listen, Setup::new(config, security)?).await?;
    println!("listening on {}", listener.local_addr());

    let mut operator: Option<Link> = None;
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(link) => {
                    // The operator's program was restarted: its former link is of no use.
                    if let Some(former) = operator.replace(link.clone()) {
                        former.abandon();
                    }
                    tokio::spawn(drive(link));
                }
                Err(error) => listener.log(&error),
            },
            stopped = &mut stop => break stopped?,
        }
    }
    listener.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Obeys one operator until the link has ended.
async fn drive(link: Link) {
    let (Ok(video), Ok(mut commands)) = (link.sender("video"), link.manual_receiver("commands"))
    else {
        return; // Both are declared above.
    };
    let camera = tokio::spawn(film(video));
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Ok(Some(command)) => obey(command),
                Err(error) if error.is_border() => println!("{error}"),
                Ok(None) | Err(_) => break,
            },
            Some(event) = link.event() => match event {
                // The newest command is too old to go by it, whatever the reason. The link goes on,
                // and waits for the operator.
                LinkEvent::LeaseLapsed { .. } => println!("motors off"),
                LinkEvent::LeaseHeld { .. } => println!("motors on"),
                LinkEvent::Lost { why, .. } => println!("waiting for the operator: {why}"),
                _ => {}
            },
        }
    }
    camera.abort();
    println!("stop: {}", link.ended().await);
}

fn obey(command: Delivery) {
    match &command[..] {
        b"forward" | b"back" | b"left" | b"right" | b"stop" => {
            println!("{}", String::from_utf8_lossy(&command));
            command.handled();
        }
        _ => command.reject(1, "no such command"),
    }
}

/// Sends 25 pictures a second; a number stands in for what a camera gives.
async fn film(video: Sender) -> Result<(), SendError> {
    let mut clock = tokio::time::interval(Duration::from_millis(40));
    for number in 1_u64.. {
        clock.tick().await;
        let picture = Outgoing::from(number.to_be_bytes().repeat(1000));
        let picture = picture.expires_in(Duration::from_millis(200));
        // What becomes of a single picture does not matter.
        drop(video.send(picture).await?);
    }
    Ok(())
}
