//! The handles of a link, blocking.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Bytes, CloseMode, CloseReason, PeerId, Sequence, Verdict, VerdictCounts};
use countersign_driver as driver;
use countersign_driver::{
    ChannelError, LinkError, LinkEvent, Outgoing, Report, RequestError, SendError, Status,
};
use countersign_endpoint::Fingerprint;

use crate::block;
use crate::lease::Lease;
use crate::receiver::{ManualReceiver, Receiver};
use crate::timeout::WaitTimeoutError;

/// One end of a link that is up. Usable from any thread.
///
/// When the `Link` and all of its senders and receivers are dropped, the link is closed in the
/// background. An end with send channels closes with
/// [`close::DROPPED`](countersign_core::close::DROPPED) then, since the application has not
/// confirmed that all was sent: a program that fails and returns early must not look like one that
/// has finished. Receive channels without a receiver reject their messages.
#[derive(Clone, Debug)]
pub struct Link(driver::Link);

impl Link {
    pub(crate) fn new(link: driver::Link) -> Self {
        Self(link)
    }

    /// Returns a sender for a channel that was declared in send mode.
    ///
    /// # Errors
    ///
    /// There is no such channel, or it is in receive mode.
    pub fn sender(&self, name: &str) -> Result<Sender, ChannelError> {
        self.0.sender(name).map(Sender)
    }

    /// Returns the receiver of a channel that was declared in receive mode. There is only one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Manual`, or its receiver was handed out
    /// before.
    pub fn receiver(&self, name: &str) -> Result<Receiver, ChannelError> {
        self.0.receiver(name).map(Receiver::new)
    }

    /// Returns the receiver of a channel that was declared in receive mode with
    /// [`manual`](countersign_core::ReceiveChannel::manual). There is only one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Auto`, or its receiver was handed out
    /// before.
    pub fn manual_receiver(&self, name: &str) -> Result<ManualReceiver, ChannelError> {
        self.0.manual_receiver(name).map(ManualReceiver::new)
    }

    /// Returns the lease of a channel that was declared in receive mode with
    /// [`lease`](countersign_core::ReceiveChannel::lease), at any time and as often as wanted.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode, or it has no lease.
    pub fn lease(&self, name: &str) -> Result<Lease, ChannelError> {
        self.0.lease(name).map(Lease::new)
    }

    /// Returns the fingerprint of the key that the peer has proved to hold on its latest
    /// connection; `None` on a plain one. A peer that changes its key while both are pinned comes
    /// back with the new one.
    #[must_use]
    pub fn peer(&self) -> Option<Fingerprint> {
        self.0.peer()
    }

    /// Returns the peer's name: that of its line in a [list of
    /// peers](countersign_endpoint::Pins::from_list_file), or that of
    /// [`Pins::named`](countersign_endpoint::Pins::named). `None` if the pins have no names, with
    /// an authority, and on a plain connection.
    #[must_use]
    pub fn peer_name(&self) -> Option<Arc<str>> {
        self.0.peer_name()
    }

    /// Returns the identity of the peer, whichever of its pinned keys it uses; `None` on a plain
    /// connection. Only meaningful for comparing links of this process.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.0.peer_id()
    }

    /// Whether both are handles of the same link.
    #[must_use]
    pub fn same_link(&self, other: &Self) -> bool {
        self.0.same_link(&other.0)
    }

    /// Returns what became of the messages so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// Returns a snapshot of the link: addresses, peer, since when it is connected or not, queues
    /// and counts, for display and monitoring.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// Reconnects at once, if this end waits before its next attempt
    /// ([`Reconnect`](countersign_core::Reconnect)): for programs that know that the network is
    /// back. Returns true if there was such a wait. The back-off is not reset, so the waits grow as
    /// before.
    pub fn connect_now(&self) -> bool {
        self.0.connect_now()
    }

    /// Returns why the link has ended, if it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<LinkError> {
        self.0.end_reason()
    }

    /// Waits for the next event of the link; returns `None` once it has ended.
    #[must_use]
    pub fn event(&self) -> Option<LinkEvent> {
        block::on(self.0.event())
    }

    /// As [`Link::event`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn event_timeout(&self, limit: Duration) -> Result<Option<LinkEvent>, WaitTimeoutError> {
        block::on_for(self.0.event(), limit)
    }

    /// Waits until the link has ended and its connection is closed, and returns the reason and what
    /// became of all messages.
    ///
    /// By then this end's last frames, such as an abort, have been sent, and the peer has ended its
    /// direction or has had [`Timeouts::linger`](countersign_core::Timeouts::linger) for it: a
    /// program can exit without losing them. [`Link::event`] and the receivers report the end
    /// before that.
    #[must_use]
    pub fn ended(&self) -> Report {
        block::on(self.0.ended())
    }

    /// As [`Link::ended`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn ended_timeout(&self, limit: Duration) -> Result<Report, WaitTimeoutError> {
        block::on_for(self.0.ended(), limit)
    }

    /// Closes the link in order, with the close reason 'all is well' unless that withdraws
    /// messages, and waits for the end: see [`CloseMode`] for what becomes of messages in flight,
    /// and [`Timeouts::close`](countersign_core::Timeouts::close) for how long it may go without
    /// progress. A message that was taken from a [`ManualReceiver`] and is not settled yet is
    /// waited for: settle it in another thread, or before.
    pub fn close(&self, mode: CloseMode) -> Report {
        block::on(self.0.close(mode))
    }

    /// As [`Link::close`], for an end that has failed: the peer's receivers end with an error that
    /// contains the reason, and not as if they had received everything.
    pub fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
        block::on(self.0.close_with(mode, reason))
    }

    /// Begins to close the link, as [`Link::close`] does, without waiting for the end.
    pub fn start_close(&self, mode: CloseMode) {
        self.0.start_close(mode);
    }

    /// Begins to close the link, as [`Link::close_with`] does, without waiting for the end. Closing
    /// again can only make the close stricter, and replace 'all is well' by another reason.
    pub fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
        self.0.start_close_with(mode, reason);
    }

    /// Returns the peer's close reason, once it has begun to close.
    #[must_use]
    pub fn peer_closes(&self) -> Option<CloseReason> {
        self.0.peer_closes()
    }

    /// Ends the link at once: messages on the wire get the verdict `Unknown`, the rest `Withdrawn`.
    /// The peer loses its connection, and its session when it comes back. Prefer [`Link::close`]
    /// while both ends can still agree.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

/// The sending end of a channel. A clone is another handle of the same channel; any thread may use
/// any of them.
#[derive(Clone, Debug)]
pub struct Sender(driver::Sender);

impl Sender {
    /// Waits for room on the channel, then sends.
    ///
    /// # Errors
    ///
    /// Returns the message when the channel cannot take it: it is too large, or the link is closing
    /// or has ended.
    pub fn send(&self, message: impl Into<Outgoing>) -> Result<Receipt, SendError> {
        block::on(self.0.send(message)).map(Receipt)
    }

    /// Waits for room on the channel, but no longer than `limit`, then sends.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], and [`SendError::is_blocked`] when there was no room in time.
    pub fn send_timeout(
        &self,
        message: impl Into<Outgoing>,
        limit: Duration,
    ) -> Result<Receipt, SendError> {
        let message = message.into();
        // A payload is cheap to clone, and `try_send` returns the message if it is not sent.
        match block::on_for(self.0.send(message.clone()), limit) {
            Ok(result) => result.map(Receipt),
            Err(WaitTimeoutError) => self.try_send(message),
        }
    }

    /// Sends if there is room now.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], and [`SendError::is_blocked`] when there is no room.
    pub fn try_send(&self, message: impl Into<Outgoing>) -> Result<Receipt, SendError> {
        self.0.try_send(message).map(Receipt)
    }

    /// Sends many messages, waiting for room where there is none, and returns one receipt for all.
    /// Costs less for each message than sending them one by one.
    ///
    /// Messages are taken off the front of `messages` as they are accepted, so after an error it
    /// holds those that were not sent. The verdicts of those that were sent are then counted in
    /// [`Link::report`].
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], for the message that is now at the front of `messages`.
    pub fn send_batch(&self, messages: &mut VecDeque<Bytes>) -> Result<BatchReceipt, SendError> {
        block::on(self.0.send_batch(messages)).map(BatchReceipt)
    }

    /// Sends a message and waits for its verdict: for those who think in calls. Returns the peer's
    /// reply ([`Delivery::handled_with`](crate::Delivery::handled_with)), or `None` if it has
    /// handled the message without one.
    ///
    /// A message that is good for a limited time ([`Outgoing::expires_in`]) is not handled after
    /// that, and its request fails with the verdict `Expired`. That is known once the peer has said
    /// so, which takes a connection: to wait no longer than some time, [`send`](Self::send) and
    /// [`Receipt::wait_timeout`].
    ///
    /// # Errors
    ///
    /// [`RequestError::NotSent`] as for [`Sender::send`]; [`RequestError::NotHandled`] with the
    /// verdict.
    pub fn request(&self, message: impl Into<Outgoing>) -> Result<Option<Bytes>, RequestError> {
        block::on(self.0.request(message))
    }

    /// Returns the largest message that the channel carries, in bytes: the smaller of both ends'
    /// limits.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.0.max_message()
    }
}

/// What [`Sender::send`] returns, to wait for the message's verdict.
///
/// Every message gets exactly one verdict. Dropping a receipt does not affect the message.
#[must_use = "a receipt says what became of the message; drop it if that does not matter"]
#[derive(Debug)]
pub struct Receipt(driver::Receipt);

impl Receipt {
    /// Returns the message's sequence number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.0.sequence()
    }

    /// Returns the verdict, if it is known.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.verdict()
    }

    /// Waits for the verdict. A lost link settles all its messages, so this always returns.
    #[must_use]
    pub fn wait(self) -> Verdict {
        block::on(self.0)
    }

    /// Waits for the verdict, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Verdict, WaitTimeoutError> {
        block::on_for(&mut self.0, limit)
    }
}

/// What [`Sender::send_batch`] returns, to wait for all verdicts of a batch.
#[must_use = "a receipt says what became of the messages; drop it if that does not matter"]
#[derive(Debug)]
pub struct BatchReceipt(driver::BatchReceipt);

impl BatchReceipt {
    /// Returns how many messages have each verdict so far.
    #[must_use]
    pub fn counts(&self) -> VerdictCounts {
        self.0.counts()
    }

    /// Waits for all verdicts.
    #[must_use]
    pub fn wait(self) -> VerdictCounts {
        block::on(self.0)
    }

    /// Waits for all verdicts, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The time was over first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<VerdictCounts, WaitTimeoutError> {
        block::on_for(&mut self.0, limit)
    }
}
