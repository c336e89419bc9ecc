//! The orderly close of a link, by either end (`docs/protocol.md`, Close).

use alloc::string::ToString;

use super::output::{Full, Out};
use super::timers::Timer;
use super::{Half, Link};
use crate::Instant;
use crate::close::{self, CloseReason};
use crate::config::Dialect;
use crate::error::{EndReason, PeerMisbehaved};
use crate::event::Event;
use crate::observe::Call;
use crate::state::{Input, LinkState};
use crate::wire::{CloseHead, CloseList, Frame, encode_close};

/// What happens to messages in flight when an application closes a link. Closing again can only be
/// stricter: each of these is stricter than the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum CloseMode {
    /// Drains both ways: everything that this end has accepted is sent first, and the application
    /// goes on taking what the peer has begun to send. Messages that it does not take hold the
    /// close up.
    DrainBoth,
    /// Sends everything that this end has accepted first. What the peer has sent and the
    /// application has not taken is rejected with
    /// [`reject::NO_RECEIVER`](crate::reject::NO_RECEIVER), and so is what still arrives.
    #[default]
    Drain,
    /// Like [`CloseMode::Drain`], but what is not yet on the wire is withdrawn. If that withdraws
    /// messages, the peer is notified that not all is well: with
    /// [`close::WITHDRAWN`](crate::close::WITHDRAWN), unless the application gives a reason.
    Withdraw,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Closing {
    /// Whether a close is in progress, with or without a connection.
    pub(super) asked: bool,
    /// Whether this end asked first.
    by_us: bool,
    /// This end's reason.
    ours: CloseReason,
    /// The peer's reason in this session, which it can't take back.
    received: Option<CloseReason>,
    /// The peer's reason over all sessions: the first that is not 'all is well', if any.
    theirs: Option<CloseReason>,
    /// Whether DONE was written on this connection or an earlier one.
    pub(super) ever_done: bool,
}

/// CLOSE and DONE on one connection. On the next one they are sent again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct CloseFrames {
    /// Whether CLOSE has to be written, or written again.
    to_write: bool,
    written: bool,
    /// Whether the peer's CLOSE has arrived.
    received: bool,
    done_written: bool,
    pub(super) done_received: bool,
}

impl Closing {
    /// Forgets the peer's reason: the peer need not know in the next session what it said in this
    /// one.
    pub(super) fn lose_session(&mut self) {
        self.received = None;
    }

    /// Closes the session that replaces a lost one as it begins, with this reason. Returns whether
    /// no close was in progress before.
    pub(super) fn end_session(&mut self, reason: CloseReason) -> bool {
        let asked = core::mem::replace(&mut self.asked, true);
        self.by_us |= !asked;
        self.ours = reason;
        !asked
    }

    /// Returns the reason of the end of a link that was closed.
    pub(super) fn end_reason(&self) -> EndReason {
        EndReason::Closed {
            by_us: self.by_us,
            ours: self.ours.clone(),
            theirs: self.theirs.clone().unwrap_or_default(),
        }
    }

    /// Records the peer's CLOSE. A later one may say that not all is well after all, and must not
    /// differ otherwise.
    fn record_close(
        &mut self,
        reason: CloseReason,
        frames: &mut CloseFrames,
    ) -> Result<(), PeerMisbehaved> {
        match &self.received {
            Some(earlier) if *earlier == reason && frames.received => {
                return Err(PeerMisbehaved::AfterClose);
            }
            Some(earlier)
                if *earlier != reason && (!earlier.is_all_well() || reason.is_all_well()) =>
            {
                return Err(PeerMisbehaved::CloseReason);
            }
            _ => {}
        }
        if self.theirs.as_ref().is_none_or(CloseReason::is_all_well) {
            self.theirs = Some(reason.clone());
        }
        self.received = Some(reason);
        frames.received = true;
        Ok(())
    }
}

impl Link {
    // Starting a close.

    /// Closes the link in order and says that all is well, unless that withdraws messages. This is
    /// [`Link::close_with`] without a reason.
    pub fn close(&mut self, now: Instant, mode: CloseMode) {
        self.close_with(now, mode, CloseReason::ALL_WELL);
    }

    /// Closes the link in order, with a reason. No more messages are accepted at either end;
    /// [`CloseMode`] says what happens to those in flight. The peer withdraws what it has not yet
    /// put on the wire. Messages that the application has taken and not settled are waited for.
    ///
    /// The link ends when both ends have all their verdicts, or when there was no progress for
    /// [`Timeouts::close`](crate::Timeouts::close). If the connection is lost meanwhile, or was
    /// before, the close goes on with the next one within that time.
    ///
    /// Closing again, or after the peer, is no error. It can only make the close stricter, and
    /// replace 'all is well' with another reason. An end that has not closed itself when the peer
    /// does says that all is well.
    ///
    /// The tlsstream dialect can't express a reason: there the connection ends in a way that can't
    /// be taken for an orderly end.
    pub fn close_with(&mut self, now: Instant, mode: CloseMode, reason: CloseReason) {
        self.begin_call(now);
        let reason = reason.cut();
        let call = Call::Close {
            mode,
            reason: &reason,
        };
        self.observer.call(self.now, call);
        self.start_close(mode, reason);
    }

    /// Returns the reason in the peer's CLOSE, once that has arrived.
    #[must_use]
    pub fn peer_closes(&self) -> Option<&CloseReason> {
        self.closing.theirs.as_ref()
    }

    /// Whether to end this end's direction of the connection in a way that can't be taken for an
    /// orderly end, without close_notify say, when [`Output::End`](crate::Output::End) asks for its
    /// end: in the tlsstream dialect, whose peer would take an incomplete stream for whole.
    #[must_use]
    pub fn breaks_off(&self) -> bool {
        let orderly = self.end_reason().is_none_or(EndReason::is_orderly);
        self.config.dialect == Dialect::TlsStream && !(orderly && self.closing.ours.is_all_well())
    }

    pub(super) fn start_close(&mut self, mode: CloseMode, reason: CloseReason) {
        match self.state {
            LinkState::Offline
            | LinkState::Connecting
            | LinkState::Securing
            | LinkState::Greeting
                if !self.has_session() =>
            {
                self.fail(Input::Failed, EndReason::ClosedBeforeConnected, None);
                return;
            }
            LinkState::Finishing | LinkState::Ended => return,
            _ => {}
        }
        self.set_reason(reason);
        let asked = self.closing.asked;
        if !asked {
            self.closing.by_us = true;
        }
        match self.state {
            LinkState::Open => self.begin_closing(Input::CloseRequested),
            LinkState::Closing => {}
            // There is a session and no connection: the close waits for the next one, within the
            // time limit of a close.
            _ if asked => {}
            _ => {
                self.closing.asked = true;
                self.timers
                    .start(Timer::Close, self.now, self.config.timeouts.close);
            }
        }
        if mode == CloseMode::Withdraw && self.closing.by_us && self.withdraw_unbegun() {
            // Otherwise the receiver would take what arrives for the whole.
            self.set_reason(CloseReason::new(close::WITHDRAWN, ""));
        }
        if mode >= CloseMode::Drain {
            self.abandon_receiving();
        }
        // There may be rejections to write, and a SKIP for what CLOSE has named and will not be
        // sent.
        self.wants_output = true;
    }

    /// Sets the reason in this end's CLOSE, unless it is fixed already.
    fn set_reason(&mut self, reason: CloseReason) {
        let closing = &mut self.closing;
        // Nothing can follow DONE.
        if reason == closing.ours || !closing.ours.is_all_well() || closing.ever_done {
            return;
        }
        if closing.asked && reason.is_all_well() {
            return;
        }
        closing.ours = reason;
        self.connection.close.to_write |= self.connection.close.written;
    }

    /// Rejects what the peer has sent or still sends and the application has not taken.
    fn abandon_receiving(&mut self) {
        if !self.is_native() {
            self.stream_abandoned();
        }
        for half in &mut self.halves {
            if let Half::Receive(half) = half {
                half.abandon();
            }
        }
    }

    pub(super) fn begin_closing(&mut self, input: Input) {
        if !matches!(self.step(input), Ok(true)) {
            return;
        }
        self.closing.asked = true;
        if input == Input::CloseReceived {
            self.withdraw_unbegun();
        }
        self.progress();
        self.connection.close.to_write = self.is_native();
        self.wants_output = true;
    }

    /// Goes on with a close that was asked for before the link was up again.
    pub(super) fn resume_closing(&mut self) {
        // That alone is no progress, so the time limit of the close runs on.
        let closes = self.step(Input::CloseRequested);
        debug_assert_eq!(closes, Ok(true));
        self.connection.close.to_write = self.is_native();
    }

    /// Restarts the time limit of a close: a message, or a part of one, was sent, received or
    /// settled.
    pub(super) fn progress(&mut self) {
        if self.state == LinkState::Closing {
            self.timers
                .start(Timer::Close, self.now, self.config.timeouts.close);
        }
    }

    /// Withdraws every message that is not on the wire. Returns whether there was any.
    fn withdraw_unbegun(&mut self) -> bool {
        let mut any = false;
        for half in &mut self.halves {
            if let Half::Send(half) = half {
                any |= half.withdraw_unbegun(&mut self.spent);
                self.has_events |= half.has_events();
            }
        }
        any
    }

    // From the peer.

    pub(super) fn on_close(
        &mut self,
        head: &CloseHead<'_>,
        list: CloseList<'_>,
    ) -> Result<(), PeerMisbehaved> {
        let receiving = self
            .halves
            .iter()
            .filter(|half| matches!(half, Half::Receive(_)))
            .count();
        if list.entries().count() != receiving {
            return Err(PeerMisbehaved::CloseList);
        }
        for (at, (channel, last)) in list.entries().enumerate() {
            if list
                .entries()
                .take(at)
                .any(|(earlier, _)| earlier == channel)
            {
                return Err(PeerMisbehaved::CloseList);
            }
            self.receiving(channel)?.close(last)?;
        }
        let reason = CloseReason {
            code: head.code,
            text: head.text.to_string(),
            again: head.again,
        };
        self.closing
            .record_close(reason, &mut self.connection.close)?;
        if self.state == LinkState::Open {
            self.begin_closing(Input::CloseReceived);
            self.push_event(Event::PeerClosing);
        }
        Ok(())
    }

    pub(super) fn on_done(&mut self) -> Result<(), PeerMisbehaved> {
        if !self.is_settled() {
            return Err(PeerMisbehaved::DoneTooEarly);
        }
        self.connection.close.done_received = true;
        self.finish_if_done();
        Ok(())
    }

    /// Whether both ends have closed and everything has its verdict and its acknowledgement.
    fn is_settled(&self) -> bool {
        self.connection.close.written
            && self.connection.close.received
            && self.halves.iter().all(|half| match half {
                Half::Send(half) => half.is_settled(),
                Half::Receive(half) => half.is_settled(),
            })
    }

    /// Finishes when DONE was sent and received.
    fn finish_if_done(&mut self) {
        if self.connection.close.done_written && self.connection.close.done_received {
            self.finish(Input::Drained);
        }
    }

    /// Finishes the exchange: both ends are done, and only the connection is left to end.
    pub(super) fn finish(&mut self, input: Input) {
        if matches!(self.step(input), Ok(true)) {
            self.timers.stop(Timer::Close);
            self.timers
                .start(Timer::Linger, self.now, self.config.timeouts.linger);
            self.wants_output = true;
        }
    }

    // To the peer.

    pub(super) fn write_close(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        if !self.connection.close.to_write {
            return Ok(());
        }
        let last = self.halves.iter().filter_map(|half| match half {
            Half::Send(half) => Some((half.wire, half.closing_at())),
            Half::Receive(_) => None,
        });
        let ours = &self.closing.ours;
        let head = CloseHead {
            code: ours.code,
            again: ours.again,
            text: &ours.text,
        };
        let buffer = &mut out.buffer[out.at..];
        out.at += encode_close(&head, last, buffer).map_err(|small| small.needed)?;
        self.connection.close.to_write = false;
        self.connection.close.written = true;
        for half in &mut self.halves {
            if let Half::Send(half) = half {
                half.close();
            }
        }
        Ok(())
    }

    /// Writes the last frames of a close: SKIP for numbers that will not be sent after all, then
    /// DONE.
    pub(super) fn write_done(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        if !self.connection.close.written || self.connection.close.done_written {
            return Ok(());
        }
        for half in &mut self.halves {
            if let Half::Send(half) = half {
                half.write_last_skip(out.buffer, &mut out.at)?;
            }
        }
        if self.is_settled() {
            out.frame(&Frame::Done)?;
            self.connection.close.done_written = true;
            self.closing.ever_done = true;
            self.finish_if_done();
        }
        Ok(())
    }
}
