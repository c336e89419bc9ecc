//! The robot: sends its film and obeys commands.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use countersign::{Outgoing, SendError};
use indicatif::ProgressBar;

use super::backend::Backend;
use super::check::{Identity, Received, hash, message};
use super::cuts::Cuts;
use super::film::Film;
use super::traffic::{Traffic, Waiting, collect};
use super::{COMMANDS, PICTURE_LIFE, VIDEO, failed, join, motors};
use crate::args::{DemoArgs, Pace};
use crate::exit::Failure;

/// The most pictures that wait for their verdicts when they come at a fixed pace. The channel
/// supersedes all but a few, so this is only reached if verdicts stay away.
const WAITING: usize = 1024;

/// Sends the film, waits for all verdicts, and closes the link.
pub(super) fn run<B: Backend>(
    backend: &B,
    link: &B::Link,
    film: &Film,
    args: &DemoArgs,
    cuts: Option<&Cuts>,
    progress: &ProgressBar,
) -> Result<Traffic, Failure> {
    let wrong = |error: countersign::ChannelError| Failure::failed(error.to_string());
    let video = backend.sender(link, VIDEO).map_err(wrong)?;
    let commands = backend.receiver(link, COMMANDS).map_err(wrong)?;
    let lease = backend.lease(link, COMMANDS).map_err(wrong)?;
    // Without a pace, handing over a receipt waits until the previous one is settled.
    let waiting = match args.fps {
        Pace::Every(_) => WAITING,
        Pace::Max => 0,
    };
    let (receipts, settle) = sync_channel(waiting);
    let (sent, received, runs, report) = thread::scope(|scope| {
        let running = scope.spawn(|| Ok(motors::run(backend, &lease, progress)));
        let obeying = scope.spawn(|| obey(backend, commands));
        let settling = scope.spawn(|| Ok(collect(backend, settle, || progress.inc(1))));
        let filmed = show(backend, &video, film, args, cuts, &receipts);
        // No more receipts come.
        drop(receipts);
        let sent = join(settling);
        let report = backend.close(link);
        let received = join(obeying);
        let runs = join(running);
        // The reason why the link was lost says more than the send that failed then.
        match &report.end {
            Some(end) if !end.is_orderly() => Err(failed("robot", end.clone())),
            _ => filmed.map_err(|error| Failure::failed(error.to_string())),
        }?;
        Ok::<_, Failure>((sent?, received?, runs?, report))
    })?;
    Ok(Traffic {
        sent,
        received,
        runs,
        report,
    })
}

/// Sends the pictures at their pace.
fn show<B: Backend>(
    backend: &B,
    video: &B::Sender,
    film: &Film,
    args: &DemoArgs,
    cuts: Option<&Cuts>,
    receipts: &SyncSender<Waiting<B::Receipt>>,
) -> Result<(), SendError> {
    let started = Instant::now();
    for (number, picture) in (0..).zip(film.play(args.frames)) {
        if let Pace::Every(interval) = args.fps {
            let due = started + interval * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        if let Some(cuts) = cuts {
            cuts.before(number);
        }
        let waiting = send(backend, video, u64::from(number) + 1, picture)?;
        if receipts.send(waiting).is_err() {
            break;
        }
    }
    Ok(())
}

fn send<B: Backend>(
    backend: &B,
    video: &B::Sender,
    identity: Identity,
    picture: &Bytes,
) -> Result<Waiting<B::Receipt>, SendError> {
    let message = message(identity, picture);
    let (hash, bytes) = (hash(&message), message.len());
    let at = Instant::now();
    let receipt = backend.send(video, Outgoing::from(message).expires_in(PICTURE_LIFE))?;
    Ok(Waiting {
        hash,
        bytes,
        at,
        receipt,
    })
}

/// Takes commands until the link ends.
fn obey<B: Backend>(backend: &B, mut commands: B::Receiver) -> Result<Vec<Received>, Failure> {
    let mut received = Vec::new();
    while let Some(command) = backend
        .recv(&mut commands)
        .map_err(|error| failed("robot", error))?
    {
        received.push(Received::of(&command));
    }
    Ok(received)
}
