//! A sender as a sink.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::{NotSent, SendError as WhyNotSent, Sequence, Verdict};
use futures_sink::Sink;

use crate::error::SendError;
use crate::receipt::Tally;
use crate::sender::{Outgoing, Sender};
use crate::shared::Shared;
use crate::wakers::Waiting;

/// A [`Sender`] as a [`Sink`], returned by [`Sender::sink`]. There may be several for one channel,
/// beside any number of senders.
///
/// - **Ready**: the sink itself has room for one message. A message passed to the sink goes to the
///   channel at once if there is room; if not, since other senders may have taken it, the sink
///   keeps the message, and is ready again once it is in the channel.
/// - **Flush**: waits until every message that was passed to this sink has its verdict, then
///   reports the first that was not handled, in [`SinkError::NotHandled`]. `Superseded` is no
///   error: it is expected on a [`Latest`](countersign_core::Policy::Latest) channel. Each flush
///   covers the messages since the previous completed flush; the sink can be used again after an
///   error.
/// - **Close**: the same as flush. The link and its channels stay open; to close them, use
///   [`Link::close`](crate::Link::close).
///
/// A [`SinkError::NotSent`] from ready, flush or close returns the message that the sink kept; the
/// next flush reports the verdicts of the others. A sink takes the memory of one message and of a
/// count, however many messages go through it.
///
/// Cancel-safe: dropping the future of a flush or of a wait for readiness changes nothing, and
/// errors are reported only when such a future is ready. A message that was passed to the sink is
/// in the sink or in the channel. Dropping a sink that keeps a message drops that message, with a
/// warning in the log, so flush first. A future that holds the message itself, such as
/// `SinkExt::send`, drops it if the sink has not become ready: if that matters, use
/// [`Sender::send`] or wait for readiness first.
///
/// It takes [`Outgoing`] only: with several types of messages, a plain `sink.flush()` would be
/// ambiguous.
///
/// ```no_run
/// # async fn run(link: countersign_driver::Link) -> Result<(), Box<dyn std::error::Error>> {
/// use std::future::poll_fn;
/// use std::pin::Pin;
///
/// use futures_sink::Sink;
///
/// let mut sink = link.sender("telemetry")?.into_sink();
/// // With the `SinkExt` of futures-util: `sink.feed("21.5".into()).await?; sink.flush().await?;`
/// poll_fn(|context| Pin::new(&mut sink).poll_ready(context)).await?;
/// Pin::new(&mut sink).start_send("21.5".into())?;
/// poll_fn(|context| Pin::new(&mut sink).poll_flush(context)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a sink does nothing until it is given messages"]
pub struct MessageSink {
    sender: Sender,
    /// A message that found no room in the channel.
    kept: Option<Outgoing>,
    waiting: Waiting<Arc<Shared>>,
    tally: Tally,
}

/// Why an operation of a [`MessageSink`] failed.
#[derive(Clone)]
#[non_exhaustive]
pub enum SinkError {
    /// A message was not accepted by the channel: too large, or the link is closing or has ended.
    /// The message is in the error.
    NotSent(SendError),
    /// A message was sent and not handled. It is the first since the last flush; the link's
    /// [`Report`](crate::Report) counts the others.
    NotHandled {
        /// The message's sequence number on the channel.
        sequence: Sequence,
        /// What became of it.
        verdict: Verdict,
    },
}

countersign_core::debug_as_display!(SinkError);

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => error.fmt(f),
            Self::NotHandled { sequence, verdict } => write!(f, "message {sequence}: {verdict}"),
        }
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotSent(error) => Some(error),
            Self::NotHandled { .. } => None,
        }
    }
}

impl From<SendError> for SinkError {
    fn from(error: SendError) -> Self {
        Self::NotSent(error)
    }
}

impl Sender {
    /// Returns a sink for this channel, in addition to this sender.
    pub fn sink(&self) -> MessageSink {
        self.clone().into_sink()
    }

    /// Converts this sender into a sink.
    pub fn into_sink(self) -> MessageSink {
        MessageSink {
            waiting: self.waiting_shared(),
            sender: self,
            kept: None,
            tally: Tally::new(),
        }
    }
}

impl MessageSink {
    /// Sends the message that found no room before.
    fn poll_send_kept(&mut self, context: &Context<'_>) -> Poll<Result<(), SinkError>> {
        if self.kept.is_none() {
            return Poll::Ready(Ok(()));
        }
        let (sender, kept, tally) = (&self.sender, &mut self.kept, &self.tally);
        let sent = self.waiting.poll(context, |state| {
            sender.poll_accept(state, kept, |receipts, sequence| {
                receipts.count(tally, sequence);
            })
        });
        sent.map_err(SinkError::NotSent)
    }
}

impl Sink<Outgoing> for MessageSink {
    type Error = SinkError;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_send_kept(context)
    }

    /// Sends the message, or keeps it until there is room.
    ///
    /// A sink that was not ready gives the message back, in a [`SinkError::NotSent`] that
    /// [is blocked](SendError::is_blocked).
    fn start_send(self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Self::Error> {
        let sink = self.get_mut();
        if sink.kept.is_some() {
            let not_sent = NotSent {
                message: outgoing.into_message(),
                why: WhyNotSent::Blocked,
            };
            return Err(SendError::new(not_sent, None).into());
        }
        sink.kept = Some(outgoing);
        let (sender, kept, tally) = (&sink.sender, &mut sink.kept, &sink.tally);
        match sender.try_accept(kept, |receipts, sequence| receipts.count(tally, sequence)) {
            Poll::Ready(sent) => sent.map_err(SinkError::NotSent),
            // The sink keeps it.
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        let sink = self.get_mut();
        ready!(sink.poll_send_kept(context))?;
        match ready!(sink.tally.poll_settled(context)) {
            None => Poll::Ready(Ok(())),
            Some((sequence, verdict)) => {
                Poll::Ready(Err(SinkError::NotHandled { sequence, verdict }))
            }
        }
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(context)
    }
}

impl Drop for MessageSink {
    fn drop(&mut self) {
        if self.kept.is_some() {
            tracing::warn!("a sink was dropped with a message that had found no room yet");
        }
    }
}
