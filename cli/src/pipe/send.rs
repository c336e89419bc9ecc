//! Standard input to messages.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use countersign::SendErrorKind as Why;
use countersign::{
    CloseMode, CloseReason, EndReason, LinkError, Outgoing, Rejection, STREAM_WHOLE, SendChannel,
    SendError, Sender, VerdictCounts, VerdictKind,
};

use super::farewell;
use super::input::{self, Batch, Input};
use super::ledger::Ledger;
use super::stop::Stop;
use super::watch::{Turn, Watch, named};
use super::{NO_WORDS, establish, held, is_tlsstream, lost};
use crate::args::{LinkArgs, SendArgs};
use crate::capture::Recording;
use crate::exit::{Failure, Signal};
use crate::split::Way;
use crate::stdio;
use crate::words::{self, Missing, count, size};

pub(super) async fn run(
    args: SendArgs,
    recording: &mut Recording,
    mut stop: Stop,
) -> Result<(), Failure> {
    let split = split(&args)?;
    let input = stdio::input()?;
    let mut channel = SendChannel::new(args.link.channel()).max_message(args.link.max_message);
    channel = channel.queue(QUEUE_MESSAGES, held(&args.link));
    if args.latest {
        channel = channel.latest();
    }
    let watch = establish(&args.link, channel, recording, &mut stop).await?;
    let sender = watch
        .link()
        .sender(args.link.channel())
        .map_err(|error| Failure::failed(error.to_string()))?;
    let limit = match split {
        // This end chooses what a message is, so none is too large for the peer.
        Way::Bytes => bytes_limit(&args.link).min(sender.max_message()),
        _ => args.link.max_message,
    };
    let input = input::start(input, split, limit)
        .map_err(|error| Failure::failed("the system gives no thread").because(error))?;
    let mut feeder = Feeder {
        watch,
        sender,
        expire_after: args.expire_after,
        ledger: Ledger::default(),
        stop,
    };
    let fed = feeder.feed(input).await;
    let farewell = match &fed {
        Ok(()) => CloseReason::ALL_WELL,
        Err(unfed) => unfed.farewell(),
    };
    let impatient = feeder.settle().await;
    let Feeder {
        mut watch,
        mut ledger,
        ..
    } = feeder;
    let report = watch.close(CloseMode::Drain, farewell).await;
    ledger.conclude();
    let verdicts = report.verdicts();
    stdio::tell(format_args!(
        "sent {}, {}{}: {verdicts}",
        count(ledger.messages, "message"),
        count(ledger.bytes, "byte"),
        named(watch.link(), "to")
    ));
    let outcome = Outcome {
        missing: missing(verdicts, &args),
        sent: ledger.messages,
        understood: verdicts[VerdictKind::Handled] > 0,
        rejection: ledger.rejection,
        end: report.end,
        link: &args.link,
    };
    match (outcome.judge(fed), impatient) {
        (Err(failure), Some(signal)) => Err(failure.stopped_by(signal)),
        (result, _) => result,
    }
}

/// The most messages that wait for their verdicts: what receivers hold by default, and as many
/// again on their way.
const QUEUE_MESSAGES: usize = 16_384;

/// What to say of flags that drop messages if messages are mere pieces of a stream.
const NO_MESSAGES: &str = "--latest and --expire-after drop whole messages, and --split bytes has none; \
                           choose another --split";

/// Returns what a message is. Flags that drop messages need messages that mean something by
/// themselves: pieces of a stream don't, and lines do.
fn split(args: &SendArgs) -> Result<Way, Failure> {
    let drops = args.latest || args.expire_after.is_some();
    match args.link.split {
        Some(Way::Bytes) if drops => Err(Failure::usage(NO_MESSAGES)),
        Some(way) => Ok(way),
        None if drops => Ok(Way::Lines),
        None => Ok(Way::default()),
    }
}

/// Returns the largest piece of a stream of bytes that this end may send.
fn bytes_limit(args: &LinkArgs) -> usize {
    match is_tlsstream(args) {
        true => args.max_message.min(STREAM_WHOLE),
        false => args.max_message,
    }
}

/// Counts the messages that did not end as the flags ask.
fn missing(mut verdicts: VerdictCounts, args: &SendArgs) -> VerdictCounts {
    verdicts[VerdictKind::Handled] = 0;
    if args.latest {
        verdicts[VerdictKind::Superseded] = 0;
    }
    if args.expire_after.is_some() {
        verdicts[VerdictKind::Expired] = 0;
    }
    verdicts
}

/// Why the input was not sent to its end.
enum Unfed {
    /// The program was asked to stop.
    Stopped(Signal),
    /// The input can't be read further, or what it holds can't be sent; with the reason for the
    /// peer.
    Input(Failure, CloseReason),
    /// The link takes no more.
    CutOff,
}

impl Unfed {
    fn farewell(&self) -> CloseReason {
        match self {
            Self::Stopped(signal) => farewell::stopped(*signal),
            Self::Input(_, farewell) => farewell.clone(),
            Self::CutOff => farewell::too_early(),
        }
    }
}

/// What became of the messages and the link.
struct Outcome<'a> {
    missing: VerdictCounts,
    sent: u64,
    /// The peer has confirmed something.
    understood: bool,
    /// Why the peer rejected a message, if it did.
    rejection: Option<Rejection>,
    end: Option<LinkError>,
    /// The arguments of the link.
    link: &'a LinkArgs,
}

impl Outcome<'_> {
    /// Returns how the program ends after the input was sent with this result.
    fn judge(self, fed: Result<(), Unfed>) -> Result<(), Failure> {
        let complete = self.missing.total() == 0;
        match fed {
            Err(Unfed::Stopped(signal)) if complete => Err(Failure::stopped(signal)),
            Err(Unfed::Stopped(signal)) => {
                let what = self.what();
                Err(Failure::failed(what).stopped_by(signal))
            }
            Err(Unfed::Input(failure, _)) => Err(failure),
            Ok(()) if complete => self.farewell(),
            Ok(()) | Err(Unfed::CutOff) => Err(self.why()),
        }
    }

    /// Returns how the program ends after everything was sent and handled: only the farewell can be
    /// missing.
    fn farewell(self) -> Result<(), Failure> {
        const HANDLED: &str = "every message was handled, and then";
        match self.end {
            Some(end) if end.is_orderly() => Ok(()),
            // The receiver does not take it for the whole stream.
            Some(end) if matches!(end.reason(), EndReason::Closed { .. }) => {
                Err(lost(HANDLED, end, self.link, self.understood))
            }
            Some(end) => {
                tracing::warn!("{HANDLED}: {end}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Says how far it came.
    fn what(&self) -> String {
        match self.missing.total() {
            0 => "the input had not ended".to_owned(),
            _ => format!(
                "of {}, {}",
                count(self.sent, "message"),
                Missing(&self.missing)
            ),
        }
    }

    /// Returns the failure. What explains it is how the link ended, or the peer's rejection.
    fn why(self) -> Failure {
        let what = self.what();
        match (self.end, self.rejection) {
            (Some(end), _) if !says_that_all_is_well(&end) => {
                lost(&what, end, self.link, self.understood)
            }
            (_, Some(rejection)) => {
                Failure::failed(format!("{what}: {}", words::of_rejection(&rejection)))
            }
            _ => {
                let failure = Failure::failed(format!("{what}: the peer closed the link"));
                match is_tlsstream(self.link) {
                    true => failure.hint(NO_WORDS),
                    false => failure,
                }
            }
        }
    }
}

/// Returns whether the peer has closed the link and given no reason.
fn says_that_all_is_well(end: &LinkError) -> bool {
    matches!(end.reason(), EndReason::Closed { theirs, .. } if theirs.is_all_well())
}

/// Moves messages from the input to the link.
struct Feeder {
    watch: Watch,
    sender: Sender,
    expire_after: Option<Duration>,
    ledger: Ledger,
    stop: Stop,
}

impl Feeder {
    /// Sends until the input ends, or something else ends it.
    async fn feed(&mut self, mut input: Input) -> Result<(), Unfed> {
        loop {
            let batch = tokio::select! {
                biased;
                signal = self.stop.asked() => return Err(Unfed::Stopped(signal)),
                _ = self.watch.next() => return Err(Unfed::CutOff),
                batch = input.recv() => batch,
            };
            match batch {
                None => return Ok(()),
                Some(Ok(batch)) => self.send(batch).await?,
                Some(Err(error)) => {
                    let farewell = farewell::input(&error);
                    let failure = Failure::failed(error.to_string()).because(error);
                    return Err(Unfed::Input(failure, farewell));
                }
            }
        }
    }

    /// Sends the messages of one read.
    async fn send(&mut self, mut batch: Batch) -> Result<(), Unfed> {
        let before = (batch.len(), bytes(&batch));
        let sent = match self.expire_after {
            None => self.send_together(&mut batch).await,
            Some(after) => self.send_with_expiry(&mut batch, after).await,
        };
        self.ledger
            .count(before.0 - batch.len(), before.1 - bytes(&batch));
        sent.map_err(|cut| match cut {
            Cut::Short(unfed) => unfed,
            Cut::Refused(error) => self.explain(error),
        })
    }

    async fn send_together(&mut self, batch: &mut Batch) -> Result<(), Cut> {
        let count = batch.len() as u64;
        let receipt = tokio::select! {
            // What is left when the session is lost is not for the next one.
            biased;
            signal = self.stop.asked() => return Err(Cut::Short(Unfed::Stopped(signal))),
            _ = self.watch.next() => return Err(Cut::Short(Unfed::CutOff)),
            receipt = self.sender.send_batch(batch) => receipt.map_err(Cut::Refused)?,
        };
        self.ledger.add_batch(receipt, count);
        Ok(())
    }

    async fn send_with_expiry(&mut self, batch: &mut Batch, after: Duration) -> Result<(), Cut> {
        // Counted from when it was read, not from when there was room.
        let late_after = |message: &Bytes| Outgoing::from(message.clone()).expires_in(after);
        let read: Vec<_> = batch.iter().map(late_after).collect();
        for outgoing in read {
            let receipt = tokio::select! {
                biased;
                signal = self.stop.asked() => return Err(Cut::Short(Unfed::Stopped(signal))),
                _ = self.watch.next() => return Err(Cut::Short(Unfed::CutOff)),
                receipt = self.sender.send(outgoing) => receipt.map_err(Cut::Refused)?,
            };
            batch.pop_front();
            self.ledger.add(receipt);
        }
        Ok(())
    }

    fn explain(&self, error: SendError) -> Unfed {
        let number = self.ledger.messages + 1;
        let (wrong, advice) = match error.why() {
            Why::TooLarge { length, limit } => {
                let (length, limit) = (size(length, "byte"), size(limit, "byte"));
                let wrong =
                    format!("message {number} has {length}, and the receiver takes {limit}");
                (wrong, "; raise the receiver's --max-message")
            }
            Why::Empty => {
                let wrong =
                    format!("message {number} is empty, which the tlsstream dialect cannot carry");
                (wrong, "; use the countersign dialect")
            }
            Why::Closing | Why::Ended => return Unfed::CutOff,
            _ => (format!("message {number}: {error}"), ""),
        };
        let farewell = farewell::input(&wrong);
        let failure = Failure::failed(wrong + advice).because(error);
        Unfed::Input(failure, farewell)
    }

    /// Waits for all verdicts, without a time limit, unless the peer closes, since closing has one.
    /// Returns early with the signal if asked to stop.
    async fn settle(&mut self) -> Option<Signal> {
        let mut settled = pin!(self.ledger.settle());
        loop {
            tokio::select! {
                () = &mut settled => return None,
                signal = self.stop.asked() => return Some(signal),
                turn = self.watch.next() => if turn != Turn::PeerClosing {
                    return None;
                }
            }
        }
    }
}

/// Why the messages of one read were not all accepted.
enum Cut {
    Short(Unfed),
    Refused(SendError),
}

fn bytes(batch: &Batch) -> usize {
    batch.iter().map(Bytes::len).sum()
}
