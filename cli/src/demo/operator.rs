//! The operator: watches the film and answers each picture with a command, which it repeats while no
//! picture comes.

use std::sync::mpsc::{self, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use countersign::SendErrorKind as Why;
use countersign::{Outgoing, SendError};

use super::backend::Backend;
use super::check::{Received, hash, message, read};
use super::cuts::Cuts;
use super::traffic::{Traffic, Waiting, collect};
use super::{COMMAND_LIFE, COMMANDS, REPEAT, VIDEO, failed, join};
use crate::exit::Failure;

/// Watches and steers until the robot closes the link.
pub(super) fn run<B: Backend>(
    backend: &B,
    link: &B::Link,
    cuts: Option<&Cuts>,
) -> Result<Traffic, Failure> {
    let wrong = |error: countersign::ChannelError| Failure::failed(error.to_string());
    let commands = backend.sender(link, COMMANDS).map_err(wrong)?;
    let video = backend.receiver(link, VIDEO).map_err(wrong)?;
    let (receipts, settle) = channel();
    let (sent, received) = thread::scope(|scope| {
        if let Some(cuts) = cuts {
            scope.spawn(|| tell(backend, link, cuts));
        }
        let settling = scope.spawn(|| Ok(collect(backend, settle, || {})));
        let (pictures, seen) = channel();
        let watching = scope.spawn(move || watch(backend, video, &pictures));
        let steered = steer(backend, &commands, &seen, &receipts);
        // No more receipts come.
        drop(receipts);
        let received = join(watching);
        (join(settling), steered.and(received))
    });
    let report = backend.ended(link);
    match &report.end {
        Some(end) if !end.is_orderly() => Err(failed("operator", end.clone())),
        _ => Ok(Traffic {
            sent: sent?,
            received: received?,
            runs: Vec::new(),
            report,
        }),
    }
}

/// Reports each connection to `cuts`, until the link ends.
fn tell<B: Backend>(backend: &B, link: &B::Link, cuts: &Cuts) {
    loop {
        cuts.connected(1 + backend.report(link).resumes);
        if backend.event(link).is_none() {
            break;
        }
    }
    cuts.over();
}

/// Watches the film, and passes each picture on.
fn watch<B: Backend>(
    backend: &B,
    mut video: B::Receiver,
    pictures: &Sender<Bytes>,
) -> Result<Vec<Received>, Failure> {
    let mut received = Vec::new();
    while let Some(picture) = backend
        .recv(&mut video)
        .map_err(|error| failed("operator", error))?
    {
        received.push(Received::of(&picture));
        // Fails once nobody steers any more.
        let _ = pictures.send(picture.into_payload());
    }
    Ok(received)
}

/// Answers each picture with a command, and repeats the last one while none comes, until the film is
/// over.
fn steer<B: Backend>(
    backend: &B,
    commands: &B::Sender,
    pictures: &mpsc::Receiver<Bytes>,
    receipts: &Sender<Waiting<B::Receipt>>,
) -> Result<(), Failure> {
    let mut last = Vec::new();
    for identity in 1.. {
        match pictures.recv_timeout(REPEAT) {
            Ok(picture) => last = command(&picture),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        match send(backend, commands, message(identity, &last)) {
            Ok(waiting) => drop(receipts.send(waiting)),
            // The robot is leaving and takes no more commands; its last pictures still come.
            Err(error) if matches!(error.why(), Why::Closing | Why::Ended) => {}
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
    }
    Ok(())
}

/// Returns the command for a picture. A real operator would look at it.
fn command(picture: &[u8]) -> Vec<u8> {
    let (number, picture) = read(picture).unwrap_or((0, picture));
    let turn = picture.len() % 91;
    format!("picture {number}: turn {turn} degrees, go on").into_bytes()
}

fn send<B: Backend>(
    backend: &B,
    commands: &B::Sender,
    command: Bytes,
) -> Result<Waiting<B::Receipt>, SendError> {
    let (hash, bytes) = (hash(&command), command.len());
    let at = Instant::now();
    let message = Outgoing::from(command).expires_in(COMMAND_LIFE);
    let receipt = backend.send(commands, message)?;
    Ok(Waiting {
        hash,
        bytes,
        at,
        receipt,
    })
}
