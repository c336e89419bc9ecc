//! The sending end of a channel.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant as StdInstant};

use countersign_core::{Bytes, ChannelId, Instant, NotSent, Sequence};

use crate::clock::Clock;
use crate::error::SendError;
use crate::receipt::{BatchReceipt, OpenBatch, Receipt, Receipts};
use crate::shared::{Channel, Handle, Shared, State};
use crate::wakers::{Awaited, Waiting};

/// A message on its way to [`Sender::send`], with an expiry if it has one.
///
/// ```
/// use std::time::Duration;
/// use countersign_driver::Outgoing;
///
/// let stop = Outgoing::from("stop").expires_in(Duration::from_millis(200));
/// # let _ = stop;
/// ```
#[derive(Clone)]
pub struct Outgoing {
    message: Bytes,
    expires: Option<Expiry>,
}

/// When a message is late.
#[derive(Clone, Copy, Debug)]
enum Expiry {
    /// At an instant of the standard library's clock.
    Std(StdInstant),
    /// This long after the call that set it, by the machine's clock.
    After { since: Instant, time: Duration },
    /// At an instant of the link's clock.
    Link(Instant),
}

impl Expiry {
    /// Returns the expiry by the clock of a link.
    fn at(self, clock: &Clock) -> Instant {
        match self {
            Self::Std(moment) => clock.at(moment),
            Self::After { since, time } => {
                let over = Clock::default().now().saturating_since(since);
                clock.now() + time.saturating_sub(over)
            }
            Self::Link(moment) => moment,
        }
    }
}

impl fmt::Debug for Outgoing {
    /// Leaves the message out, which may be long and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("length", &self.message.len())
            .field("expires", &self.expires)
            .finish()
    }
}

impl Outgoing {
    /// Makes the message good for this long, from now on: no application takes it later. Wherever it
    /// is when the time is over, here, on its way or in the peer's queue, it is dropped at the latest
    /// when it would be taken, and its verdict is `Expired`.
    ///
    /// The peer judges by the message's age, which it knows to within about a round trip: where that
    /// leaves a doubt, the message counts as late (`docs/live.md`). The time passes while a machine
    /// sleeps too (`docs/backends.md`, Time).
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        let since = Clock::default().now();
        self.expires = Some(Expiry::After { since, time });
        self
    }

    /// Makes the message good until then, as [`Outgoing::expires_in`].
    ///
    /// Until the message is accepted, for example while the channel is full, the remaining time
    /// stands still while the machine sleeps, if the standard library's clock does. See
    /// [`Outgoing::expires_in`].
    #[must_use]
    pub fn expires(mut self, moment: StdInstant) -> Self {
        self.expires = Some(Expiry::Std(moment));
        self
    }

    /// Returns the message, and the instant of this clock at which it is late.
    #[must_use]
    pub fn into_parts(self, clock: &Clock) -> (Bytes, Option<Instant>) {
        let expires = self.expires.map(|expiry| expiry.at(clock));
        (self.message, expires)
    }

    pub(crate) fn into_message(self) -> Bytes {
        self.message
    }
}

impl<T: Into<Bytes>> From<T> for Outgoing {
    fn from(message: T) -> Self {
        Self {
            message: message.into(),
            expires: None,
        }
    }
}

/// The sending end of a channel. A clone is another handle of the same channel; any thread or task
/// may use any of them.
///
/// ```
/// # use countersign_driver::{SendError, Sender};
/// # async fn example(commands: &Sender) -> Result<(), SendError> {
/// let receipt = commands.send("forward").await?; // it is numbered, and on its way
/// println!("forward: {}", receipt.await); // the peer has handled it, or why not
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    handle: Arc<Handle>,
    channel: ChannelId,
}

impl Sender {
    pub(crate) fn new(handle: Arc<Handle>, channel: ChannelId) -> Self {
        Self { handle, channel }
    }

    /// Waits for room on the channel, then sends.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has not sent the message, and one
    /// that is ready has. The message is dropped with the future: keep a clone, which is cheap, to
    /// send it again.
    ///
    /// # Errors
    ///
    /// Returns the message when the channel cannot take it: it is too large, or the link is closing
    /// or has ended.
    pub async fn send(&self, message: impl Into<Outgoing>) -> Result<Receipt, SendError> {
        let outgoing = message.into();
        self.handle.0.split_warning.check(outgoing.message.len());
        let mut message = Some(outgoing);
        let mut waiting = self.waiting();
        poll_fn(|context| {
            waiting.poll(context, |state| {
                self.poll_accept(state, &mut message, Receipts::single)
            })
        })
        .await
    }

    /// Sends the message and calls `note` with its sequence number, or leaves it in place until
    /// there is room.
    pub(crate) fn poll_accept<R>(
        &self,
        state: &mut State,
        message: &mut Option<Outgoing>,
        note: impl FnOnce(&mut Receipts, Sequence) -> R,
    ) -> Poll<Result<R, SendError>> {
        let Some(outgoing) = message.take() else {
            return Poll::Pending;
        };
        let expires = outgoing.expires.map(|expiry| match expiry {
            Expiry::After { .. } => Expiry::Link(expiry.at(&self.handle.0.clock)),
            expiry => expiry,
        });
        let message_with = |message| Outgoing { message, expires };
        let outgoing = message_with(outgoing.message);
        match self.accept(state, outgoing, note) {
            Err(error) if error.is_blocked() => {
                *message = Some(message_with(error.into_message()));
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// As [`Self::poll_accept`], without registering a waker.
    pub(crate) fn try_accept<R>(
        &self,
        message: &mut Option<Outgoing>,
        note: impl FnOnce(&mut Receipts, Sequence) -> R,
    ) -> Poll<Result<R, SendError>> {
        if let Some(outgoing) = &message {
            self.handle.0.split_warning.check(outgoing.message.len());
        }
        self.handle
            .0
            .with(|state| self.poll_accept(state, message, note))
    }

    /// Sends if there is room now.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], and [`SendError::is_blocked`] when there is no room.
    pub fn try_send(&self, message: impl Into<Outgoing>) -> Result<Receipt, SendError> {
        let outgoing = message.into();
        self.handle.0.split_warning.check(outgoing.message.len());
        self.handle
            .0
            .with(|state| self.accept(state, outgoing, Receipts::single))
    }

    /// Sends many messages, waiting for room where there is none, and returns one receipt for all.
    /// Costs less for each message than sending them one by one.
    ///
    /// Messages are taken off the front of `messages` as they are accepted, so after an error it
    /// holds those that were not sent. The verdicts of those that were sent are then counted in
    /// [`Link::report`](crate::Link::report).
    ///
    /// Cancel-safe: when the future is dropped, `messages` holds those that were not sent, as after
    /// an error, and the next call continues with them; its receipt covers those alone.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], for the message that is now at the front of `messages`.
    pub async fn send_batch(
        &self,
        messages: &mut VecDeque<Bytes>,
    ) -> Result<BatchReceipt, SendError> {
        if self.handle.0.split_warning.is_enabled() {
            let longest = messages.iter().map(Bytes::len).max();
            self.handle.0.split_warning.check(longest.unwrap_or(0));
        }
        let mut batch = Some(OpenBatch::new());
        let mut waiting = self.waiting();
        poll_fn(|context| {
            waiting.poll(context, |state| {
                self.poll_send_batch(state, messages, &mut batch)
            })
        })
        .await
    }

    fn poll_send_batch(
        &self,
        state: &mut State,
        messages: &mut VecDeque<Bytes>,
        batch: &mut Option<OpenBatch>,
    ) -> Poll<Result<BatchReceipt, SendError>> {
        if state.link.is_timed(self.channel) {
            state.now = self.handle.0.clock.now();
        }
        let sent = state.link.send_batch(state.now, self.channel, messages);
        if let Some(batch) = &batch {
            let receipts = &mut self.channel(state).receipts;
            receipts.extend(batch, sent.first, sent.count);
        }
        match sent.refused {
            Some(countersign_core::SendError::Blocked) => Poll::Pending,
            Some(why) => {
                let message = messages.front().cloned().unwrap_or_default();
                let not_sent = NotSent { message, why };
                Poll::Ready(Err(SendError::new(not_sent, state.error())))
            }
            None => Poll::Ready(Ok(batch.take().unwrap_or_else(OpenBatch::new).complete())),
        }
    }

    /// Returns the largest message that the channel carries, in bytes: the smaller of both ends'
    /// limits.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.handle
            .0
            .with(|state| state.link.max_message(self.channel).unwrap_or(0))
    }

    fn accept<R>(
        &self,
        state: &mut State,
        outgoing: Outgoing,
        note: impl FnOnce(&mut Receipts, Sequence) -> R,
    ) -> Result<R, SendError> {
        let clock = &self.handle.0.clock;
        let (message, expires) = outgoing.into_parts(clock);
        // The age of a message is counted from here.
        if expires.is_some() || state.link.is_timed(self.channel) {
            state.now = clock.now();
        }
        match state.link.send(state.now, self.channel, message, expires) {
            Ok(sequence) => Ok(note(&mut self.channel(state).receipts, sequence)),
            Err(not_sent) => Err(SendError::new(not_sent, state.error())),
        }
    }

    fn waiting(&self) -> Waiting<&Shared> {
        Waiting::new(&self.handle.0, Awaited::Channel(self.channel))
    }

    /// Returns a wait that is not bound to a borrow, for types that are polled without a future.
    pub(crate) fn waiting_shared(&self) -> Waiting<Arc<Shared>> {
        Waiting::new(self.handle.0.clone(), Awaited::Channel(self.channel))
    }

    fn channel<'s>(&self, state: &'s mut State) -> &'s mut Channel {
        &mut state.channels[usize::from(self.channel.0)]
    }
}
