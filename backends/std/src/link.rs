//! The handles of a link, blocking.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Bytes, CloseMode, CloseReason, PeerId, Sequence, Verdict, VerdictCounts};
use countersign_driver as driver;
use countersign_driver::{ChannelError, LinkError, LinkEvent, Outgoing, Report, SendError, Status};
use countersign_endpoint::Fingerprint;

use crate::block;
use crate::receiver::{ManualReceiver, Receiver};
use crate::timeout::WaitTimeoutError;

/// One end of a link that is up. Usable from any thread.
///
/// When the `Link` and all of its senders and receivers are dropped, the link is closed in the
/// background. An end that has channels to send on says
/// [`close::DROPPED`](countersign_core::close::DROPPED) then, since nobody has said that all was sent: a
/// program that fails and returns early must not look like one that is done. Receive channels of
/// which nobody holds the receiver reject what comes.
#[derive(Debug)]
pub struct Link(driver::Link);

impl Link {
    pub(crate) fn new(link: driver::Link) -> Self {
        Self(link)
    }

    /// A sender for a channel that was declared in send mode.
    ///
    /// # Errors
    ///
    /// There is no such channel, or it is in receive mode.
    pub fn sender(&self, name: &str) -> Result<Sender, ChannelError> {
        self.0.sender(name).map(Sender)
    }

    /// The receiver of a channel that was declared in receive mode. There is one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Manual`, or its receiver was handed out
    /// before.
    pub fn receiver(&self, name: &str) -> Result<Receiver, ChannelError> {
        self.0.receiver(name).map(Receiver::new)
    }

    /// The receiver of a channel that was declared in receive mode with
    /// [`manual`](countersign_core::ChannelConfig::manual). There is one.
    ///
    /// # Errors
    ///
    /// There is no such channel, it is in send mode or `Auto`, or its receiver was handed out
    /// before.
    pub fn manual_receiver(&self, name: &str) -> Result<ManualReceiver, ChannelError> {
        self.0.manual_receiver(name).map(ManualReceiver::new)
    }

    /// The key that the peer has proved to have on its latest connection; `None` on a plain one.
    /// A peer that changes its key while both are pinned comes back with the new one.
    #[must_use]
    pub fn peer(&self) -> Option<Fingerprint> {
        self.0.peer()
    }

    /// What the application calls the peer: the name of its line in a
    /// [list of peers](countersign_endpoint::Pins::from_list_file), or that of
    /// [`Pins::named`](countersign_endpoint::Pins::named). `None` where the pins have no names, with an
    /// authority, and on a plain connection.
    #[must_use]
    pub fn peer_name(&self) -> Option<Arc<str>> {
        self.0.peer_name()
    }

    /// Who the peer is, whichever of its pinned keys it uses; `None` on a plain connection. Good
    /// for comparing links of this process, and for nothing else.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.0.peer_id()
    }

    /// What became of the messages so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// How the link stands: addresses, peer, since when it is connected or not, what is queued, and
    /// counts. A picture of one moment, for people and for their instruments.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// Connects again at once, where this end waits before its next attempt
    /// ([`Reconnect`](countersign_core::Reconnect)): for programs that know of a network that is back.
    /// True if there was such a wait. The row of failures goes on, so the waits grow as before.
    pub fn connect_now(&self) -> bool {
        self.0.connect_now()
    }

    /// Why the link has ended, if it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<LinkError> {
        self.0.end_reason()
    }

    /// Waits for something to happen to the link; `None` once it has ended.
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

    /// Waits until the link has ended and nothing more is to be said on its connection, and tells
    /// why and what became of everything.
    ///
    /// This end's last words, an abort say, have then gone out, and the peer has ended its direction
    /// or has had [`Timeouts::linger`](countersign_core::Timeouts::linger) for it: a program can exit
    /// without taking them with it. [`Link::event`] and the receivers tell of the end before that.
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

    /// Closes the link in order, says that all is well unless that withdraws messages, and waits for the
    /// end: see [`CloseMode`] for what becomes of what is under way, and
    /// [`Timeouts::close`](countersign_core::Timeouts::close) for how long it may go without anything
    /// moving. A message that was taken from a [`ManualReceiver`] and waits to be settled is waited
    /// for: settle it in another thread, or before.
    pub fn close(&self, mode: CloseMode) -> Report {
        block::on(self.0.close(mode))
    }

    /// As [`Link::close`], for an end with which not all is well: the peer's receivers end with an
    /// error that has the reason, and not as if they had the whole of what there was to send.
    pub fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
        block::on(self.0.close_with(mode, reason))
    }

    /// Begins to close the link, as [`Link::close`], without waiting for the end.
    pub fn start_close(&self, mode: CloseMode) {
        self.0.start_close(mode);
    }

    /// Begins to close the link, as [`Link::close_with`], without waiting for the end. Closing again
    /// can only make the close stricter, and put a reason in the place of 'all is well'.
    pub fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
        self.0.start_close_with(mode, reason);
    }

    /// What the peer has said with its close, once it has begun to close.
    #[must_use]
    pub fn peer_closes(&self) -> Option<CloseReason> {
        self.0.peer_closes()
    }

    /// Ends the link at once, whatever is under way: what is on the wire gets the verdict
    /// `Unknown`, the rest `Withdrawn`. The peer finds its connection lost, and when it comes back,
    /// its session gone. Where both ends can still agree, [`Link::close`] is the better way.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

/// The sending end of a channel. Cloning it gives another handle of the same channel; any thread
/// may use any of them.
#[derive(Clone, Debug)]
pub struct Sender(driver::Sender);

impl Sender {
    /// Waits for room on the channel, then sends.
    ///
    /// # Errors
    ///
    /// The message comes back when the channel can't take it: too large, or the link is closing
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
        // A payload is cheap to clone, and what is not sent is given back.
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

    /// Sends many messages, waiting for room where there is none, and gives one receipt for all.
    /// Costs less for each message than sending them one by one.
    ///
    /// Messages are taken off the front of `messages` as they are accepted, so after an error it
    /// holds those that were not sent. The verdicts of those that were are in [`Link::report`]
    /// then.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`], about the message that is now at the front of `messages`.
    pub fn send_batch(&self, messages: &mut VecDeque<Bytes>) -> Result<BatchReceipt, SendError> {
        block::on(self.0.send_batch(messages)).map(BatchReceipt)
    }

    /// The largest message that the channel carries, in bytes: the smaller figure of both ends.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.0.max_message()
    }
}

/// What [`Sender::send`] gives: a way to wait for the message's verdict.
///
/// Every message gets exactly one. Dropping a receipt changes nothing for the message.
#[derive(Debug)]
pub struct Receipt(driver::Receipt);

impl Receipt {
    /// The message's number on its channel.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.0.sequence()
    }

    /// The verdict, if it is known.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.verdict()
    }

    /// Waits for the verdict. A lost link gives one too, so this ends.
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

/// What [`Sender::send_batch`] gives: a way to wait for all of a batch's verdicts.
#[derive(Debug)]
pub struct BatchReceipt(driver::BatchReceipt);

impl BatchReceipt {
    /// How many messages have which verdict so far.
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
