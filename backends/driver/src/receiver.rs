//! The receiving end of a channel.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::{Bytes, ChannelId, Message, ReceiveError, Sequence, reject};

use crate::error::RecvError;
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
            sequence: message.sequence,
            payload: message.payload,
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
    sequence: Sequence,
    payload: Bytes,
    settled: bool,
}

impl fmt::Debug for Delivery {
    /// Leaves the message out, which may be long and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("channel", &self.channel)
            .field("sequence", &self.sequence)
            .field("length", &self.payload.len())
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Returns the message's sequence number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Returns the payload, which is cheap to clone.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Marks the message as handled, which is reported to the sender, and returns the payload.
    ///
    /// If the link has ended meanwhile, or the message's session was lost
    /// ([`LinkEvent::SessionLost`](crate::LinkEvent::SessionLost)), the sender cannot be notified:
    /// its receipt says `Unknown`.
    pub fn handled(mut self) -> Bytes {
        self.settle(|state, channel, sequence| state.link.handle(state.now, channel, sequence));
        std::mem::take(&mut self.payload)
    }

    /// Rejects the message. The sender receives the code, which the application chooses below
    /// [`reject::RESERVED`](countersign_core::reject::RESERVED), and the reason, truncated to
    /// [`MAX_REASON`](countersign_core::MAX_REASON) bytes.
    pub fn reject(mut self, code: u32, reason: &str) {
        self.settle(|state, channel, sequence| {
            state
                .link
                .reject(state.now, channel, sequence, code, reason)
        });
    }

    fn settle(
        &mut self,
        command: impl FnOnce(&mut State, ChannelId, Sequence) -> Result<(), ReceiveError>,
    ) {
        self.settled = true;
        let (channel, sequence) = (self.channel, self.sequence);
        // The message is unsettled, so the command can fail only because its session is finished,
        // and then the sender cannot be notified.
        let _ = self
            .handle
            .0
            .with(|state| command(state, channel, sequence));
    }
}

impl Deref for Delivery {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(|state, channel, sequence| {
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

    async fn wait_and_take(&self) -> Result<Option<Message>, RecvError> {
        let mut waiting = self.waiting();
        poll_fn(|context| waiting.poll(context, |state| poll_take(state, self.channel))).await
    }

    /// Returns the next message, a border or the error of the link, each once, for a stream.
    pub(crate) fn poll_next(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Message, RecvError>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let channel = self.channel;
        let next = self
            .waiting
            .poll(context, |state| poll_take(state, channel));
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
        while count < limit {
            // Return the messages first; the next call returns the border.
            if count > 0 && state.link.border(self.channel).is_some() {
                break;
            }
            match take(state, self.channel) {
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
        self.handle.0.with(|state| take(state, self.channel))
    }
}

/// Returns the next message or border; with none left, the error of a link that did not end in
/// order, or whose peer's close reason is not 'all is well'.
fn take(state: &mut State, channel: ChannelId) -> Result<Option<Message>, RecvError> {
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
fn poll_take(state: &mut State, channel: ChannelId) -> Poll<Result<Option<Message>, RecvError>> {
    match take(state, channel) {
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
