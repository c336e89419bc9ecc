//! Standard input to messages.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_tokio::core::{ChannelConfig, CloseMode, SendError as Why, VerdictKind};
use countersign_tokio::{Outgoing, Report, SendError, Sender};

use super::input::{self, Batch, Input};
use super::ledger::Ledger;
use super::stop::Stop;
use super::watch::{Turn, Watch, named};
use super::{establish, held, is_tlsstream};
use crate::args::{LinkArgs, SendArgs};
use crate::capture::Recording;
use crate::exit::Failure;
use crate::split::Way;
use crate::stdio;

pub(super) async fn run(
    args: SendArgs,
    recording: &mut Recording,
    mut stop: Stop,
) -> Result<(), Failure> {
    if args.link.split == Way::Bytes && (args.latest || args.expire_after.is_some()) {
        return Err(Failure::usage(NO_MESSAGES));
    }
    let input = stdio::input()?;
    let mut channel = ChannelConfig::send(args.link.channel()).max_message(args.link.max_message);
    channel = channel.queue(QUEUE_MESSAGES, held(&args.link));
    if args.latest {
        channel = channel.latest();
    }
    let Some(watch) = establish(&args.link, channel, recording, &mut stop).await? else {
        return Ok(());
    };
    let sender = watch
        .link()
        .sender(args.link.channel())
        .map_err(|error| Failure::failed(error.to_string()))?;
    let limit = match args.link.split {
        // What is one message is this end's choice, so none is too large for the peer.
        Way::Bytes => bytes_limit(&args.link).min(sender.max_message()),
        _ => args.link.max_message,
    };
    let input = input::start(input, args.link.split, limit)
        .map_err(|error| Failure::failed("the system gives no thread").because(error))?;
    let mut feeder = Feeder {
        watch,
        sender,
        expire_after: args.expire_after,
        ledger: Ledger::default(),
        stop,
        cut_off: false,
    };
    let fed = feeder.feed(input).await;
    feeder.settle().await;
    let Feeder {
        mut watch, ledger, ..
    } = feeder;
    let report = watch.close(CloseMode::Drain).await;
    let verdicts = report.verdicts();
    stdio::tell(format_args!(
        "sent {} messages, {} bytes{}: {verdicts}",
        ledger.messages,
        ledger.bytes,
        named(watch.link(), "to")
    ));
    let handled = as_intended(&report, &args);
    let missing = ledger.messages.saturating_sub(handled);
    judge(fed, missing, ledger.messages, &watch, report)
}

/// How many messages wait for their verdicts at most: what receivers hold by default, and as much
/// again on its way.
const QUEUE_MESSAGES: usize = 16_384;

/// What is to be said of flags that drop messages where these are no more than pieces of a stream.
const NO_MESSAGES: &str = "--latest and --expire-after drop whole messages, and --split bytes has none; \
                           choose another --split";

/// The longest message that the Python original takes in one piece: a TLS record less the message's
/// length in five digits and a `!`.
const TLSSTREAM_PIECE: usize = (16 << 10) - 6;

/// The largest piece of a stream of bytes that this end may send.
fn bytes_limit(args: &LinkArgs) -> usize {
    match is_tlsstream(args) {
        true => args.max_message.min(TLSSTREAM_PIECE),
        false => args.max_message,
    }
}

/// How many messages ended as whoever gave the flags wanted.
fn as_intended(report: &Report, args: &SendArgs) -> u64 {
    let verdicts = report.verdicts();
    let mut count = verdicts[VerdictKind::Handled];
    if args.latest {
        count += verdicts[VerdictKind::Superseded];
    }
    if args.expire_after.is_some() {
        count += verdicts[VerdictKind::Expired];
    }
    count
}

/// What the program's end is to be, from how feeding ended and what became of the messages.
fn judge(
    fed: Result<(), Failure>,
    missing: u64,
    sent: u64,
    watch: &Watch,
    report: Report,
) -> Result<(), Failure> {
    let broken = report.end.filter(|end| !end.is_orderly());
    if missing == 0 && fed.is_ok() {
        // Nothing is missing but the farewell.
        if let Some(end) = broken {
            tracing::warn!("every message was handled, and then: {end}");
        }
        return Ok(());
    }
    // How a link or its session was lost explains why nothing more could be sent.
    let what = match missing {
        0 => "the input had not ended".to_owned(),
        _ => format!("{missing} of {sent} messages may not have been handled"),
    };
    match (watch.session_lost(), broken) {
        (Some(why), _) => Err(Failure::failed(format!("{what}: {why}"))),
        (None, Some(end)) => Err(Failure::link(&what, end)),
        (None, None) => {
            fed?;
            Err(Failure::failed(format!(
                "{missing} of {sent} messages were not handled; see the receiver's log"
            )))
        }
    }
}

/// Moves messages from the input to the link.
struct Feeder {
    watch: Watch,
    sender: Sender,
    expire_after: Option<Duration>,
    ledger: Ledger,
    stop: Stop,
    /// The link took no more although there was more to send.
    cut_off: bool,
}

impl Feeder {
    /// Sends until the input ends or somebody wants it to end.
    async fn feed(&mut self, mut input: Input) -> Result<(), Failure> {
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(()),
                _ = self.watch.next() => return Err(closed_by_peer()),
                batch = input.recv() => batch,
            };
            match batch {
                None => return Ok(()),
                Some(Ok(batch)) => {
                    if !self.send(batch).await? {
                        return match self.cut_off {
                            true => Err(closed_by_peer()),
                            false => Ok(()),
                        };
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::failed(error.to_string()).because(error));
                }
            }
        }
    }

    /// Sends what was read at once; false when asked to stop, or cut off, before all of it was
    /// accepted.
    async fn send(&mut self, mut batch: Batch) -> Result<bool, Failure> {
        let before = (batch.len(), bytes(&batch));
        let sent = match self.expire_after {
            None => self.send_together(&mut batch).await,
            Some(after) => self.send_with_expiry(&mut batch, after).await,
        };
        self.ledger
            .count(before.0 - batch.len(), before.1 - bytes(&batch));
        sent.map_err(|error| self.explain(error))
    }

    async fn send_together(&mut self, batch: &mut Batch) -> Result<bool, SendError> {
        let count = batch.len() as u64;
        let receipt = tokio::select! {
            // What is left when the session was lost is not for the next one.
            biased;
            () = self.stop.asked() => return Ok(false),
            _ = self.watch.next() => return Ok(self.cut_off()),
            receipt = self.sender.send_batch(batch) => receipt?,
        };
        self.ledger.add_batch(receipt, count);
        Ok(true)
    }

    async fn send_with_expiry(
        &mut self,
        batch: &mut Batch,
        after: Duration,
    ) -> Result<bool, SendError> {
        // Counted from when it was read, not from when there was room.
        let expires = Instant::now().checked_add(after);
        while let Some(message) = batch.front().cloned() {
            let mut outgoing = Outgoing::from(message);
            if let Some(expires) = expires {
                outgoing = outgoing.expires(expires);
            }
            let receipt = tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(false),
                _ = self.watch.next() => return Ok(self.cut_off()),
                receipt = self.sender.send(outgoing) => receipt?,
            };
            batch.pop_front();
            self.ledger.add(receipt);
        }
        Ok(true)
    }

    /// The link takes no more: false, for what is left.
    fn cut_off(&mut self) -> bool {
        self.cut_off = true;
        false
    }

    fn explain(&self, error: SendError) -> Failure {
        let number = self.ledger.messages + 1;
        let message = match error.why() {
            Why::TooLarge { length, limit } => format!(
                "message {number} has {length} bytes, and the peer takes {limit}; raise its \
                 --max-message"
            ),
            Why::Empty => format!(
                "message {number} is empty, which the tlsstream dialect cannot carry; use the \
                 countersign dialect"
            ),
            Why::Closing | Why::Ended => return closed_by_peer(),
            _ => format!("message {number}: {error}"),
        };
        Failure::failed(message).because(error)
    }

    /// Waits for all verdicts, without a time limit, unless asked to stop or the peer closes:
    /// closing has one.
    async fn settle(&mut self) {
        let mut settled = pin!(self.ledger.settle());
        loop {
            tokio::select! {
                () = &mut settled => return,
                () = self.stop.asked() => return,
                turn = self.watch.next() => if turn != Turn::PeerClosing {
                    return;
                }
            }
        }
    }
}

fn closed_by_peer() -> Failure {
    Failure::failed("the peer closed the link before the input had ended; see its log for why")
}

fn bytes(batch: &Batch) -> usize {
    batch.iter().map(Bytes::len).sum()
}
