//! Input from outside: connections, bytes and their ends.

use alloc::string::ToString;

use bytes::Bytes;

use super::connection::{LastFrame, ToGreet};
use super::{Half, Link, PeerId};
use crate::Disconnect;
use crate::config::Role;
use crate::error::{EndReason, Loss, OutOfOrder, PeerMisbehaved};
use crate::observe::{Call, Outcome};
use crate::receive::ReceiveHalf;
use crate::refuse::Refusal;
use crate::send::SendHalf;
use crate::spent::Spent;
use crate::state::{Input, LinkState};
use crate::verdict::{Rejection, Verdict, reject};
use crate::wire::{Frame, MessageHead, Piece, Times};
use crate::{Instant, abort, wire};

impl Link {
    /// Reports that a transport connection is open and is about to be secured. From here on
    /// [`Timeouts::handshake`](crate::Timeouts::handshake) runs.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`] unless the link waits for a connection.
    pub fn handle_opened(&mut self, now: Instant) -> Result<(), OutOfOrder> {
        self.begin_call(now);
        self.observe(&Call::Opened, Outcome::InOrder, |link| {
            link.step(Input::Opened)?;
            link.begin_connection();
            Ok(())
        })
    }

    /// Reports that the connection is secured. `peer` is the identity that the other end has
    /// proved, `None` on a plain connection.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`] unless a connection is open and not secured yet.
    pub fn handle_secured(&mut self, now: Instant, peer: Option<PeerId>) -> Result<(), OutOfOrder> {
        self.begin_call(now);
        self.observe(&Call::Secured { peer }, Outcome::InOrder, |link| {
            link.step(Input::Secured)?;
            link.peer = peer;
            link.note_arrival();
            if !link.is_native() {
                link.on_stream_secured();
            } else if link.role == Role::Opener {
                let resume = link.names_session();
                link.connection.to_greet = ToGreet::Hello { resume };
                link.wants_output = true;
            }
            Ok(())
        })
    }

    /// Processes bytes from the peer, already decrypted. They may be cut anywhere; the link takes
    /// all of them. A violation shows in [`Link::end_reason`].
    #[inline]
    pub fn handle_input(&mut self, now: Instant, input: &[u8]) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Input(input));
        if !matches!(
            self.state,
            LinkState::Greeting | LinkState::Open | LinkState::Closing
        ) || input.is_empty()
        {
            return;
        }
        self.note_arrival();
        self.tally.0.received += input.len() as u64;
        let result = if self.is_native() {
            self.read_frames(input)
        } else if self.buffer_stream(input) {
            Ok(())
        } else {
            self.read_stream(input)
        };
        if let Err(violation) = result {
            self.fail_peer(violation);
        }
    }

    /// Ends the link because of the peer's violation, and notifies the peer.
    pub(super) fn fail_peer(&mut self, violation: PeerMisbehaved) {
        let code = violation.abort_code();
        let text = violation.to_string();
        let last_frame = self.is_native().then_some(LastFrame::Abort { code, text });
        self.fail(Input::Failed, EndReason::Peer(violation), last_frame);
    }

    /// Reports that the peer has ended its direction of the connection in an orderly way.
    pub fn handle_eof(&mut self, now: Instant) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Eof);
        self.end_input();
    }

    pub(super) fn end_input(&mut self) {
        self.connection.read_ended = true;
        if self.buffer_stream(&[]) {
            // Whether this is an orderly end is known once the peer is admitted.
            return;
        }
        let running = self.state.carries_messages();
        if running && !self.is_native() && self.stream_may_end() {
            self.begin_closing(Input::CloseReceived);
            self.finish(Input::Drained);
        }
        if self.state == LinkState::Finishing || self.state == LinkState::Ended {
            self.end_connection_if_done();
        } else {
            let greeted = self.state.carries_messages();
            self.on_connection_lost(if greeted {
                Loss::PeerLeft
            } else {
                Loss::PeerLeftEarly
            });
        }
    }

    /// Reports that the connection was lost or could not be opened, or that the caller gives it up.
    /// What the link does then depends on its role and its [`Reconnect`](crate::Reconnect) and
    /// [`Timeouts::retain`](crate::Timeouts::retain).
    pub fn handle_lost(&mut self, now: Instant, how: Disconnect) {
        self.begin_call(now);
        self.observer.call(self.now, Call::Lost(how));
        if self.state == LinkState::Finishing || self.state == LinkState::Ended {
            self.connection_ended();
        } else {
            self.on_connection_lost(how.loss());
        }
    }

    #[inline]
    fn read_frames(&mut self, input: &[u8]) -> Result<(), PeerMisbehaved> {
        // The decoder lends out what it has gathered, so it can't stay inside `self` meanwhile.
        let mut decoder = core::mem::replace(&mut self.connection.decoder, wire::Decoder::new(0));
        let result = self.read_pieces(&mut decoder, input);
        self.connection.decoder = decoder;
        result
    }

    #[inline]
    fn read_pieces(
        &mut self,
        decoder: &mut wire::Decoder,
        mut input: &[u8],
    ) -> Result<(), PeerMisbehaved> {
        loop {
            while let Some((head, data)) = decoder.next_whole(&mut input) {
                self.begin_message(&head, data)?;
                let half = self.receiving(head.channel)?;
                half.begin_following(&mut input, decoder.frame_limit());
            }
            let Some(piece) = decoder.next(&mut input)? else {
                return Ok(());
            };
            self.has_events = true;
            match piece {
                Piece::Message { head, data } => self.begin_fragmented(&head, data)?,
                Piece::More(data) => {
                    self.progress();
                    let half = self.receiving(self.connection.arriving_channel)?;
                    half.more(data)?;
                    let answers = half.wants_output();
                    self.wants_output |= answers;
                }
                Piece::Frame(frame) => {
                    let greeting = self.state == LinkState::Greeting;
                    self.on_frame(&frame)?;
                    // The rest counts as data behind the greeting, however the input is cut.
                    if greeting && !input.is_empty() {
                        self.note_arrival();
                    }
                }
            }
            // The rest would not be read as a separate input either.
            if matches!(
                self.state,
                LinkState::Offline | LinkState::Finishing | LinkState::Ended
            ) {
                return Ok(());
            }
        }
    }

    /// Begins a message that arrives in parts, out of line to keep the path of whole ones short.
    #[inline(never)]
    fn begin_fragmented(&mut self, head: &MessageHead, data: &[u8]) -> Result<(), PeerMisbehaved> {
        self.begin_message(head, data)
    }

    #[inline(always)]
    fn begin_message(&mut self, head: &MessageHead, data: &[u8]) -> Result<(), PeerMisbehaved> {
        if self.is_greeting() {
            return Err(PeerMisbehaved::Unexpected);
        }
        self.has_events = true;
        self.progress();
        self.connection.arriving_channel = head.channel;
        if let Some(times) = head.times {
            return self.begin_timed(head, times, data);
        }
        let half = self.receiving(head.channel)?;
        half.begin(head, data)?;
        // An abandoned channel rejects at once.
        let answers = half.wants_output();
        self.wants_output |= answers;
        Ok(())
    }

    /// Begins a message that has times, out of line to keep the path of others short.
    #[inline(never)]
    fn begin_timed(
        &mut self,
        head: &MessageHead,
        times: Times,
        data: &[u8],
    ) -> Result<(), PeerMisbehaved> {
        let now = self.now;
        #[cfg(planted)]
        if self.errs_about_clocks() {
            self.connection.peer_clock.narrow(now);
        }
        let timing = self.connection.peer_clock.timing(now, times);
        if self.connection.peer_clock.wants_to_ask(now) {
            self.connection.to_ping = true;
            self.wants_output = true;
        }
        let half = self.receiving(head.channel)?;
        half.begin_timed(head, timing, data)?;
        let answers = half.wants_output();
        self.wants_output |= answers;
        Ok(())
    }

    /// Whether the handshake is in progress; the acceptor's is until its WELCOME is written.
    fn is_greeting(&self) -> bool {
        self.state == LinkState::Greeting || matches!(self.connection.to_greet, ToGreet::Welcome(_))
    }

    /// Handles any frame but MESSAGE.
    fn on_frame(&mut self, frame: &Frame<'_>) -> Result<(), PeerMisbehaved> {
        if self.is_greeting() {
            return match *frame {
                // Only one HELLO may be sent, and it waits for the caller's decision.
                Frame::Hello(_) if self.request().is_some() => Err(PeerMisbehaved::Unexpected),
                Frame::Hello(ref hello) => {
                    self.connection.peer_clock.hear(self.now, hello.head.time);
                    self.on_hello(hello)
                }
                Frame::Welcome(ref welcome) => self.on_welcome(welcome),
                Frame::Refuse {
                    channel,
                    code,
                    again,
                    text,
                } if self.role == Role::Opener => {
                    let text = text.to_string();
                    self.on_refusal(channel, Refusal { code, text, again });
                    Ok(())
                }
                Frame::Abort { code, text } => {
                    self.on_abort(code, text);
                    Ok(())
                }
                _ => Err(PeerMisbehaved::Unexpected),
            };
        }
        let last_frame = matches!(frame, Frame::Ping(_) | Frame::Pong(_) | Frame::Abort { .. });
        if self.connection.close.done_received && !last_frame {
            return Err(PeerMisbehaved::AfterClose);
        }
        // A peer that only pings or answers pings makes no progress with a close.
        if !last_frame {
            self.progress();
        }
        let now = self.now;
        match *frame {
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refuse { .. } => {
                return Err(PeerMisbehaved::Unexpected);
            }
            Frame::Abort { code, text } => self.on_abort(code, text),
            Frame::Ping(time) => {
                self.connection.peer_clock.hear(now, time);
                self.connection.to_pong = true;
                self.release_memory();
            }
            Frame::Pong(pong) => {
                self.connection.peer_clock.answered(now, &pong);
                if let Some(pace) = &mut self.connection.pace {
                    pace.answered(now, &pong);
                }
            }
            Frame::Close { head, list } => self.on_close(&head, list)?,
            Frame::Done => self.on_done()?,
            Frame::Skip { channel, through } => self.receiving(channel)?.skip(now, through)?,
            Frame::Noted { channel, sequence } => {
                self.receiving(channel)?.noted(now, sequence)?;
            }
            Frame::Ack { channel, handled } => {
                let (half, spent) = self.sending(channel)?;
                half.acknowledge(handled, spent)?;
            }
            Frame::Reject {
                channel,
                sequence,
                code,
                reason,
            } => {
                let rejection = Rejection {
                    code,
                    reason: reason.to_string(),
                };
                let verdict = match code {
                    reject::EXPIRED => Verdict::Expired,
                    _ => Verdict::Rejected(rejection),
                };
                let (half, spent) = self.sending(channel)?;
                half.answered(sequence, verdict, spent)?;
            }
            Frame::Reply {
                channel,
                sequence,
                reply,
            } => {
                let (half, spent) = self.sending(channel)?;
                half.check_reply(reply)?;
                let verdict = Verdict::Handled(Some(Bytes::copy_from_slice(reply)));
                half.answered(sequence, verdict, spent)?;
            }
        }
        self.wants_output = true;
        Ok(())
    }

    fn on_abort(&mut self, code: u16, text: &str) {
        let reason = match code {
            abort::NOT_TRUSTED => EndReason::Revoked { by_us: false },
            _ => EndReason::AccusedByPeer {
                code,
                text: text.to_string(),
            },
        };
        self.fail(Input::Failed, reason, None);
    }

    /// Returns the receiving half with this number on the wire.
    #[inline]
    pub(super) fn receiving(&mut self, channel: u16) -> Result<&mut ReceiveHalf, PeerMisbehaved> {
        let at = self.wire.get(usize::from(channel));
        match at.and_then(|at| self.halves.get_mut(usize::from(*at))) {
            Some(Half::Receive(half)) => Ok(half),
            Some(Half::Send(_)) => Err(PeerMisbehaved::WrongDirection(channel)),
            None => Err(PeerMisbehaved::UnknownChannel(channel)),
        }
    }

    /// Returns the sending half with this number on the wire, and where its spent payloads go.
    fn sending(&mut self, channel: u16) -> Result<(&mut SendHalf, &mut Spent), PeerMisbehaved> {
        let at = self.wire.get(usize::from(channel));
        match at.and_then(|at| self.halves.get_mut(usize::from(*at))) {
            Some(Half::Send(half)) => Ok((half, &mut self.spent)),
            Some(Half::Receive(_)) => Err(PeerMisbehaved::WrongDirection(channel)),
            None => Err(PeerMisbehaved::UnknownChannel(channel)),
        }
    }
}
