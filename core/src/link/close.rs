//! The orderly end of a link, asked for by either end (`docs/protocol.md`, Close).

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

/// What becomes of what is under way when an application closes a link. Closing again can only be
/// stricter: each of these is stricter than the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum CloseMode {
    /// Both ways: everything that this end has accepted is sent first, and the application goes on
    /// taking what the peer has begun to send. What it does not take holds the close up.
    DrainBoth,
    /// Everything that this end has accepted is sent first. What the peer has sent and nobody has
    /// taken is rejected with [`reject::NO_RECEIVER`](crate::reject::NO_RECEIVER), and so is what
    /// still comes.
    #[default]
    Drain,
    /// As [`CloseMode::Drain`], but what is not yet on the wire is withdrawn. Where there is any, not all
    /// is well, and the peer is told so: with [`close::WITHDRAWN`](crate::close::WITHDRAWN), unless the
    /// application says why.
    Withdraw,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Closing {
    /// A close is under way, whether or not there is a connection.
    pub(super) asked: bool,
    /// This end asked first.
    by_us: bool,
    /// What this end says.
    ours: CloseReason,
    /// What the peer has said in this session, and can't take back.
    heard: Option<CloseReason>,
    /// The worst that it has said in any.
    theirs: Option<CloseReason>,
    /// DONE has gone out on this connection or an earlier one.
    pub(super) ever_done: bool,
}

/// CLOSE and DONE as they go over one connection. On the next one they are said again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct CloseFrames {
    /// CLOSE is to go out, or to go out again.
    to_write: bool,
    written: bool,
    /// The peer's CLOSE has come.
    heard: bool,
    done_written: bool,
    pub(super) done_heard: bool,
}

impl Closing {
    /// The next session is held with a peer that need not know what it said in this one.
    pub(super) fn lose_session(&mut self) {
        self.heard = None;
    }

    /// The session that comes in the place of a lost one is closed as it begins, with this reason.
    /// Whether no close was under way before.
    pub(super) fn end_session(&mut self, reason: CloseReason) -> bool {
        let asked = core::mem::replace(&mut self.asked, true);
        self.by_us |= !asked;
        self.ours = reason;
        !asked
    }

    /// How a link ends that was closed.
    pub(super) fn end_reason(&self) -> EndReason {
        EndReason::Closed {
            by_us: self.by_us,
            ours: self.ours.clone(),
            theirs: self.theirs.clone().unwrap_or_default(),
        }
    }

    /// The peer's CLOSE has come. It may say later that all is not well after all, and nothing
    /// else that differs.
    fn hear(&mut self, said: CloseReason, frames: &mut CloseFrames) -> Result<(), PeerMisbehaved> {
        match &self.heard {
            Some(earlier) if *earlier == said && frames.heard => {
                return Err(PeerMisbehaved::AfterClose);
            }
            Some(earlier) if *earlier != said && (!earlier.is_all_well() || said.is_all_well()) => {
                return Err(PeerMisbehaved::CloseReason);
            }
            _ => {}
        }
        if self.theirs.as_ref().is_none_or(CloseReason::is_all_well) {
            self.theirs = Some(said.clone());
        }
        self.heard = Some(said);
        frames.heard = true;
        Ok(())
    }
}

impl Link {
    // Asking for it.

    /// Closes the link in order, and says that all is well, unless that withdraws messages:
    /// [`Link::close_with`] without a reason.
    pub fn close(&mut self, now: Instant, mode: CloseMode) {
        self.close_with(now, mode, CloseReason::ALL_WELL);
    }

    /// Closes the link in order, and says why. No more messages are accepted at either end; what
    /// becomes of those that are under way says [`CloseMode`]. The peer withdraws what it has not
    /// yet put on the wire. Messages that the application has taken and not settled are waited for.
    ///
    /// The link ends when both ends have all their verdicts, or when nothing has moved for
    /// [`Timeouts::close`](crate::Timeouts::close); where the connection is lost meanwhile, or was
    /// before, the close goes on with the next one within that time.
    ///
    /// Closing again, or after the peer, is no error. It can only make the close stricter, and put
    /// a reason in the place of 'all is well'. An end that has not closed by itself when the peer
    /// does says that all is well.
    ///
    /// The tlsstream dialect has no words for a reason: there the connection ends in a way that
    /// can't be taken for an orderly one.
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

    /// What the peer has said with its CLOSE, once that has come.
    #[must_use]
    pub fn peer_closes(&self) -> Option<&CloseReason> {
        self.closing.theirs.as_ref()
    }

    /// Whether this end's direction of the connection is to end in a way that can't be taken for an
    /// orderly one, without close_notify say, where [`Output::End`](crate::Output::End) tells to end
    /// it: in the tlsstream dialect, whose peer would take a stream for whole that is not.
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
        self.say(reason);
        let asked = self.closing.asked;
        if !asked {
            self.closing.by_us = true;
        }
        match self.state {
            LinkState::Open => self.begin_closing(Input::CloseAsked),
            LinkState::Closing => {}
            // There is a session and no connection: the close waits for the next one, as long as
            // closes may.
            _ if asked => {}
            _ => {
                self.closing.asked = true;
                self.timers
                    .start(Timer::Close, self.now, self.config.timeouts.close);
            }
        }
        if mode == CloseMode::Withdraw && self.closing.by_us && self.withdraw_unbegun() {
            // Its receiver would take what comes for the whole.
            self.say(CloseReason::new(close::WITHDRAWN, ""));
        }
        if mode >= CloseMode::Drain {
            self.turn_away();
        }
        // Rejections, and what CLOSE has named and will not come after all.
        self.wants_output = true;
    }

    /// Takes over what this end's CLOSE is to say, or is to say now after all.
    fn say(&mut self, reason: CloseReason) {
        let closing = &mut self.closing;
        // With DONE everything is said.
        if reason == closing.ours || !closing.ours.is_all_well() || closing.ever_done {
            return;
        }
        if closing.asked && reason.is_all_well() {
            return;
        }
        closing.ours = reason;
        self.connection.close.to_write |= self.connection.close.written;
    }

    /// Nobody takes what the peer has sent or still sends.
    fn turn_away(&mut self) {
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
        if input == Input::CloseHeard {
            self.withdraw_unbegun();
        }
        self.progress();
        self.connection.close.to_write = self.is_native();
        self.wants_output = true;
    }

    /// The link is up again, and a close was asked for before.
    pub(super) fn go_on_closing(&mut self) {
        // Nothing has moved by that alone, so the time limit of the close runs on.
        let closes = self.step(Input::CloseAsked);
        debug_assert_eq!(closes, Ok(true));
        self.connection.close.to_write = self.is_native();
    }

    /// Something of a message went, came or was settled: a close that moves is not given up.
    pub(super) fn progress(&mut self) {
        if self.state == LinkState::Closing {
            self.timers
                .start(Timer::Close, self.now, self.config.timeouts.close);
        }
    }

    /// Takes back everything that is not on the wire; true if there was anything.
    fn withdraw_unbegun(&mut self) -> bool {
        let mut any = false;
        for half in &mut self.halves {
            if let Half::Send(half) = half {
                any |= half.withdraw_unbegun(&mut self.spent);
                self.has_news |= half.has_news();
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
        let said = CloseReason {
            code: head.code,
            text: head.text.to_string(),
            again: head.again,
        };
        self.closing.hear(said, &mut self.connection.close)?;
        if self.state == LinkState::Open {
            self.begin_closing(Input::CloseHeard);
            self.push_event(Event::PeerClosing);
        }
        Ok(())
    }

    pub(super) fn on_done(&mut self) -> Result<(), PeerMisbehaved> {
        if !self.is_settled() {
            return Err(PeerMisbehaved::DoneTooEarly);
        }
        self.connection.close.done_heard = true;
        self.finish_if_done();
        Ok(())
    }

    /// Whether both ends have closed and everything has its verdict and its acknowledgement.
    fn is_settled(&self) -> bool {
        self.connection.close.written
            && self.connection.close.heard
            && self.halves.iter().all(|half| match half {
                Half::Send(half) => half.is_settled(),
                Half::Receive(half) => half.is_settled(),
            })
    }

    /// Moves on when DONE went and came.
    fn finish_if_done(&mut self) {
        if self.connection.close.done_written && self.connection.close.done_heard {
            self.finish(Input::Drained);
        }
    }

    /// Nothing more will be said by either end; what is left is to end the connection.
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

    /// The tail of a close: numbers that will not come after all, then DONE.
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
