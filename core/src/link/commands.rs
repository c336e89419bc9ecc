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
use crate::receive::ReceiveHalf;
use crate::state::LinkState;
use crate::{Instant, Sequence};

impl Link {
    /// Accepts a message for sending and returns its number. The message is kept until its verdict,
    /// which is reported as [`Event::Handled`](crate::Event::Handled) or
    /// [`Event::Verdict`](crate::Event::Verdict). May be called before the link is up.
    ///
    /// A message that is not on the wire by `expires` is dropped as `Expired`.
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
        match half.accept(message, expires.unwrap_or(Instant::NEVER), &mut self.spent) {
            Ok(sequence) => {
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

    #[inline]
    fn may_send(&self, message: &Bytes) -> Result<(), SendError> {
        if self.state == LinkState::Ended {
            return Err(SendError::Ended);
        }
        if self.closing.asked {
            return Err(SendError::Closing);
        }
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
        let (sequence, payload) = match half.take(now) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(border) => return Err(self.observe_border(channel, border)),
        };
        if half.wants_output() {
            self.wants_output = true;
        }
        if self.config.dialect == Dialect::TlsStream {
            self.stream_taken();
        }
        self.progress();
        if self.observer.is_set() {
            self.observe_taken(channel, sequence, payload.len());
        }
        Ok(Some(Message { sequence, payload }))
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
        self.begin_call(now);
        let call = Call::Handle { channel, sequence };
        self.observe(&call, Outcome::Settled, |link| {
            let now = link.now;
            let half = link.receive_half(channel)?;
            half.handle(now, sequence)?;
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
            half.reject(sequence, ReceiveHalf::rejection(code, reason))?;
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
    fn receive_half(&mut self, channel: ChannelId) -> Result<&mut ReceiveHalf, ReceiveError> {
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
