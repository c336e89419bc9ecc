//! The receiving end of a channel.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::{Age, Bytes, ChannelId, Message, ReceiveError, Sequence, reject};

use crate::clock::Clock;
use crate::error::RecvError;
use crate::received::{Received, ReplyTooLong};
use crate::shared::{Handle, Shared, State};
use crate::wakers::{Awaited, Waiting};

/// The receiving end of a channel on which a message counts as handled when it is received.
///
/// Dropping it rejects pending and later messages, with
/// [`reject::NO_RECEIVER`](countersign_core::reject::NO_RECEIVER).
///
/// ```
/// # use countersign_driver::{Receiver, RecvError};
/// # async fn example(mut video: Receiver) -> Result<(), RecvError> {
/// while let Some(picture) = video.recv().await? {
///     println!("a picture of {} bytes", picture.len());
/// }
/// # Ok(()) // the link was closed in order
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver(pub(crate) Source);

/// The receiving end of a channel declared with
/// [`manual`](countersign_core::ReceiveChannel::manual): a message is handled when the application
/// says so.
///
/// Dropping it rejects pending and later messages, with
/// [`reject::NO_RECEIVER`](countersign_core::reject::NO_RECEIVER).
///
/// ```
/// # use countersign_driver::{ManualReceiver, RecvError};
/// # async fn example(mut commands: ManualReceiver) -> Result<(), RecvError> {
/// while let Some(command) = commands.recv().await? {
///     match &command[..] {
///         b"forward" => drop(command.handled()),
///         _ => command.reject(1, "no such command"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ManualReceiver(pub(crate) Source);

impl Receiver {
    pub(crate) fn new(handle: Arc<Handle>, channel: ChannelId) -> Self {
        Self(Source::new(handle, channel))
    }

    /// Waits for the next message; returns `None` when the link was closed in order, the peer's
    /// close reason is 'all is well', and nothing is left.
    ///
    /// Cancel-safe: a message is taken, and thereby handled, only when the future is ready.
    ///
    /// # Errors
    ///
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions.
    /// [`RecvError::Link`] once nothing is left to receive: with the reason if the link did not end
    /// in order, or with the peer's close reason if that is not 'all is well'. The messages
    /// received are then incomplete.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        let message = self.0.wait_and_take().await?;
        Ok(message.map(|message| message.payload))
    }

    /// As [`Receiver::recv`], with the message's number and age.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub async fn recv_message(&mut self) -> Result<Option<Received>, RecvError> {
        let message = self.0.wait_and_take().await?;
        Ok(message.map(|message| Received::new(message, self.0.clock().clone())))
    }

    /// Waits for at least one message, then appends all pending messages, at most `limit`, to
    /// `messages` and returns how many; zero when the link was closed in order and nothing is left.
    /// The messages of one batch belong to one session.
    ///
    /// Costs less for each message than receiving them one by one.
    ///
    /// Cancel-safe: messages are taken only when the future is ready; until then nothing is
    /// appended.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub async fn recv_batch(
        &mut self,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        let mut waiting = self.0.waiting();
        poll_fn(|context| {
            waiting.poll(context, |state| {
                self.0.poll_take_batch(state, messages, limit)
            })
        })
        .await
    }

    /// Returns the next message, if one is pending.
    ///
    /// # Errors
    ///
    /// As for [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        let message = self.0.try_take()?;
        Ok(message.map(|message| message.payload))
    }
}

impl ManualReceiver {
    pub(crate) fn new(handle: Arc<Handle>, channel: ChannelId) -> Self {
        Self(Source::new(handle, channel))
    }

    /// Waits for the next message; returns `None` when the link was closed in order, the peer's
    /// close reason is 'all is well', and nothing is left.
    ///
    /// Cancel-safe: a message is taken only when the future is ready. From then on, dropping its
    /// [`Delivery`] rejects it.
    ///
    /// # Errors
    ///
    /// [`RecvError::SessionBorder`], once, in its place between the messages of two sessions.
    /// [`RecvError::Link`] once nothing is left to receive: with the reason if the link did not end
    /// in order, or with the peer's close reason if that is not 'all is well'. The messages
    /// received are then incomplete.
    pub async fn recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        let message = self.0.wait_and_take().await?;
        Ok(message.map(|message| self.deliver(message)))
    }

    /// Returns the next message, if one is pending.
    ///
    /// # Errors
    ///
    /// As for [`ManualReceiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        let message = self.0.try_take()?;
        Ok(message.map(|message| self.deliver(message)))
    }

    pub(crate) fn deliver(&self, message: Message) -> Delivery {
        Delivery {
            handle: self.0.handle.clone(),
            channel: self.0.channel,
            message,
            settled: false,
        }
    }
}

/// A message that is to be handled or rejected. Dropping it rejects it with
/// [`reject::DROPPED`](countersign_core::reject::DROPPED).
///
/// Dereferences to its payload.
///
/// ```
/// # use countersign_driver::{ManualReceiver, RecvError};
/// # async fn example(commands: &mut ManualReceiver) -> Result<(), RecvError> {
/// while let Some(command) = commands.recv().await? {
///     match &command[..] {
///         b"forward" => drop(command.handled()),
///         _ => command.reject(1, "no such command"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Delivery {
    handle: Arc<Handle>,
    channel: ChannelId,
    message: Message,
    settled: bool,
}

impl fmt::Debug for Delivery {
    /// Leaves the message out, which may be long and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("channel", &self.channel)
            .field("sequence", &self.sequence())
            .field("length", &self.message.payload.len())
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Returns the message's sequence number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.message.sequence
    }

    /// Returns the payload, which is cheap to clone.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Returns how old the message is at this moment, as [`Received::age`].
    #[must_use]
    pub fn age(&self) -> Option<Age> {
        self.message.age(self.handle.0.clock.now())
    }

    /// Marks the message as handled, which is reported to the sender, and returns the payload.
    ///
    /// If the link has ended meanwhile, or the message's session was lost
    /// ([`LinkEvent::SessionLost`](crate::LinkEvent::SessionLost)), the sender cannot be notified:
    /// its receipt says `Unknown`.
    pub fn handled(mut self) -> Bytes {
        let handle =
            |state: &mut State, channel, sequence| state.link.handle(state.now, channel, sequence);
        let _ = self.settle(handle);
        std::mem::take(&mut self.message.payload)
    }

    /// Marks the message as handled, as [`Delivery::handled`], with a reply for its sender: its
    /// receipt says `Handled`, and gives these bytes. A reply arrives as surely as any message.
    ///
    /// # Errors
    ///
    /// The reply is longer than the channel allows. The message still waits.
    ///
    /// ```
    /// # use countersign_driver::{Delivery, ReplyTooLong};
    /// # fn example(question: Delivery) -> Result<(), ReplyTooLong> {
    /// question.handled_with(b"in the kitchen")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn handled_with(mut self, reply: &[u8]) -> Result<Bytes, ReplyTooLong> {
        let settled = self.settle(|state, channel, sequence| {
            state.link.handle_with(state.now, channel, sequence, reply)
        });
        if let Err(ReceiveError::ReplyTooLong { limit }) = settled {
            self.settled = false;
            return Err(ReplyTooLong {
                delivery: self,
                limit,
            });
        }
        Ok(std::mem::take(&mut self.message.payload))
    }

    /// Rejects the message. The sender receives the code, which the application chooses below
    /// [`reject::RESERVED`](countersign_core::reject::RESERVED), and the reason, truncated to
    /// [`MAX_REASON`](countersign_core::MAX_REASON) bytes.
    pub fn reject(mut self, code: u32, reason: &str) {
        let _ = self.settle(|state, channel, sequence| {
            state
                .link
                .reject(state.now, channel, sequence, code, reason)
        });
    }

    /// The message is unsettled, so apart from a reply that is too long, the command can fail only
    /// because its session is finished, and then the sender cannot be notified.
    fn settle(
        &mut self,
        command: impl FnOnce(&mut State, ChannelId, Sequence) -> Result<(), ReceiveError>,
    ) -> Result<(), ReceiveError> {
        self.settled = true;
        let (channel, sequence) = (self.channel, self.message.sequence);
        self.handle
            .0
            .with(|state| command(state, channel, sequence))
    }
}

impl Deref for Delivery {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message.payload
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            let _ = self.settle(|state, channel, sequence| {
                state
                    .link
                    .reject(state.now, channel, sequence, reject::DROPPED, "")
            });
        }
    }
}

/// The common part of both kinds of receiver.
#[derive(Debug)]
pub(crate) struct Source {
    handle: Arc<Handle>,
    channel: ChannelId,
    /// The wait of the receiver's use as a stream.
    waiting: Waiting<Arc<Shared>>,
    /// The stream has returned its end.
    finished: bool,
}

impl Source {
    fn new(handle: Arc<Handle>, channel: ChannelId) -> Self {
        let waiting = Waiting::new(handle.0.clone(), Awaited::Channel(channel));
        Self {
            handle,
            channel,
            waiting,
            finished: false,
        }
    }

    fn waiting(&self) -> Waiting<&Shared> {
        Waiting::new(&self.handle.0, Awaited::Channel(self.channel))
    }

    fn clock(&self) -> &Clock {
        &self.handle.0.clock
    }

    async fn wait_and_take(&self) -> Result<Option<Message>, RecvError> {
        let mut waiting = self.waiting();
        let take = |state: &mut State| poll_take(state, self.channel, self.clock());
        poll_fn(|context| waiting.poll(context, take)).await
    }

    /// Returns the next message, a border or the error of the link, each once, for a stream.
    pub(crate) fn poll_next(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Message, RecvError>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let (channel, clock) = (self.channel, &self.handle.0.clock);
        let next = self
            .waiting
            .poll(context, |state| poll_take(state, channel, clock));
        next.map(|taken| {
            self.finished = matches!(taken, Ok(None) | Err(RecvError::Link(_)));
            taken.transpose()
        })
    }

    /// Whether the stream has returned its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    fn poll_take_batch(
        &self,
        state: &mut State,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Poll<Result<usize, RecvError>> {
        let mut count = 0;
        if !state.link.is_timed(self.channel) {
            // The receiver was made for a channel in receive mode where taking handles.
            let taken = state
                .link
                .take_batch(state.now, self.channel, messages, limit);
            count = taken.unwrap_or(0);
        }
        while count < limit {
            // Return the messages first; the next call returns the border.
            if count > 0 && state.link.border(self.channel).is_some() {
                break;
            }
            match take(state, self.channel, self.clock()) {
                Ok(Some(message)) => messages.push(message.payload),
                Ok(None) => break,
                Err(error) if count == 0 => return Poll::Ready(Err(error)),
                // Return the messages first; the next call returns the error.
                Err(_) => break,
            }
            count += 1;
        }
        if count == 0 && !state.ended && limit > 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn try_take(&self) -> Result<Option<Message>, RecvError> {
        self.handle
            .0
            .with(|state| take(state, self.channel, self.clock()))
    }
}

/// Returns the next message or border; with none left, the error of a link that did not end in
/// order, or whose peer's close reason is not 'all is well'.
///
/// Where messages may be late, the clock is read for each: the driver may have read it long ago.
fn take(
    state: &mut State,
    channel: ChannelId,
    clock: &Clock,
) -> Result<Option<Message>, RecvError> {
    if state.link.is_timed(channel) {
        state.now = clock.now();
    }
    match state.link.take(state.now, channel) {
        Ok(Some(message)) => return Ok(Some(message)),
        Err(ReceiveError::SessionBorder(why)) => return Err(RecvError::SessionBorder(why)),
        // No other error is possible: the receiver was made for a channel in receive mode.
        Ok(None) | Err(_) => {}
    }
    match state.error() {
        Some(error) if !error.ends_stream() => Err(error.into()),
        _ => Ok(None),
    }
}

/// As [`take`], but returns `Pending` while more messages may arrive.
fn poll_take(
    state: &mut State,
    channel: ChannelId,
    clock: &Clock,
) -> Poll<Result<Option<Message>, RecvError>> {
    match take(state, channel, clock) {
        Ok(None) if !state.ended => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The channel is in receive mode, so this cannot fail.
        let _ = self
            .handle
            .0
            .with(|state| state.link.abandon(state.now, self.channel));
    }
}
