//! Messages to standard output.

use countersign_tokio::core::{ChannelConfig, CloseMode, DEFAULT_WINDOW_MESSAGES};
use countersign_tokio::{ChannelError, Link, LinkError, ManualReceiver, Receiver, RecvError};

use super::output::{Item, Output, OutputError};
use super::stop::Stop;
use super::watch::{Turn, Watch};
use super::{establish, held, is_tlsstream};
use crate::args::LinkArgs;
use crate::capture::Recording;
use crate::exit::Failure;

/// How much is written between two flushes at most, in bytes and in messages.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_MESSAGES: usize = 4096;

pub(super) async fn run(
    args: LinkArgs,
    recording: &mut Recording,
    mut stop: Stop,
) -> Result<(), Failure> {
    let mut channel = ChannelConfig::receive(args.channel())
        .max_message(args.max_message)
        .window(DEFAULT_WINDOW_MESSAGES, held(&args));
    if !is_tlsstream(&args) {
        channel = channel.manual();
    }
    let Some(mut watch) = establish(&args, channel, recording, &mut stop).await? else {
        return Ok(());
    };
    let source =
        Source::of(watch.link(), &args).map_err(|error| Failure::failed(error.to_string()))?;
    let mut output = Some(Output::new(args.split));
    let result = pump(&mut watch, source, &mut output, &mut stop).await;
    // Waits for what the end still has to tell the peer, that a message was rejected say.
    let report = watch.close(CloseMode::Withdraw).await;
    if let Some(output) = output {
        let (messages, bytes) = (output.messages, output.bytes);
        eprintln!("received {messages} messages, {bytes} bytes");
    }
    result?;
    match report.end {
        Some(end) if !end.is_orderly() => Err(lost(end)),
        _ => Ok(()),
    }
}

fn lost(error: LinkError) -> Failure {
    Failure::link(MORE, error)
}

fn broken(error: RecvError) -> Failure {
    match error {
        RecvError::Link(error) => lost(error),
        border => Failure::failed(format!("{MORE}: {border}")),
    }
}

/// What is to be said of an end that came without the peer's word.
const MORE: &str = "the peer may have had more to send";

/// Writes what comes until nothing more does. When asked to stop it closes the link, and what was
/// on its way by then still comes.
async fn pump(
    watch: &mut Watch,
    mut source: Source,
    output: &mut Option<Output>,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let mut stopping = false;
    let mut ended = false;
    loop {
        let batch = tokio::select! {
            // What comes after the session was lost is not taken: it belongs to another stream.
            biased;
            turn = watch.next(), if !ended => {
                match turn {
                    Turn::SessionLost => {
                        let why = watch.session_lost().unwrap_or_default();
                        return Err(Failure::failed(format!("{MORE}: {why}")));
                    }
                    Turn::Ended => ended = true,
                    Turn::PeerClosing => {}
                }
                continue;
            }
            batch = source.next() => batch.map_err(broken)?,
            () = stop.asked(), if !stopping => {
                stopping = true;
                watch.link().start_close(CloseMode::Withdraw);
                continue;
            }
        };
        let Some(batch) = batch else {
            return Ok(());
        };
        put(output, batch).await.map_err(|error| {
            let message = error.to_string();
            Failure::failed(message).because(error)
        })?;
    }
}

/// Writes in another thread: whoever reads the output may be slow, and pings must be answered.
async fn put(output: &mut Option<Output>, batch: Vec<Item>) -> Result<(), OutputError> {
    let Some(mut taken) = output.take() else {
        return Ok(());
    };
    let written = tokio::task::spawn_blocking(move || {
        let result = taken.put(batch);
        (taken, result)
    });
    let (back, result) = written
        .await
        .map_err(|error| OutputError::Write(std::io::Error::other(error)))?;
    *output = Some(back);
    result
}

/// Where messages come from.
enum Source {
    Manual(ManualReceiver),
    Auto(Receiver),
}

impl Source {
    fn of(link: &Link, args: &LinkArgs) -> Result<Self, ChannelError> {
        Ok(match is_tlsstream(args) {
            true => Self::Auto(link.receiver(args.channel())?),
            false => Self::Manual(link.manual_receiver(args.channel())?),
        })
    }

    /// Waits for a message and takes what else is there; `None` when nothing more will come.
    /// Cancel-safe.
    async fn next(&mut self) -> Result<Option<Vec<Item>>, RecvError> {
        let first = match self {
            Self::Manual(receiver) => receiver.recv().await?.map(Item::Manual),
            Self::Auto(receiver) => receiver.recv().await?.map(Item::Auto),
        };
        let Some(first) = first else {
            return Ok(None);
        };
        let mut bytes = first.bytes().len();
        let mut batch = vec![first];
        while bytes < BATCH_BYTES && batch.len() < BATCH_MESSAGES {
            // The error of a link that was lost comes again, once all is written.
            let Ok(Some(item)) = self.try_next() else {
                break;
            };
            bytes += item.bytes().len();
            batch.push(item);
        }
        Ok(Some(batch))
    }

    fn try_next(&mut self) -> Result<Option<Item>, RecvError> {
        Ok(match self {
            Self::Manual(receiver) => receiver.try_recv()?.map(Item::Manual),
            Self::Auto(receiver) => receiver.try_recv()?.map(Item::Auto),
        })
    }
}
