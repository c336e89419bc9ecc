//! Messages to standard output.

use std::sync::Arc;
use std::time::Duration;

use countersign::{
    ChannelError, CloseMode, CloseReason, DEFAULT_WINDOW_MESSAGES, Link, ManualReceiver,
    ReceiveChannel, Receiver, RecvError,
};
use tokio::task::JoinHandle;

use super::farewell::{self, Broken};
use super::output::{self, Item, OutputError, Written};
use super::stop::Stop;
use super::watch::{Turn, Watch, named};
use super::{NO_WORDS, establish, held, is_tlsstream, lost};
use crate::args::LinkArgs;
use crate::capture::Recording;
use crate::exit::Failure;
use crate::stdio::{self, Stdout};

type Output = output::Output<Stdout>;

/// The most that is written between two flushes, in bytes and in messages.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_MESSAGES: usize = 4096;

/// How long a write may still take after a signal has ended the link.
const LAST_WRITE: Duration = Duration::from_secs(1);

pub(super) async fn run(
    args: LinkArgs,
    recording: &mut Recording,
    mut stop: Stop,
) -> Result<(), Failure> {
    let out = stdio::output()?;
    let mut channel = ReceiveChannel::new(args.channel())
        .max_message(args.max_message)
        .window(DEFAULT_WINDOW_MESSAGES, held(&args));
    if !is_tlsstream(&args) {
        channel = channel.manual();
    }
    let mut watch = establish(&args, channel, recording, &mut stop).await?;
    let source =
        Source::of(watch.link(), &args).map_err(|error| Failure::failed(error.to_string()))?;
    let written = Arc::new(Written::default());
    let output = Output::new(args.split.unwrap_or_default(), out, written.clone());
    let lost = |error| lost(MORE, error, &args, written.messages() > 0);
    let (failure, farewell) = match pump(&mut watch, source, output, &mut stop).await {
        Ok(()) => (None, CloseReason::ALL_WELL),
        Err(Cut::Here(Broken { failure, farewell })) => (Some(failure), farewell),
        Err(Cut::Off(error)) => {
            let failure = match error {
                RecvError::Link(error) => lost(error),
                border => Failure::failed(format!("{MORE}: {border}")),
            };
            (Some(failure), farewell::too_early())
        }
    };
    // Waits for what this end still has to tell the peer, such as that a message was rejected.
    let report = watch.close(CloseMode::Withdraw, farewell).await;
    let from = named(watch.link(), "from");
    stdio::tell(format_args!("{written}{from}"));
    match (failure, report.end) {
        (Some(failure), _) => Err(failure),
        (None, Some(end)) if !end.is_orderly() => Err(lost(end)),
        _ if is_bare(&args) && written.messages() == 0 => {
            Err(Failure::failed(NOTHING_CAME).hint(NO_WORDS))
        }
        _ => Ok(()),
    }
}

/// Returns whether it is the tlsstream dialect without TLS.
fn is_bare(args: &LinkArgs) -> bool {
    is_tlsstream(args) && args.security.plaintext
}

/// Why not all of the stream was written.
enum Cut {
    /// This end can't go on, or was asked to stop.
    Here(Broken),
    /// Nothing more comes, and the peer has not said that this was all.
    Off(RecvError),
}

impl From<Broken> for Cut {
    fn from(broken: Broken) -> Self {
        Self::Here(broken)
    }
}

/// In tlsstream without TLS, only a message distinguishes a sender that is done from anything else
/// that ends a connection.
const NOTHING_CAME: &str = "the connection ended before any message came";

/// What to say of a link that ended without the peer closing it.
const MORE: &str = "the peer may have had more to send";

/// Writes what comes until nothing more does. When asked to stop, closes the link; messages on
/// their way by then still come, but a write that does not end is not waited for.
async fn pump(
    watch: &mut Watch,
    mut source: Source,
    output: Output,
    stop: &mut Stop,
) -> Result<(), Cut> {
    let mut writer = Writer::Idle(output);
    let mut stopping = None;
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            turn = watch.next(), if !ended => ended = turn == Turn::Ended,
            result = writer.written() => result?,
            batch = source.next(), if writer.is_idle() => {
                match (batch, stopping) {
                    (Ok(Some(batch)), _) => writer.put(batch),
                    (_, Some(signal)) => return Err(Broken::stopped(signal).into()),
                    (Ok(None), None) => return Ok(()),
                    (Err(error), None) => return Err(Cut::Off(error)),
                }
            }
            signal = stop.asked(), if stopping.is_none() => {
                stopping = Some(signal);
                let farewell = farewell::stopped(signal);
                watch.link().start_close_with(CloseMode::Withdraw, farewell);
            }
        }
        if let Some(signal) = stopping
            && ended
            && !writer.is_idle()
        {
            match tokio::time::timeout(LAST_WRITE, writer.written()).await {
                Ok(result) => result?,
                Err(_) => {
                    tracing::error!("{STUCK}");
                    return Err(Broken::stopped(signal).into());
                }
            }
        }
    }
}

/// What to say of an output that takes no more when the program is asked to stop.
const STUCK: &str = "standard output takes no more, so not everything that came was written; see \
                     whether its reader still reads";

/// The output, held by this thread or by another that writes: the reader of the output may be slow,
/// and pings must be answered.
enum Writer {
    Idle(Output),
    Busy(JoinHandle<(Output, Result<(), OutputError>)>),
    /// The thread that held it panicked.
    Gone,
}

impl Writer {
    fn is_idle(&self) -> bool {
        !matches!(self, Self::Busy(_))
    }

    /// Starts a write.
    fn put(&mut self, batch: Vec<Item>) {
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Idle(mut output) => Self::Busy(tokio::task::spawn_blocking(move || {
                let result = output.put(batch);
                (output, result)
            })),
            other => other,
        };
    }

    /// Waits until the current write is done, or forever if there is none. Cancel-safe.
    async fn written(&mut self) -> Result<(), Broken> {
        let Self::Busy(writing) = self else {
            return std::future::pending().await;
        };
        let result = match writing.await {
            Ok((output, result)) => {
                *self = Self::Idle(output);
                result
            }
            Err(error) => {
                *self = Self::Gone;
                Err(OutputError::Write(std::io::Error::other(error)))
            }
        };
        result.map_err(|error| {
            let farewell = farewell::output(&error);
            Broken::new(Failure::failed(error.to_string()).because(error), farewell)
        })
    }
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

    /// Waits for a message and takes what else has arrived; `None` when nothing more will come.
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
            // The error of a link that was lost comes again, once everything is written.
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
