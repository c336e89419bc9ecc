//! Commands of the application.

use bytes::Bytes;

use super::timers::Timer;
use super::{CloseMode, Half, Link, Message};
use crate::channel::Mode;
use crate::close::CloseReason;
use crate::config::Dialect;
use crate::error::{NotSent, ReceiveError, SendError, SessionLoss};
use crate::event::ChannelId;
use crate::observe::{Call, Outcome};
use crate::receive::{Answer, ReceiveHalf, TakenMessage};
use crate::state::LinkState;
use crate::{Instant, Sequence};

impl Link {
    /// Accepts a message for sending and returns its number. The message is kept until its verdict,
    /// which is reported as [`Event::Handled`](crate::Event::Handled) or
    /// [`Event::Verdict`](crate::Event::Verdict). May be called before the link is up.
    ///
    /// A message that is good for a limited time is late at `expires`. It is dropped as `Expired` at
    /// the latest when the receiving application would take it: here if it is not on the wire by
    /// then, or at the other end, which judges by the message's age (`docs/protocol.md`, Age). The
    /// age is counted from `now`.
    ///
    /// # Errors
    ///
    /// [`NotSent`] returns the message. [`SendError::Blocked`] is followed by
    /// [`Event::Room`](crate::Event::Room) when trying again makes sense.
    #[inline]
    pub fn send(
        &mut self,
        now: Instant,
        channel: ChannelId,
        message: impl Into<Bytes>,
        expires: Option<Instant>,
    ) -> Result<Sequence, NotSent> {
        self.begin_call(now);
        let message = message.into();
        if let Err(why) = self.may_send(&message) {
            return Err(self.not_sent(channel, message, expires, why));
        }
        let half = match self.halves.get_mut(channel.index()) {
            Some(Half::Send(half)) => half,
            Some(Half::Receive(_)) => {
                return Err(self.not_sent(channel, message, expires, SendError::ReceiveMode));
            }
            None => {
                return Err(self.not_sent(channel, message, expires, SendError::NoSuchChannel));
            }
        };
        let (now, late_at) = (self.now, expires.unwrap_or(Instant::NEVER));
        match half.accept(message, now, late_at, &mut self.spent) {
            Ok(sequence) => {
                if expires.is_some() && !self.sends_times {
                    // The peer may have to know this end's clock first.
                    self.sends_times = true;
                    self.wants_output = true;
                }
                // In a batch, the first message has set both already.
                self.wants_output = self.wants_output || half.may_write();
                self.has_events = self.has_events || half.has_superseded();
                if self.observer.is_set() {
                    self.observe_sent(channel, sequence);
                }
                Ok(sequence)
            }
            Err((message, why)) => Err(self.not_sent(channel, message, expires, why)),
        }
    }

    /// Notifies the observer of an accepted message. It does so afterwards, with what the channel
    /// has stored, because work before that costs every message, observed or not.
    #[cold]
    #[inline(never)]
    fn observe_sent(&mut self, channel: ChannelId, sequence: Sequence) {
        let Some(Half::Send(half)) = self.halves.get(channel.index()) else {
            return;
        };
        if let Some((message, expires)) = half.newest() {
            let expires = (expires != Instant::NEVER).then_some(expires);
            let call = Call::Send {
                channel,
                message,
                expires,
            };
            self.observer.call(self.now, call);
            self.observer.outcome(Outcome::Sent(Ok(sequence)));
        }
    }

    #[inline(always)]
    fn not_sent(
        &mut self,
        channel: ChannelId,
        message: Bytes,
        expires: Option<Instant>,
        why: SendError,
    ) -> NotSent {
        if self.observer.is_set() {
            self.observe_not_sent(channel, &message, expires, why);
        }
        NotSent { message, why }
    }

    #[cold]
    #[inline(never)]
    fn observe_not_sent(
        &mut self,
        channel: ChannelId,
        message: &[u8],
        expires: Option<Instant>,
        why: SendError,
    ) {
        let call = Call::Send {
            channel,
            message,
            expires,
        };
        self.observer.call(self.now, call);
        self.observer.outcome(Outcome::Sent(Err(why)));
    }

    /// Whether messages are accepted at all.
    #[inline]
    pub(super) fn may_send_more(&self) -> Result<(), SendError> {
        if self.state == LinkState::Ended {
            return Err(SendError::Ended);
        }
        if self.closing.asked {
            return Err(SendError::Closing);
        }
        Ok(())
    }

    #[inline]
    fn may_send(&self, message: &Bytes) -> Result<(), SendError> {
        self.may_send_more()?;
        if message.is_empty() && self.config.dialect == Dialect::TlsStream {
            return Err(SendError::Empty);
        }
        Ok(())
    }

    /// Takes the oldest message that waits on a channel. With `Auto` this handles it; with `Manual`
    /// it waits for [`Link::handle`] or [`Link::reject`].
    ///
    /// What arrived before the link ended can still be taken afterwards.
    ///
    /// A message that is late at `now` ([`Link::late_at`]) is not returned but dropped, with the
    /// verdict `Expired`, so a channel with messages that wait may return `None`, and still leave
    /// output: the verdict. `now` must not be an earlier reading of the clock: a process may stand
    /// still between any two of its instructions.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::SessionBorder`], once, in its place between the last message of a lost
    /// session and the first of the next one. Otherwise the channel does not exist or is in send
    /// mode.
    #[inline]
    pub fn take(
        &mut self,
        now: Instant,
        channel: ChannelId,
    ) -> Result<Option<Message>, ReceiveError> {
        self.advance_clock(now);
        let now = self.now;
        let half = self.receive_half(channel)?;
        if half.takes_slowly() {
            return self.take_slowly(channel);
        }
        let Some((sequence, payload)) = half.take(now) else {
            return Ok(None);
        };
        if half.wants_output() {
            self.wants_output = true;
        }
        self.after_taking(channel, sequence, payload.len());
        let timing = None;
        Ok(Some(Message {
            sequence,
            payload,
            timing,
        }))
    }

    #[inline]
    fn after_taking(&mut self, channel: ChannelId, sequence: Sequence, length: usize) {
        if self.config.dialect == Dialect::TlsStream {
            self.stream_taken();
        }
        self.progress();
        if self.observer.is_set() {
            self.observe_taken(channel, sequence, length);
        }
    }

    /// Takes the oldest message where borders or late messages may come before it.
    #[cold]
    fn take_slowly(&mut self, channel: ChannelId) -> Result<Option<Message>, ReceiveError> {
        let now = self.now;
        let half = self.receive_half(channel)?;
        let expired = half.expired;
        let taken = half.take_slowly(now);
        let drops = half.expired > expired;
        let answers = half.wants_output();
        self.wants_output |= answers;
        // The lease may be held from here on.
        self.has_events |= matches!(taken, Ok(Some(_)));
        if drops {
            self.progress();
        }
        match taken {
            Ok(Some(message)) => {
                let TakenMessage {
                    sequence,
                    payload,
                    timing,
                } = message;
                self.after_taking(channel, sequence, payload.len());
                Ok(Some(Message {
                    sequence,
                    payload,
                    timing,
                }))
            }
            Ok(None) => {
                if drops {
                    self.observe_nothing_taken(channel);
                }
                Ok(None)
            }
            Err(border) => Err(self.observe_border(channel, border)),
        }
    }

    /// Whether messages of this channel may be judged by their age just then: in receive mode,
    /// whether any wait that have times, or a border; in send mode, whether the peer wants the times
    /// of every message. A caller that reads its clock rarely reads it for [`Link::take`] and
    /// [`Link::send`] then.
    #[must_use]
    pub fn is_timed(&self, channel: ChannelId) -> bool {
        match self.halves.get(channel.index()) {
            Some(Half::Receive(half)) => half.takes_slowly(),
            Some(Half::Send(half)) => half.adds_times(),
            None => false,
        }
    }

    /// Returns when the message that [`Link::take`] returns next is late, if it is good for a
    /// limited time.
    #[must_use]
    pub fn late_at(&self, channel: ChannelId) -> Option<Instant> {
        match self.halves.get(channel.index()) {
            Some(Half::Receive(half)) if half.takes_slowly() => half.late_at(),
            _ => None,
        }
    }

    /// Returns when the lease of a channel lapses, while it is held.
    #[must_use]
    pub fn lease_until(&self, channel: ChannelId) -> Option<Instant> {
        match self.halves.get(channel.index()) {
            Some(Half::Receive(half)) => half.lease_until(),
            _ => None,
        }
    }

    /// Returns the border between two sessions, if [`Link::take`] returns it next.
    #[must_use]
    pub fn border(&self, channel: ChannelId) -> Option<SessionLoss> {
        match self.halves.get(channel.index()) {
            Some(Half::Receive(half)) => half.border(),
            _ => None,
        }
    }

    /// Notifies the observer of a message that was taken; afterwards, as for sending.
    #[cold]
    #[inline(never)]
    fn observe_taken(&mut self, channel: ChannelId, sequence: Sequence, length: usize) {
        self.observer.call(self.now, Call::Take { channel });
        self.observer.outcome(Outcome::Taken { sequence, length });
    }

    #[cold]
    fn observe_nothing_taken(&mut self, channel: ChannelId) {
        self.observer.call(self.now, Call::Take { channel });
        self.observer.outcome(Outcome::Settled(Ok(())));
    }

    #[cold]
    fn observe_border(&mut self, channel: ChannelId, border: ReceiveError) -> ReceiveError {
        self.observer.call(self.now, Call::Take { channel });
        self.observer.outcome(Outcome::Settled(Err(border)));
        border
    }

    /// Marks a message that was taken from a `Manual` channel as handled. Messages may be handled
    /// in any order; the peer is notified in order.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::NotWaiting`] when the message does not wait to be handled, as on an `Auto`
    /// channel, where taking a message handles it.
    pub fn handle(
        &mut self,
        now: Instant,
        channel: ChannelId,
        sequence: Sequence,
    ) -> Result<(), ReceiveError> {
        self.settle(now, channel, sequence, None)
    }

    /// Marks a message that was taken from a `Manual` channel as handled, with a reply for its
    /// sender, whose verdict is `Handled` with these bytes.
    ///
    /// # Errors
    ///
    /// As for [`Link::handle`], and [`ReceiveError::ReplyTooLong`] above the smaller limit of both
    /// ends ([`ReceiveChannel::max_reply`](crate::ReceiveChannel::max_reply)): the message still
    /// waits then.
    pub fn handle_with(
        &mut self,
        now: Instant,
        channel: ChannelId,
        sequence: Sequence,
        reply: &[u8],
    ) -> Result<(), ReceiveError> {
        self.settle(now, channel, sequence, Some(reply))
    }

    fn settle(
        &mut self,
        now: Instant,
        channel: ChannelId,
        sequence: Sequence,
        reply: Option<&[u8]>,
    ) -> Result<(), ReceiveError> {
        self.begin_call(now);
        let call = Call::Handle {
            channel,
            sequence,
            reply,
        };
        self.observe(&call, Outcome::Settled, |link| {
            let now = link.now;
            let half = link.receive_half(channel)?;
            match reply {
                Some(reply) => half.reply(sequence, reply)?,
                None => half.handle(now, sequence)?,
            }
            link.wants_output |= half.wants_output();
            link.progress();
            Ok(())
        })
    }

    /// Rejects a message that was taken from a `Manual` channel, with a code of the application
    /// (below [`reject::RESERVED`](crate::reject::RESERVED)) and a reason, which is cut to
    /// [`MAX_REASON`](crate::MAX_REASON) bytes.
    ///
    /// # Errors
    ///
    /// As for [`Link::handle`].
    pub fn reject(
        &mut self,
        now: Instant,
        channel: ChannelId,
        sequence: Sequence,
        code: u32,
        reason: &str,
    ) -> Result<(), ReceiveError> {
        self.begin_call(now);
        let call = Call::Reject {
            channel,
            sequence,
            code,
            reason,
        };
        self.observe(&call, Outcome::Settled, |link| {
            let half = link.receive_half(channel)?;
            let rejection = ReceiveHalf::rejection(code, reason);
            half.answer(sequence, Answer::Rejected(rejection))?;
            link.wants_output = true;
            link.progress();
            Ok(())
        })
    }

    /// Stops receiving on this channel: messages that wait and those that still arrive are rejected
    /// with [`reject::NO_RECEIVER`](crate::reject::NO_RECEIVER). The `tlsstream` dialect has no
    /// rejections; there the link is closed.
    ///
    /// # Errors
    ///
    /// The channel does not exist or is in send mode.
    pub fn abandon(&mut self, now: Instant, channel: ChannelId) -> Result<(), ReceiveError> {
        self.begin_call(now);
        self.observe(&Call::Abandon { channel }, Outcome::Settled, |link| {
            link.receive_half(channel)?;
            let is_stream = !link.is_native();
            if is_stream {
                link.stream_abandoned();
            }
            link.receive_half(channel)?.abandon();
            if is_stream {
                link.start_close(CloseMode::Withdraw, CloseReason::ALL_WELL);
            }
            link.wants_output = true;
            Ok(())
        })
    }

    #[inline]
    pub(super) fn receive_half(
        &mut self,
        channel: ChannelId,
    ) -> Result<&mut ReceiveHalf, ReceiveError> {
        match self.halves.get_mut(channel.index()) {
            Some(Half::Receive(half)) => Ok(half),
            Some(Half::Send(_)) => Err(ReceiveError::SendMode),
            None => Err(ReceiveError::NoSuchChannel),
        }
    }

    /// Whether taking a message from this channel handles it.
    #[must_use]
    pub fn is_auto(&self, channel: ChannelId) -> bool {
        self.config
            .channels
            .get(channel.index())
            .is_some_and(|channel| channel.mode() == Mode::Receive && !channel.is_manual())
    }

    /// Ends the delay before the next attempt to connect, which is due at once
    /// ([`Link::poll_deadline`]). Returns whether there was such a delay. Nothing changes while
    /// there is a connection or an attempt in progress, or if there is no further attempt. The row
    /// of failures goes on, and with it the delays grow as before
    /// ([`Reconnect`](crate::Reconnect)).
    pub fn connect_now(&mut self, now: Instant) -> bool {
        self.begin_call(now);
        self.observer.call(self.now, Call::ConnectNow);
        let waits = self.next_attempt().is_some_and(|at| at > self.now);
        if waits {
            self.timers.set(Timer::Connect, Some(self.now));
        }
        waits
    }
}
