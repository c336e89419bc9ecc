//! Output of a link, and its order.

use super::connection::LastFrame;
use super::{Half, Link};
use crate::Instant;
use crate::observe::{Call, Outcome};
use crate::pace::Waits;
use crate::receive::Answer;
use crate::send::{SendHalf, Wrote};
use crate::state::LinkState;
use crate::verdict::Rejection;
use crate::wire::Frame;

/// The result of [`Link::poll_output`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// This many bytes were written to the front of the buffer. There may be more.
    Written(usize),
    /// There is nothing to write until something happens.
    Idle,
    /// The buffer does not hold the next frame.
    TooSmall {
        /// How many bytes the buffer must hold at least.
        needed: usize,
    },
    /// Nothing more will be written on this connection: end this direction of it in an orderly way,
    /// and go on reading until the peer has ended the other.
    End,
}

/// The caller's buffer and how much of it is used.
pub(super) struct Out<'a> {
    pub(super) buffer: &'a mut [u8],
    pub(super) at: usize,
}

/// The output is full; the next frame needs this many bytes.
pub(super) type Full = usize;

impl Out<'_> {
    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Full> {
        match frame.encode(&mut self.buffer[self.at..]) {
            Ok(written) => {
                self.at += written;
                Ok(())
            }
            Err(small) => Err(small.needed),
        }
    }
}

impl Link {
    /// Writes as much pending output as fits to the front of `out`. Call it until it returns
    /// [`Output::Idle`] or [`Output::End`].
    ///
    /// Frames that a peer waits for (answers to pings, acknowledgements, rejections, replies) go before
    /// messages, and channels declared earlier before those declared later. Messages above the
    /// frame limit are fragmented, so that one long message holds nothing up. A buffer of 16 KiB or
    /// a multiple of it fits TLS records; 912 bytes are enough once the handshake is over,
    /// and 16 more than the longest reply of a channel, if that is more.
    pub fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Output {
        self.begin_call(now);
        if !self.observer.is_set() {
            return self.fill(out);
        }
        let space = out.len();
        self.observer.call(self.now, Call::PollOutput { space });
        let output = self.fill(out);
        let length = match output {
            Output::Written(length) => length,
            _ => 0,
        };
        self.observer
            .outcome(Outcome::Output(output, &out[..length]));
        output
    }

    #[inline]
    fn fill(&mut self, out: &mut [u8]) -> Output {
        let mut out = Out { buffer: out, at: 0 };
        let full = self.write_all(&mut out).err();
        match (out.at, full) {
            (0, Some(needed)) => Output::TooSmall { needed },
            (0, None) if matches!(self.state, LinkState::Finishing | LinkState::Ended) => {
                self.wants_output = false;
                self.connection.write_ended = true;
                self.end_connection_if_done();
                Output::End
            }
            (0, None) => {
                self.wants_output = false;
                Output::Idle
            }
            (written, _) => {
                self.connection.last_sent = self.now;
                self.tally.0.sent += written as u64;
                if let Some(pace) = &mut self.connection.pace {
                    pace.wrote(self.now, written);
                }
                Output::Written(written)
            }
        }
    }

    fn write_all(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        match self.state {
            LinkState::Offline
            | LinkState::Connecting
            | LinkState::Securing
            | LinkState::Finishing => Ok(()),
            LinkState::Ended => self.write_last_frame(out),
            LinkState::Greeting => self.greet(out),
            LinkState::Open | LinkState::Closing if self.is_native() => self.write_frames(out),
            LinkState::Open | LinkState::Closing => {
                let written = self.write_stream(&mut out.buffer[out.at..])?;
                out.at += written;
                if written > 0 {
                    self.progress();
                }
                Ok(())
            }
        }
    }

    fn greet(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        out.at += self.write_greeting(&mut out.buffer[out.at..])?;
        Ok(())
    }

    fn write_last_frame(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        if let Some(last_frame) = &self.connection.last_frame {
            out.frame(&match last_frame {
                LastFrame::Abort { code, text } => Frame::Abort { code: *code, text },
                LastFrame::Refuse { channel, refusal } => Frame::Refuse {
                    channel: *channel,
                    code: refusal.code,
                    again: refusal.again,
                    text: &refusal.text,
                },
            })?;
            self.connection.last_frame = None;
        }
        Ok(())
    }

    fn write_frames(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        // The acceptor is open before its WELCOME is written.
        self.greet(out)?;
        self.write_pings(out)?;
        self.write_close(out)?;
        self.write_answers(out, false)?;
        let messages = self.write_messages(out).and_then(|()| self.write_mark(out));
        if out.at > 0 {
            // Something goes out anyway, so delayed acknowledgements go along.
            self.write_answers(out, true)?;
        }
        messages?;
        self.write_done(out)
    }

    fn write_pings(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        let connection = &mut self.connection;
        let gives_time = self.sends_times && connection.owes_time;
        if (connection.to_pong || gives_time)
            && let Some(pong) = connection.peer_clock.answer(self.now)
        {
            out.frame(&Frame::Pong(pong))?;
            connection.to_pong = false;
            connection.owes_time = false;
        }
        if connection.to_ping {
            self.connection.to_ping = !self.write_ping(out)?;
        }
        // Behind an output that was full.
        self.write_mark(out)
    }

    /// Returns false if there were so many PINGs just now that there is no time for another.
    fn write_ping(&mut self, out: &mut Out<'_>) -> Result<bool, Full> {
        let date = match &self.connection.pace {
            Some(pace) => pace.date(self.now),
            None => Some(self.now),
        };
        let Some(date) = date else {
            return Ok(false);
        };
        out.frame(&Frame::Ping(date.as_micros()))?;
        self.connection.peer_clock.ask(date);
        if let Some(pace) = &mut self.connection.pace {
            pace.ask(date, out.at);
        }
        Ok(true)
    }

    /// Writes rejections, replies, acknowledgements and notes. With `piggyback`, also acknowledgements that
    /// are not due yet.
    fn write_answers(&mut self, out: &mut Out<'_>, piggyback: bool) -> Result<(), Full> {
        for half in &mut self.halves {
            match half {
                Half::Receive(half) => {
                    let channel = half.wire;
                    while let Some((sequence, answer)) = half.next_answer() {
                        out.frame(&match answer {
                            Answer::Rejected(Rejection { code, reason }) => Frame::Reject {
                                channel,
                                sequence,
                                code: *code,
                                reason,
                            },
                            Answer::Replied(reply) => Frame::Reply {
                                channel,
                                sequence,
                                reply,
                            },
                        })?;
                        half.answer_written();
                    }
                    if let Some(handled) = half.ack(piggyback) {
                        out.frame(&Frame::Ack { channel, handled })?;
                        half.ack_written();
                    }
                }
                Half::Send(half) => {
                    while let Some(sequence) = half.to_note.front() {
                        out.frame(&Frame::Noted {
                            channel: half.wire,
                            sequence: *sequence,
                        })?;
                        half.note_written();
                    }
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn write_messages(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        let before = out.at;
        let result = self.write_halves(out);
        if out.at > before {
            // That there is room means that the transport has taken what was written before.
            self.progress();
        }
        result
    }

    /// Marks a place in the output, by which the peer's answer says how fast it arrives.
    fn write_mark(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        match &self.connection.pace {
            Some(pace) if pace.wants_to_ask(out.at) => self.write_ping(out).map(|_| ()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn write_halves(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        if self.has_urgent || self.connection.pace.is_some() {
            return self.write_by_urgency(out);
        }
        self.write_channels(out, usize::MAX, |_| true)
    }

    /// Writes what is urgent, and then what the latency budget has room for.
    #[cold]
    fn write_by_urgency(&mut self, out: &mut Out<'_>) -> Result<(), Full> {
        self.write_those(out, usize::MAX, true)?;
        let Some(pace) = &self.connection.pace else {
            return self.write_those(out, usize::MAX, false);
        };
        let begin = out.at;
        let end = begin.saturating_add(pace.room(self.now, begin));
        let result = self.write_those(out, end, false);
        let (waits, result) = match result {
            Ok(()) => (Waits::Nothing, Ok(())),
            Err(_) if end < out.buffer.len() => (Waits::Held, Ok(())),
            Err(needed) => (Waits::Full, Err(needed)),
        };
        if let Some(pace) = &mut self.connection.pace {
            pace.wrote_messages(out.at - begin, waits);
        }
        result
    }

    /// Writes messages of the channels that are urgent, or of those that are not.
    #[inline(never)]
    fn write_those(&mut self, out: &mut Out<'_>, end: usize, urgent: bool) -> Result<(), Full> {
        self.write_channels(out, end, |half| half.urgent == urgent)
    }

    /// Writes messages of some channels, until the output is full or `end` bytes long.
    #[inline(always)]
    fn write_channels(
        &mut self,
        out: &mut Out<'_>,
        end: usize,
        of: impl Fn(&SendHalf) -> bool,
    ) -> Result<(), Full> {
        let end = end.min(out.buffer.len());
        for half in &mut self.halves {
            if let Half::Send(half) = half
                && of(half)
            {
                let wrote = half.write(
                    &mut out.buffer[..end],
                    &mut out.at,
                    self.now,
                    self.frame_limit,
                    &mut self.spent,
                );
                self.has_events |= half.has_events();
                if let Wrote::Full { needed } = wrote {
                    return Err(needed);
                }
            }
        }
        Ok(())
    }
}
